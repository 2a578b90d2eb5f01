package tracking_test

import (
	"context"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/tracking"
	"github.com/hearthcache/hearth/internal/servers"
)

// Somebody sets a key by hand, and this process is told.
func Example() {
	server, err := servers.StartRedis(servers.Options{MustBeReal: true})
	if err != nil {
		panic(err)
	}
	defer server.Close()
	o := redis.Options(server.Addr())
	o.DialTimeout, o.ReadTimeout = 10*time.Second, 10*time.Second
	client := goredis.NewClient(o)
	defer client.Close()

	source, err := tracking.New(client, tracking.Config{Namespace: "user"})
	if err != nil {
		panic(err)
	}

	// A cache does this with tier.Local.Invalidator.
	ctx, stop := context.WithCancel(context.Background())
	news, ended := make(chan string, 10), make(chan error, 1)
	go func() { ended <- source.Watch(ctx, printer{news}) }()
	fmt.Println(<-news)

	client.Set(ctx, "user:7", "fixed by hand", 0)
	fmt.Println(<-news)
	client.FlushDB(ctx)
	fmt.Println(<-news)
	stop()
	fmt.Println(<-ended)
	// Output:
	// flush: connected
	// forget: [user:7]
	// flush: the server was flushed
	// context canceled
}

type printer struct{ news chan string }

func (p printer) Forget(keys []string) { p.news <- fmt.Sprint("forget: ", keys) }
func (p printer) Flush(reason string)  { p.news <- "flush: " + reason }
func (printer) Alive()                 {}
func (printer) Down(error)             {}
