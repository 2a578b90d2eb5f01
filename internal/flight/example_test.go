package flight_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hearthcache/hearth/internal/flight"
)

func ExampleGroup_Do() {
	var g flight.Group[string]
	started, release := make(chan struct{}), make(chan struct{})
	load := func(context.Context) (string, error) {
		fmt.Println("loading")
		close(started)
		<-release
		return "Ada", nil
	}
	var wg sync.WaitGroup
	wg.Go(func() { g.Do(context.Background(), "user:7", time.Second, load) })
	<-started
	follower, _ := g.Join("user:7") // as a second Do does
	close(release)
	name, err := follower.Wait(context.Background())
	wg.Wait()
	fmt.Println(name, err)
	// Output:
	// loading
	// Ada <nil>
}

// A batch joins key by key, does what it leads in one go, and waits for the rest.
func ExampleGroup_Join() {
	var g flight.Group[string]
	elsewhere, _ := g.Join("b") // somebody is loading b already

	keys := []string{"a", "b", "c"}
	calls := make([]*flight.Call[string], len(keys))
	var lead []string
	for i, key := range keys {
		c, leader := g.Join(key)
		if calls[i] = c; leader {
			lead = append(lead, key)
		}
	}
	fmt.Println("load", lead)
	calls[0].Finish("A", nil)
	calls[2].Finish("C", nil)
	elsewhere.Finish("B", nil)
	for i, c := range calls {
		v, _ := c.Wait(context.Background())
		fmt.Println(keys[i], v)
	}
	// Output:
	// load [a c]
	// a A
	// b B
	// c C
}
