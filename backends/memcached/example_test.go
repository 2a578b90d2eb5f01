package memcached_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/internal/memcachedtest"
)

// A miss is loaded by whoever gets the lease; everybody else waits or loads without filling.
func Example() {
	srv := memcachedtest.New(memcachedtest.Config{}) // or any memcached
	defer srv.Close()
	if err := srv.Listen("127.0.0.1:0"); err != nil {
		fmt.Println(err)
		return
	}
	store, err := memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: srv.Addr()}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()

	_, err = store.Get(ctx, "user:1")
	fmt.Println("a miss:", errors.Is(err, backends.ErrMiss))

	lease, _, _ := store.Acquire(ctx, "user:1", time.Second)
	_, _, err = store.Acquire(ctx, "user:1", time.Second)
	fmt.Println("somebody else:", err)

	err = lease.Fill(ctx, backends.Item{Value: []byte("Ada"), TTL: time.Minute})
	it, _ := store.GetTTL(ctx, "user:1")
	fmt.Printf("filled: %s for %v (%v)\n", it.Value, it.TTL, err)

	n, _ := store.Increment(ctx, "visits", 1, 1, 0)
	n, _ = store.Increment(ctx, "visits", 1, n, 0)
	fmt.Println("visits:", n)

	// Output:
	// a miss: true
	// somebody else: cache: leased to another loader (cache: miss)
	// filled: Ada for 1m0s (<nil>)
	// visits: 2
}
