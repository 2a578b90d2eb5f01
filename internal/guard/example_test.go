package guard_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/guard"
)

func ExampleCall() {
	g, err := guard.New(guard.Config{Name: "redis", Breaker: guard.BreakerConfig{MinCalls: 2}})
	if err != nil {
		panic(err)
	}
	defer g.Close()
	get := func(context.Context) (string, error) { return "", errors.New("connection refused") }
	for range 3 {
		_, err := guard.Call(context.Background(), g, true, get)
		fmt.Println(err, "-", g.State(), errors.Is(err, backends.ErrUnavailable))
	}
	// Output:
	// connection refused - closed false
	// connection refused - open false
	// guard: breaker is open (cache: store unavailable) - open true
}
