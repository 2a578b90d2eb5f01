package faultproxy_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/internal/faultproxy"
	"github.com/hearthcache/hearth/internal/faultproxy/faultproxytest"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func TestRoundTrips_CountsWaitsNotCommands(t *testing.T) {
	p := faultproxytest.New(t, serverstest.Redis(t).Addr())
	c := redis.NewClient(&redis.Options{Addr: p.Addr(), PoolSize: 1, MaxRetries: -1})
	defer func() { _ = c.Close() }()
	ctx := t.Context()
	// Commands and pipelines have a connection pool each: have both handshakes over.
	if err := c.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Ping(ctx).Err() }); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name            string
		do              func() error
		trips, commands int64
	}{
		{"one command", func() error { return c.Set(ctx, "a", "1", 0).Err() }, 1, 1},
		{"three commands", func() error {
			for range 3 {
				if err := c.Incr(ctx, "a").Err(); err != nil {
					return err
				}
			}
			return nil
		}, 3, 3},
		{"a pipeline of 20", func() error {
			_, err := c.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				for i := range 20 {
					pipe.Set(ctx, fmt.Sprint(i), "a\r\n*3\r\n$1\r\n", 0)
				}
				return nil
			})
			return err
		}, 1, 20},
		{"one MGET", func() error { return c.MGet(ctx, "1", "2", "3").Err() }, 1, 1},
	}
	for _, s := range steps {
		trips, commands := p.RoundTrips(), p.Commands()
		if err := s.do(); err != nil {
			t.Fatal(err)
		}
		if got := p.RoundTrips() - trips; got != s.trips {
			t.Errorf("%s: %d round trips, want %d", s.name, got, s.trips)
		}
		if got := p.Commands() - commands; got != s.commands {
			t.Errorf("%s: %d commands, want %d", s.name, got, s.commands)
		}
	}
}

func TestCommands_SkipsTheDataOfMemcached(t *testing.T) {
	p := faultproxytest.New(t, serverstest.Memcached(t).Addr())
	c := memcache.New(p.Addr())
	defer func() { _ = c.Close() }()
	if err := c.Set(&memcache.Item{Key: "a", Value: []byte("x\r\nget a\r\nget b\r\n")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetMulti([]string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	if p.Commands() != 2 || p.RoundTrips() != 2 {
		t.Fatalf("%d commands in %d round trips, want 2 and 2", p.Commands(), p.RoundTrips())
	}
}

// A retry after a lost reply executes a command twice: the proxy shows it.
func Example() {
	srv, err := servers.StartRedis(servers.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = srv.Close() }()
	p, err := faultproxy.New(srv.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = p.Close() }()
	client := redis.NewClient(&redis.Options{Addr: p.Addr(), MaxRetries: 1})
	defer func() { _ = client.Close() }()

	ctx := context.Background()
	client.Ping(ctx)
	p.SwallowReply(true)
	fmt.Println(client.Incr(ctx, "counter").Result())
	// Output: 2 <nil>
}
