package firstof

import (
	"context"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/bus"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/backends/redis/tracking"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/tier"
)

// Two processes of one user who may do everything but CLIENT TRACKING.
func TestWatch_ACacheWithoutTheRightToTrackIsCoherentByTheBus(t *testing.T) {
	srv := serverstest.Redis(t)
	serverstest.Real(t, srv)
	if err := sinktest.Connect(t, srv.Addr()).Do(t.Context(), "ACL", "SETUSER", "meagre", "on", ">secret",
		"~*", "&*", "+@all", "-client|tracking").Err(); err != nil {
		t.Fatal(err)
	}
	a, b := meagre(t, srv.Addr()), meagre(t, srv.Addr())
	for _, c := range []*tier.Cache[string]{a, b} {
		within(t, "the link is up", func() bool { return c.Health().Link == "up" })
		if note := c.Health().LinkNote; !strings.Contains(note, "using bus") || !strings.Contains(note, "CLIENT TRACKING: NOPERM") {
			t.Errorf("Health says %q, want what is used, and what was refused", note)
		}
	}
	for _, v := range []string{"1", "2", "3"} {
		if err := a.Set(t.Context(), "k", v); err != nil {
			t.Fatal(err)
		}
		within(t, "the other process has "+v+" in its L1", func() bool {
			e, err := b.Lookup(t.Context(), "k")
			return err == nil && e.Value == v && e.Source == "L1"
		})
	}
}

// meagre is one process's cache.
func meagre(t *testing.T, addr string) *tier.Cache[string] {
	t.Helper()
	o := redis.Options(addr)
	o.Username, o.Password = "meagre", "secret"
	client := sinktest.ConnectWith(t, o)
	cache, err := tier.New(tier.Config[string]{
		Namespace: "user",
		Local:     tier.Local[string]{Invalidator: preferTracking(t, client), DeadAfter: 30 * time.Second, TTL: time.Hour},
		Remotes:   []tier.Remote{{Name: "redis", Store: must(redis.New(client, redis.Config{}))(t), Timeout: 10 * time.Second}},
		TTL:       time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.Close(context.Background()) })
	return cache
}

func preferTracking(t *testing.T, c *goredis.Client) *Source {
	t.Helper()
	const ping, dead = 100 * time.Millisecond, 30 * time.Second
	return must(New(Config{Sources: []backends.Invalidator{
		must(tracking.New(c, tracking.Config{Namespace: "user", Ping: ping, DeadAfter: dead}))(t),
		must(bus.New(c, bus.Config{Namespace: "user", Ping: ping, DeadAfter: dead, Timeout: 10 * time.Second}))(t),
	}}))(t)
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// within is patient with a busy machine.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}
