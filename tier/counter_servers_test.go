package tier_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/tier"
)

// patience is the timeout of clients and tiers here: these tests are about what servers answer, and a
// starved machine makes nobody wait for so long.
const patience = 10 * time.Second

// calm are the drivers against real servers, with patient clients.
var calm = map[string]func(t *testing.T) backends.Store{
	"redis": func(t *testing.T) backends.Store {
		o := redis.Options(serverstest.Redis(t).Addr())
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = patience, patience, patience, patience
		client := goredis.NewClient(o)
		t.Cleanup(func() { client.Close() })
		s, err := redis.New(client, redis.Config{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	},
	"memcached": func(t *testing.T) backends.Store {
		s, err := memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: serverstest.Memcached(t).Addr()}}, Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	},
}

// openOver is a cache of V over s.
func openOver[V any](t *testing.T, s backends.Store, cfg tier.Config[V]) *tier.Cache[V] {
	t.Helper()
	cfg.Namespace, cfg.Jitter = "n", -1
	cfg.Remotes = []tier.Remote{{Name: "far", Store: s, Timeout: patience}}
	c, err := tier.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func TestIncrement_OnRealServers(t *testing.T) {
	for name, make := range calm {
		t.Run(name, func(t *testing.T) {
			s := make(t)
			a, b := openOver(t, s, tier.Config[int]{}), openOver(t, s, tier.Config[int]{})
			ctx := t.Context()
			count := func(delta, exp int64) {
				t.Helper()
				n, err := a.Increment(ctx, "k", delta, tier.IncrementOptions{Initial: 100, TTL: time.Minute})
				if err != nil || n != exp {
					t.Errorf("%+d: %d, %v; want %d", delta, n, err, exp)
				}
				if v, err := a.Get(ctx, "k"); err != nil || int64(v) != exp {
					t.Errorf("after %+d Get has %d, %v; want %d", delta, v, err, exp)
				}
			}
			count(0, 100)
			count(-5, 95) // memcached leaves "95 ": the padding must not be read
			count(-90, 5)
			below := int64(-5)
			if backends.CapsOf(s).Unsigned {
				below = 0
			}
			count(-10, below)
			count(7, below+7)
			it, err := s.Get(ctx, "n:k")
			if err != nil || len(it.Value) == 0 || it.Value[len(it.Value)-1] == ' ' {
				t.Errorf("stored %q, %v", it.Value, err)
			}
			// At the edge of 63 bits: refused, and the counter is as it was.
			if err := b.Invalidate(ctx, "max"); err != nil {
				t.Fatal(err)
			}
			const top = 1<<63 - 1
			if n, err := b.Increment(ctx, "max", 0, tier.IncrementOptions{Initial: top}); n != top || err != nil {
				t.Errorf("at the edge: %d, %v", n, err)
			}
			if n, err := b.Increment(ctx, "max", 1, tier.IncrementOptions{}); !errors.Is(err, tier.ErrNotNumber) {
				t.Errorf("beyond the edge: %d, %v", n, err)
			}
			if n, err := b.Increment(ctx, "max", 0, tier.IncrementOptions{}); n != top || err != nil {
				t.Errorf("after that: %d, %v", n, err)
			}
			// A value that Set wrote is counted by compare-and-swap.
			if err := a.Set(ctx, "set", 5); err != nil {
				t.Fatal(err)
			}
			if n, err := b.Increment(ctx, "set", 2, tier.IncrementOptions{}); n != 7 || err != nil {
				t.Errorf("a value of Set: %d, %v", n, err)
			}
		})
	}
}

func TestUpdate_NoneIsLostOnRealServers(t *testing.T) {
	for name, make := range calm {
		t.Run(name, func(t *testing.T) {
			s := make(t)
			var wg sync.WaitGroup
			const caches, each = 6, 20
			for range caches {
				c := openOver(t, s, tier.Config[int]{})
				wg.Go(func() {
					for range each {
						_, err := c.UpdateWith(context.Background(), "k", func(old int, _ bool) (int, error) { return old + 1, nil }, tier.UpdateOptions{Attempts: 1000})
						if err != nil {
							t.Error(err)
						}
						if _, err := backends.Update(context.Background(), s, "plain", func(old []byte, _ bool) ([]byte, error) { return append(old[:len(old):len(old)], 'x'), nil }, backends.UpdateOptions{Attempts: 1000}); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if v, err := openOver(t, s, tier.Config[int]{}).Get(t.Context(), "k"); err != nil || v != caches*each {
				t.Errorf("counted %d of %d, %v", v, caches*each, err)
			}
			if it, err := s.Get(t.Context(), "plain"); err != nil || len(it.Value) != caches*each {
				t.Errorf("%d of %d plain updates, %v", len(it.Value), caches*each, err)
			}
		})
	}
}

func TestUpdate_KeepsTheLifetimeOnRealServers(t *testing.T) {
	for name, make := range calm {
		t.Run(name, func(t *testing.T) {
			s := make(t)
			c := openOver(t, s, tier.Config[int]{TTL: time.Hour})
			up := func(int, bool) (int, error) { return 1, nil }
			for _, o := range []tier.UpdateOptions{{TTL: 100 * time.Second}, {}} {
				if _, err := c.UpdateWith(t.Context(), "k", up, o); err != nil {
					t.Fatal(err)
				}
			}
			it, err := backends.GetTTL(t.Context(), s, "n:k")
			if err != nil || it.TTL > 102*time.Second || it.TTL < 90*time.Second {
				t.Errorf("%v left, %v; want about 100 s", it.TTL, err)
			}
		})
	}
}
