package redis_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis"
)

func Example() {
	server, err := miniredis.Run() // yours is already running
	if err != nil {
		panic(err)
	}
	defer server.Close()

	client := goredis.NewClient(redis.Options(server.Addr()))
	defer client.Close()
	store, err := redis.New(client, redis.Config{})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()

	_, err = store.Get(ctx, "user:7")
	fmt.Println(errors.Is(err, backends.ErrMiss))

	// A miss: whoever gets the lease loads, and fills.
	lease, _, err := store.Acquire(ctx, "user:7", time.Second)
	if err != nil {
		panic(err)
	}
	if err := lease.Fill(ctx, backends.Item{Value: []byte("Ada"), TTL: time.Minute}); err != nil {
		panic(err)
	}
	it, err := store.GetTTL(ctx, "user:7")
	fmt.Println(string(it.Value), it.TTL, err)

	// Somebody deletes the key while another one loads: what was loaded is not stored.
	_ = store.Delete(ctx, "user:7")
	lease, _, _ = store.Acquire(ctx, "user:7", time.Second)
	_ = store.Delete(ctx, "user:7")
	err = lease.Fill(ctx, backends.Item{Value: []byte("Ada, as she was")})
	fmt.Println(err)

	// Output:
	// true
	// Ada 1m0s <nil>
	// cache: lease lost
}

func ExampleWarnings() {
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:6379", MaxRetries: 2})
	defer client.Close()
	for _, w := range redis.Warnings(client)[:2] {
		fmt.Println(w)
	}
	// Output:
	// ContextTimeoutEnabled is false: deadlines of callers are ignored
	// MaxRetries is 2: a slow server makes calls last that much longer, and repeats plain writes; set it to -1
}
