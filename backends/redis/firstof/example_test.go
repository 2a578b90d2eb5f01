package firstof_test

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/bus"
	"github.com/hearthcache/hearth/backends/redis/firstof"
	"github.com/hearthcache/hearth/backends/redis/tracking"
)

// A server that cannot track: the processes tell each other instead.
func Example() {
	server, err := miniredis.Run() // stands for a proxy that does not know CLIENT TRACKING
	if err != nil {
		panic(err)
	}
	defer server.Close()
	client := goredis.NewClient(redis.Options(server.Addr()))
	defer client.Close()

	best, err := tracking.New(client, tracking.Config{Namespace: "user"})
	if err != nil {
		panic(err)
	}
	second, err := bus.New(client, bus.Config{Namespace: "user"})
	if err != nil {
		panic(err)
	}
	source, err := firstof.New(firstof.Config{Sources: []backends.Invalidator{best, second}})
	if err != nil {
		panic(err)
	}

	// tier.Local.Invalidator = source does this:
	ctx, stop := context.WithCancel(context.Background())
	up, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() { ended <- source.Watch(ctx, l1{up}) }()
	<-up
	fmt.Println(source)
	fmt.Println(source.Degraded() != "")
	stop()
	fmt.Println(<-ended)
	// Output:
	// bus user!bus
	// true
	// context canceled
}

type l1 struct{ up chan struct{} }

func (l1) Forget([]string) {}
func (l1) Flush(string)    {}
func (l1) Down(error)      {}
func (l l1) Alive() {
	select {
	case l.up <- struct{}{}:
	default:
	}
}
