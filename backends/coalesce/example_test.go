package coalesce_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/coalesce"
	"github.com/hearthcache/hearth/backends/memory"
)

func Example() {
	ctx := context.Background()
	remote := memory.New(memory.Config{}) // a redis.Store or memcached.Store in a service
	store, err := coalesce.New(remote, coalesce.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 100 {
		store.Set(ctx, fmt.Sprint("user:", i), backends.Item{Value: fmt.Append(nil, "name ", i)})
	}

	// A hundred requests for one key each: as many as come at the same time share a multi-get.
	var wg sync.WaitGroup
	names := make([]string, 100)
	for i := range names {
		wg.Go(func() {
			it, err := store.Get(ctx, fmt.Sprint("user:", i))
			if err != nil {
				return
			}
			names[i] = string(it.Value)
		})
	}
	wg.Wait()
	fmt.Println(names[0], "...", names[99])

	_, err = store.Get(ctx, "user:100")
	fmt.Println(err)
	// Output:
	// name 0 ... name 99
	// cache: miss
}
