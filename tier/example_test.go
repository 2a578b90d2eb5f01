package tier_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/tier"
)

type User struct {
	ID   int
	Name string
}

// database stands in for the source of record.
func database(_ context.Context, key string) (User, error) {
	if key == "42" {
		fmt.Println("(asked the database)")
		return User{ID: 42, Name: "Ada"}, nil
	}
	return User{}, tier.ErrMiss
}

func Example() {
	ctx := context.Background()
	users, err := tier.New(tier.Config[User]{
		Namespace: "user",
		Remotes:   []tier.Remote{{Name: "shared", Store: memory.New(memory.Config{})}}, // redis.New, memcached.New
		Loader:    tier.LoaderFunc[User](database),
		TTL:       10 * time.Minute,
		Fresh:     time.Minute,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer users.Close(ctx)

	for range 2 {
		u, err := users.Get(ctx, "42")
		fmt.Println(u.Name, err)
	}
	_, err = users.Get(ctx, "43")
	fmt.Println(errors.Is(err, tier.ErrMiss))
	// Output:
	// (asked the database)
	// Ada <nil>
	// Ada <nil>
	// true
}

func ExampleCache_Invalidate() {
	ctx := context.Background()
	price := 100
	prices, _ := tier.New(tier.Config[int]{
		Remotes: []tier.Remote{{Name: "shared", Store: memory.New(memory.Config{})}},
		Loader:  tier.LoaderFunc[int](func(context.Context, string) (int, error) { return price, nil }),
	})
	defer prices.Close(ctx)

	before, _ := prices.Get(ctx, "book")
	price = 120 // first commit to the source of record ...
	if err := prices.Invalidate(ctx, "book"); err != nil {
		fmt.Println(err) // ... then make the caches forget
	}
	after, _ := prices.Get(ctx, "book")
	fmt.Println(before, after)
	// Output: 100 120
}

func ExampleCache_GetOrLoadMany() {
	ctx := context.Background()
	names, _ := tier.New(tier.Config[string]{Local: tier.Local[string]{MaxBytes: 1 << 20}})
	defer names.Close(ctx)

	load := func(_ context.Context, keys []string) (map[string]string, error) {
		fmt.Println("loading", len(keys))
		return map[string]string{"1": "Ada", "2": "Grace"}, nil // there is no 3
	}
	for range 2 {
		m, err := names.GetOrLoadMany(ctx, []string{"1", "2", "3"}, load)
		fmt.Println(m, err)
	}
	// Output:
	// loading 3
	// map[1:Ada 2:Grace] <nil>
	// loading 1
	// map[1:Ada 2:Grace] <nil>
}

func ExampleMemoize() {
	ctx := context.Background()
	cache, _ := tier.New(tier.Config[int]{})
	defer cache.Close(ctx)

	square := tier.Memoize(cache,
		func(n int) string { return fmt.Sprint(n) },
		func(_ context.Context, n int) (int, error) {
			fmt.Println("computing", n)
			return n * n, nil
		})
	a, _ := square(ctx, 7)
	b, _ := square(ctx, 7)
	fmt.Println(a, b)
	// Output:
	// computing 7
	// 49 49
}

func ExampleNewKeyed() {
	ctx := context.Background()
	cache, _ := tier.New(tier.Config[User]{})
	defer cache.Close(ctx)

	users := tier.NewKeyed(cache, func(id int) string { return fmt.Sprint(id) })
	users.Set(ctx, 7, User{ID: 7, Name: "Grace"})
	u, err := users.Get(ctx, 7)
	fmt.Println(u.Name, err)
	// Output: Grace <nil>
}

// A shopping basket that several servers change at the same time: none of the changes is lost.
func ExampleCache_Update() {
	ctx := context.Background()
	baskets, err := tier.New(tier.Config[[]string]{
		Namespace: "basket",
		Remotes:   []tier.Remote{{Name: "redis", Store: memory.New(memory.Config{})}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer baskets.Close(ctx)

	add := func(what string) func([]string, bool) ([]string, error) {
		return func(old []string, _ bool) ([]string, error) { return append(old, what), nil }
	}
	for _, what := range []string{"bread", "cheese"} {
		b, err := baskets.Update(ctx, "ada", add(what))
		fmt.Println(b, err)
	}
	_, err = baskets.Update(ctx, "ada", func(old []string, _ bool) ([]string, error) {
		if len(old) > 1 {
			return nil, tier.ErrDelete // bought
		}
		return old, nil
	})
	fmt.Println(err)
	_, err = baskets.Get(ctx, "ada")
	fmt.Println(err)
	// Output:
	// [bread] <nil>
	// [bread cheese] <nil>
	// <nil>
	// cache: miss
}
