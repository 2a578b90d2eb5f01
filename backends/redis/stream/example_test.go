package stream_test

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/stream"
)

// One process changes a key and tells the others.
func Example() {
	server, err := miniredis.Run() // yours is already running
	if err != nil {
		panic(err)
	}
	defer server.Close()
	client := goredis.NewClient(redis.Options(server.Addr()))
	defer client.Close()

	here, err := stream.New(client, stream.Config{Namespace: "user"})
	if err != nil {
		panic(err)
	}
	there, err := stream.New(client, stream.Config{Namespace: "user"})
	if err != nil {
		panic(err)
	}

	// A cache does these with tier.Local.Invalidator.
	ctx, stop := context.WithCancel(context.Background())
	news, ended := make(chan string, 10), make(chan error, 1)
	go func() { ended <- there.Watch(ctx, printer{news}) }()
	fmt.Println(<-news)
	if err := here.Publish(ctx, []string{"user:7", "user:8"}); err != nil {
		panic(err)
	}
	fmt.Println(<-news)
	stop()
	fmt.Println(<-ended)
	// Output:
	// flush: connected
	// forget: [user:7 user:8]
	// context canceled
}

type printer struct{ news chan string }

func (p printer) Forget(keys []string) { p.news <- fmt.Sprint("forget: ", keys) }
func (p printer) Flush(reason string)  { p.news <- "flush: " + reason }
func (printer) Alive()                 {}
func (printer) Down(error)             {}
