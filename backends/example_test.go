package backends_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
)

func Example() {
	ctx := context.Background()
	var store backends.Store = memory.New(memory.Config{}) // or redis.New, memcached.New

	_, err := store.Get(ctx, "user:1")
	fmt.Println("miss:", errors.Is(err, backends.ErrMiss))

	err = store.Set(ctx, "user:1", backends.Item{Value: []byte("Ada"), TTL: time.Hour})
	fmt.Println("set:", err)

	it, err := store.Get(ctx, "user:1")
	fmt.Printf("get: %s %v\n", it.Value, err)

	if cas := backends.CapsOf(store).CASer; cas != nil {
		err = cas.CompareAndSwap(ctx, "user:1", it.Token, backends.Item{Value: []byte("Grace")})
		fmt.Println("swap:", err)
		err = cas.CompareAndSwap(ctx, "user:1", it.Token, backends.Item{Value: []byte("Edsger")})
		fmt.Println("swap again:", err)
	}
	// Output:
	// miss: true
	// set: <nil>
	// get: Ada <nil>
	// swap: <nil>
	// swap again: cache: changed meanwhile
}

func ExamplePrefix() {
	ctx := context.Background()
	shared := memory.New(memory.Config{})
	users, err := backends.Prefix(shared, "users:")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(users.Set(ctx, "1", backends.Item{Value: []byte("Ada")}))
	it, err := shared.Get(ctx, "users:1")
	fmt.Printf("%s %v\n", it.Value, err)
	// Output:
	// <nil>
	// Ada <nil>
}

func ExampleGetMany() {
	ctx := context.Background()
	store := memory.New(memory.Config{})
	_ = store.Set(ctx, "a", backends.Item{Value: []byte("A")})
	keys := []string{"a", "b"}
	for i, r := range backends.GetMany(ctx, store, keys) {
		switch {
		case r.Err == nil:
			fmt.Printf("%s: %s\n", keys[i], r.Item.Value)
		case errors.Is(r.Err, backends.ErrMiss):
			fmt.Printf("%s: not there\n", keys[i])
		default:
			fmt.Printf("%s: no answer: %v\n", keys[i], r.Err)
		}
	}
	// Output:
	// a: A
	// b: not there
}

// The lease keeps a slow load from bringing back what was deleted meanwhile.
func ExampleLeaser() {
	ctx := context.Background()
	store := memory.New(memory.Config{})

	lease, _, err := store.Acquire(ctx, "user:1", 10*time.Second)
	fmt.Println("acquired:", lease != nil, err)

	_, _, err = store.Acquire(ctx, "user:1", 10*time.Second)
	fmt.Println("another loader:", err)

	_ = store.Delete(ctx, "user:1") // the record changes while it is being loaded
	fmt.Println("fill:", lease.Fill(ctx, backends.Item{Value: []byte("old")}))
	// Output:
	// acquired: true <nil>
	// another loader: cache: leased to another loader (cache: miss)
	// fill: cache: lease lost
}
