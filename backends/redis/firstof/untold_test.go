package firstof

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/bus"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/backends/redis/stream"
	"github.com/hearthcache/hearth/internal/faultproxy"
	"github.com/hearthcache/hearth/internal/faultproxy/faultproxytest"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/tier"
)

// A process that only writes, and so repeats no tails, is cut off from the others for its first
// change: they have nothing to miss its number by.
func TestPublish_WhatFailedReachesOthersWhenTheSourceWorksAgain(t *testing.T) {
	srv := serverstest.Redis(t)
	const ping, dead, patience = 100 * time.Millisecond, 30 * time.Second, 10 * time.Second
	sources := map[string]func(t *testing.T, addr string) backends.Invalidator{
		"bus": func(t *testing.T, addr string) backends.Invalidator {
			return must(bus.New(sinktest.Connect(t, addr), bus.Config{Namespace: "user", Ping: ping, DeadAfter: dead, Timeout: patience}))(t)
		},
		"stream": func(t *testing.T, addr string) backends.Invalidator {
			return must(stream.New(sinktest.Connect(t, addr), stream.Config{Namespace: "user", Ping: ping, DeadAfter: dead, Timeout: patience}))(t)
		},
	}
	sources["both"] = func(t *testing.T, addr string) backends.Invalidator {
		return must(New(Config{Sources: []backends.Invalidator{sources["bus"](t, addr), sources["stream"](t, addr)}}))(t)
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			open := func(local tier.Local[string]) *tier.Cache[string] {
				c := must(tier.New(tier.Config[string]{
					Namespace: "user", Local: local, TTL: time.Hour,
					Remotes: []tier.Remote{{Name: "redis", Store: must(redis.New(sinktest.Connect(t, srv.Addr()), redis.Config{}))(t), Timeout: patience}},
				}))(t)
				t.Cleanup(func() { _ = c.Close(context.Background()) })
				return c
			}
			p := faultproxytest.New(t, srv.Addr())
			writer := open(tier.Local[string]{Disabled: true, Invalidator: source(t, p.Addr())})
			reader := open(tier.Local[string]{Invalidator: source(t, srv.Addr()), DeadAfter: dead, TTL: time.Hour})
			within(t, "the link is up", func() bool { return reader.Health().Link == "up" })
			key := "k-" + name
			p.Set(faultproxy.Fault{Refuse: true})
			if err := reader.Set(t.Context(), key, "old"); err != nil {
				t.Fatal(err)
			}
			if err := writer.Set(t.Context(), key, "new"); !errors.Is(err, tier.ErrUntold) || errors.Is(err, tier.ErrQueued) {
				t.Fatalf("got %v, want that nobody was told", err)
			}
			if v, err := reader.Get(t.Context(), key); err != nil || v != "old" {
				t.Fatalf("got %q, %v: it was told, and the test proves nothing", v, err)
			}
			p.Clear()
			within(t, "the other process reads the new value", func() bool {
				v, err := reader.Get(t.Context(), key)
				return err == nil && v == "new"
			})
		})
	}
}
