package containers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/fallback"
	"github.com/hearthcache/hearth/tier"
)

func TestMigration_StaysWarmAndIsNeverStale(t *testing.T) {
	for _, m := range []struct{ old, new image }{
		{image{"memcached:1.6", "memcached"}, image{"redis:8", "redis"}},
		{image{"memcached:1.6.18", "memcached"}, image{"valkey/valkey:8", "valkey"}},
		{image{"redis:7", "redis"}, image{"redis:8", "redis"}},
		{image{"redis:7", "redis"}, image{"memcached:1.6", "memcached"}},
	} {
		t.Run(m.old.tag+" to "+m.new.tag, func(t *testing.T) {
			migrate(t, m.old.open(t), m.new.open(t))
		})
	}
}

// open starts the image and returns a store on it.
func (i image) open(t *testing.T) backends.Store {
	t.Helper()
	addr := i.start(t)
	if i.kind == "memcached" {
		return memcachedStore(t, addr)
	}
	s, _ := redisStore(t, addr)
	return s
}

// migrate takes a service under load through every phase, once back and forth again. There is no
// L1, so every read is about the servers.
func migrate(t *testing.T, old, new backends.Store) {
	both, err := fallback.New(fallback.Config{
		New:          fallback.Member{Store: new, Timeout: caseTime},
		Old:          []fallback.Member{{Store: old, Timeout: caseTime}},
		CompareEvery: 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer both.Close()
	src := newSource(500)
	cache, err := tier.New(tier.Config[reading]{
		Namespace: "move",
		Local:     tier.Local[reading]{Disabled: true},
		Remotes:   []tier.Remote{{Name: "servers", Store: both, Timeout: 2 * caseTime}},
		Loader:    src,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close(context.Background())
	for _, key := range src.keys {
		if _, err := cache.Get(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}

	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var reads atomic.Int64
	fail := func(err error) {
		if ctx.Err() == nil {
			t.Error(err)
			stop()
		}
	}
	for range 8 {
		load.Go(func() {
			for ctx.Err() == nil {
				if err := src.check(ctx, cache, rand.IntN(len(src.keys))); err != nil {
					fail(err)
				}
				reads.Add(1)
			}
		})
	}
	load.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if err := src.change(ctx, cache, rand.IntN(len(src.keys))); err != nil {
				fail(err)
			}
			<-tick.C
		}
	})
	loads, changes := src.loads.Load(), src.changes.Load()
	for _, p := range []fallback.Phase{
		fallback.PhaseOld, fallback.PhaseMirror, fallback.Ramp(50), fallback.PhaseNew,
		fallback.Ramp(20), fallback.PhaseMirror, fallback.Ramp(50), fallback.PhaseNew, fallback.PhaseRetire,
	} {
		if err := both.SetPhase(p); err != nil {
			t.Fatal(err)
		}
		from := reads.Load()
		await(t, fmt.Sprintf("4000 reads in phase %v", p), func() error { // every key, nearly surely
			if n := reads.Load() - from; n < 4000 && ctx.Err() == nil {
				return fmt.Errorf("%d reads", n)
			}
			return nil
		})
		if ctx.Err() != nil {
			break
		}
	}
	loads, changes = src.loads.Load()-loads, src.changes.Load()-changes
	stop()
	load.Wait()

	// A change costs the source a load, and now and then another one, where it came during the
	// load. A cold cache would cost one for every key, at every one of the eight steps.
	if loads > changes+changes/10+int64(len(src.keys))/5 {
		t.Errorf("the source was asked %d times although only %d records changed: the cache was cold", loads, changes)
	}
	p := both.Progress()
	// Some are different: what was loaded on the way back, once for each store, has the times of its load.
	if p.HitsOld == 0 || p.HitsNew == 0 || p.Copied == 0 || p.Equal == 0 {
		t.Errorf("this was no migration: %+v", p)
	}
	t.Logf("%d reads, none stale; %d changes, %d loads; %d from old, %d from new, %d copied\n%+v\n%+v",
		reads.Load(), changes, loads, p.HitsOld, p.HitsNew, p.Copied, cache.Stats().Remotes[0], p)
}
