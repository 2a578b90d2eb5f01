package tracking

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/tier"
)

// prefixed returns a store that puts prefix before its keys.
func prefixed(t *testing.T, c goredis.UniversalClient, prefix string) backends.Store {
	t.Helper()
	store, err := redis.New(c, redis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := backends.Prefix(store, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Several services that share a server: each hears of its own keys, whoever changed them.
func TestWatch_APrefixedStoreIsHeardUnderItsPrefix(t *testing.T) {
	for _, namespace := range []string{"user", ""} {
		t.Run("namespace "+namespace, func(t *testing.T) {
			foreign := connect(t, own(t).Addr())
			cache := func(prefix string) *tier.Cache[string] {
				cfg := calm(namespace)
				cfg.KeyPrefix = prefix
				cache, err := tier.New(tier.Config[string]{
					Namespace: namespace,
					Local:     tier.Local[string]{Invalidator: source(t, foreign, cfg), DeadAfter: 30 * time.Second, TTL: time.Hour},
					Remotes:   []tier.Remote{{Name: "redis", Store: prefixed(t, foreign, prefix), Timeout: 10 * time.Second}},
					TTL:       time.Hour,
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = cache.Close(context.Background()) })
				await(t, "the link is up", func() bool { return cache.Health().Link == "up" })
				return cache
			}
			a, b, other := cache("team:"), cache("team:"), cache("team2:")
			inL1 := func(c *tier.Cache[string], want string) func() bool {
				return func() bool {
					e, err := c.Lookup(t.Context(), "k")
					return err == nil && e.Value == want && e.Source == "L1"
				}
			}
			if err := other.Set(t.Context(), "k", "of another team"); err != nil {
				t.Fatal(err)
			}
			await(t, "the other team has it in L1", inL1(other, "of another team"))
			for _, v := range []string{"1", "2"} {
				if err := a.Set(t.Context(), "k", v); err != nil {
					t.Fatal(err)
				}
				await(t, "the other process has "+v+" in L1", inL1(b, v))
			}
			key := "team:k"
			if namespace != "" {
				key = "team:" + namespace + ":k"
			}
			if n, err := foreign.Del(t.Context(), key).Result(); n != 1 {
				t.Fatalf("%s is not there: %v", key, err)
			}
			await(t, "both have forgotten it", func() bool {
				_, errA := a.Lookup(t.Context(), "k")
				_, errB := b.Lookup(t.Context(), "k")
				return errA == tier.ErrMiss && errB == tier.ErrMiss
			})
			if v, err := other.Get(t.Context(), "k"); err != nil || v != "of another team" {
				t.Errorf("another team has %q, %v", v, err)
			}
		})
	}
}

// The keys of its own have the prefix too: a team has the right to nothing else.
func TestWatch_NeedsNoRightsOutsideItsPrefix(t *testing.T) {
	addr := own(t).Addr()
	teams := slices.Clone(rights)
	for i, r := range teams {
		if strings.HasPrefix(r, "~") {
			teams[i] = strings.Replace(r, "user", "team:user", 1)
		}
	}
	c := user(t, addr, "team", teams...)
	cfg := calm("user")
	cfg.KeyPrefix = "team:"
	s := source(t, c, cfg)
	l := sinktest.Watch(t, s)
	if n := calls(t, connect(t, addr), "set"); n != 1 {
		t.Errorf("%d probes", n)
	}
	l.Put("user:1", "user:2")
	for _, foreign := range []string{"user:2", "team2:user:2", "team:user2:2", "team:team:user:2"} {
		set(t, connect(t, addr), foreign) // told in order
	}
	store := prefixed(t, c, "team:")
	lease, _, err := backends.CapsOf(store).Leaser.Acquire(t.Context(), "user:1", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.Fill(t.Context(), backends.Item{Value: []byte("v"), TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	l.Gone(t, "user:1")
	if !l.Has("user:2") {
		t.Error("another key was forgotten")
	}
	l.Flushed(t, func() {
		if err := s.PublishFlush(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Sensitivity: a source that does not know the prefix hears nothing, and looks healthy.
func TestWatch_WithoutThePrefixNothingIsHeardAndTheCacheRefusesIt(t *testing.T) {
	c := connect(t, own(t).Addr())
	for _, cfg := range []Config{calm("user"), calm("")} {
		s := source(t, c, cfg)
		l := sinktest.Watch(t, s)
		l.Put("user:k")
		set(t, c, "team:user:k")
		l.Put("user:settle")
		set(t, c, "user:settle")
		l.Gone(t, "user:settle")
		if !l.Has("user:k") || !l.State().Up {
			t.Error("it was noticed: this test proves nothing")
		}
		_, err := tier.New(tier.Config[string]{
			Namespace: "user",
			Local:     tier.Local[string]{Invalidator: s},
			Remotes:   []tier.Remote{{Name: "redis", Store: prefixed(t, c, "team:")}},
		})
		if err == nil || !strings.Contains(err.Error(), `the store gives them the prefix "team:" (KeyPrefix)`) {
			t.Errorf("got %v, want a refusal that names the prefix", err)
		}
	}
}
