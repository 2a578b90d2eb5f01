package fallback_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/fallback"
)

// A migration from one store to another, with both filled as they would be on the way.
func Example() {
	ctx := context.Background()
	memcached, redis := memory.New(memory.Config{}), memory.New(memory.Config{}) // stand-ins
	store, err := fallback.New(fallback.Config{
		New: fallback.Member{Name: "redis", Store: redis},
		Old: []fallback.Member{{Name: "memcached", Store: memcached}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	look := func(key string) {
		_, inOld := memcached.Get(ctx, key)
		_, inNew := redis.Get(ctx, key)
		fmt.Printf("%-6v %s: memcached %v, redis %v\n", store.Phase(), key, inOld == nil, inNew == nil)
	}

	// Old answers and is written to.
	_ = store.Set(ctx, "user:1", backends.Item{Value: []byte("Ada"), TTL: time.Hour})
	look("user:1")

	// New answers. What it lacks it gets from old, with the remaining lifetime.
	_ = store.SetPhase(fallback.PhaseNew)
	it, err := store.Get(ctx, "user:1")
	fmt.Printf("%s, error %v\n", it.Value, err)
	look("user:1")

	// A write goes to new, and old forgets. A delete reaches both.
	_ = store.Set(ctx, "user:1", backends.Item{Value: []byte("Ada Lovelace"), TTL: time.Hour})
	look("user:1")
	_ = store.Delete(ctx, "user:1")
	_, err = store.Get(ctx, "user:1")
	fmt.Println("after the delete it is a miss:", errors.Is(err, backends.ErrMiss))

	p := store.Progress()
	fmt.Printf("copied %d, owed %d\n", p.Copied, p.OwedOld+p.OwedNew)
	// Output:
	// old    user:1: memcached true, redis false
	// Ada, error <nil>
	// new    user:1: memcached true, redis true
	// new    user:1: memcached false, redis true
	// after the delete it is a miss: true
	// copied 1, owed 0
}

// Which keys a ramp takes in is the same in every process.
func ExampleRamp() {
	fmt.Println(fallback.Ramp(12.5), "-", fallback.Ramp(0), "-", fallback.Ramp(100))
	fmt.Println(fallback.Ramp(1).Compatible(fallback.PhaseMirror), fallback.Ramp(1).Compatible(fallback.PhaseOld))
	// Output:
	// ramp 12.5% - mirror - new
	// true false
}
