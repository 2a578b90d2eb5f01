package tier_test

import (
	"context"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/codec"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/tier"
)

// kinds are the stores a tier can be, each on a server of its own.
var kinds = []struct {
	name string
	open func(t *testing.T) backends.Store
}{
	{"redis", func(t *testing.T) backends.Store {
		client := goredis.NewClient(redis.Options(serverstest.Redis(t).Addr()))
		t.Cleanup(func() { client.Close() })
		s, err := redis.New(client, redis.Config{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}},
	{"memcached", func(t *testing.T) backends.Store { return openMemcached(t, memcached.Gomemcache) }},
	{"memcached, meta", func(t *testing.T) backends.Store { return openMemcached(t, memcached.Meta) }},
	{"memory", func(*testing.T) backends.Store { return memory.New(memory.Config{}) }},
}

func openMemcached(t *testing.T, transport memcached.Transport) backends.Store {
	t.Helper()
	s, err := memcached.New(memcached.Config{
		Servers:   []memcached.Server{{Addr: serverstest.Memcached(t).Addr()}},
		Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// What a server may add to a lifetime or take off it: it counts in seconds, by a clock that ticks
// late on a busy machine.
const ticks = 5 * time.Second

func TestPromote_KeepsTheRemainingLifetimeOnEveryPairOfTiers(t *testing.T) {
	const ttl, left = 100 * time.Second, 40 * time.Second
	var fars, nears []backends.Store
	for _, k := range kinds {
		fars, nears = append(fars, k.open(t)), append(nears, k.open(t))
	}
	framer, err := codec.New(codec.Config[string]{Namespace: "n"})
	if err != nil {
		t.Fatal(err)
	}
	reads := map[string]func(c *tier.Cache[string], key string) (string, error){
		"Get": func(c *tier.Cache[string], key string) (string, error) { return c.Get(t.Context(), key) },
		"GetMany": func(c *tier.Cache[string], key string) (string, error) {
			m, err := c.GetMany(t.Context(), []string{key})
			return m[key], err
		},
	}
	for f, far := range kinds {
		for n, near := range kinds {
			for by, read := range reads {
				t.Run(far.name+" to "+near.name+" by "+by, func(t *testing.T) {
					key := far.name + "/" + near.name + "/" + by // one of its own on servers that are shared
					made := time.Now().Add(left - ttl)
					ends := made.Add(ttl)
					frame, err := framer.Append(nil, key, codec.Header{Created: made.UnixMilli(), Expires: ends.UnixMilli()}, "v")
					if err != nil {
						t.Fatal(err)
					}
					if err := fars[f].Set(t.Context(), "n:"+key, backends.Item{Value: frame, TTL: left}); err != nil {
						t.Fatal(err)
					}
					c, err := tier.New(tier.Config[string]{
						Namespace: "n",
						Local:     tier.Local[string]{Disabled: true}, // every read asks the tiers, and promotes
						Remotes: []tier.Remote{
							{Name: "near", Store: nears[n], Timeout: ticks},
							{Name: "far", Store: fars[f], Timeout: ticks},
						},
						TTL: ttl, Jitter: -1, Load: tier.Load{EarlyBeta: -1},
					})
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close(context.Background())

					var got backends.Item
					var before time.Time // when it was asked for
					for give := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
						if v, err := read(c, key); err != nil || v != "v" {
							t.Fatalf("got %q, %v", v, err)
						}
						before = time.Now()
						if got, err = backends.GetTTL(t.Context(), nears[n], "n:"+key); err == nil {
							break
						}
						if time.Now().After(give) {
							t.Fatalf("not promoted: %v, %+v", err, c.Stats())
						}
					}
					if most := ends.Sub(before) + ticks; got.TTL <= 0 || got.TTL > most {
						t.Errorf("the copy lives for %v, the original for %v", got.TTL, ends.Sub(before))
					}
					if least := time.Until(ends) - ticks; got.TTL < least {
						t.Errorf("the copy lives for %v only, the original for %v", got.TTL, time.Until(ends))
					}
				})
			}
		}
	}
}
