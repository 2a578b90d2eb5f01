package tier

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/codec"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// user is a record of about 100 bytes of JSON.
type user struct {
	ID    int      `json:"id"`
	Name  string   `json:"name"`
	Email string   `json:"email"`
	Roles []string `json:"roles"`
}

// users returns n keys, and a cache over store that has a user under each.
func users(b testing.TB, store backends.Store, n int, near bool) (*Cache[user], []string) {
	cfg := Config[user]{Namespace: "t", Jitter: -1, Load: Load{EarlyBeta: -1}}
	cfg.Local.Disabled = !near
	cfg.Format = codec.Config[user]{Codec: codec.JSON[user]()}
	cfg.Remotes = []Remote{{Name: "a", Store: store}}
	c := open(b, cfg)
	keys, all := make([]string, n), make(map[string]user, n)
	for i := range keys {
		keys[i] = fmt.Sprint("user:", i)
		all[keys[i]] = user{ID: i, Name: "Ada Lovelace", Email: "ada@example.org", Roles: []string{"reader", "writer"}}
	}
	if err := c.SetMany(context.Background(), all); err != nil {
		b.Fatal(err)
	}
	return c, keys
}

// BenchmarkGetMany reads 100 keys: MGET with the same decoding first, then the cache without an L1
// over the same server, over memory, and from L1.
func BenchmarkGetMany(b *testing.B) {
	const n = 100
	ctx := context.Background()
	client := goredis.NewClient(redis.Options(serverstest.Redis(b).Addr()))
	defer func() { _ = client.Close() }()
	store, err := redis.New(client, redis.Config{})
	if err != nil {
		b.Fatal(err)
	}
	remote, keys := users(b, store, n, false)
	cancellable, cancel := context.WithCancel(ctx)
	defer cancel()
	plain := make([]string, n)
	for i, k := range keys {
		v, err := remote.Get(ctx, k)
		if err != nil {
			b.Fatal(err)
		}
		text, err := json.Marshal(v)
		if err != nil {
			b.Fatal(err)
		}
		plain[i] = "plain:" + k
		if err := client.Set(ctx, plain[i], text, 0).Err(); err != nil {
			b.Fatal(err)
		}
	}
	memoryOnly, _ := users(b, memory.New(memory.Config{}), n, false)
	near, _ := users(b, memory.New(memory.Config{}), n, true)
	many := func(c *Cache[user], ctx context.Context) func() (int, error) {
		return func() (int, error) {
			m, err := c.GetMany(ctx, keys)
			return len(m), err
		}
	}
	for _, v := range []struct {
		name string
		get  func() (int, error)
	}{
		{"mget", func() (int, error) {
			vals, err := client.MGet(ctx, plain...).Result()
			if err != nil {
				return 0, err
			}
			m := make(map[string]user, n)
			for i, v := range vals {
				var u user
				if err := json.Unmarshal([]byte(v.(string)), &u); err != nil {
					return 0, err
				}
				m[plain[i]] = u
			}
			return len(m), nil
		}},
		{"redis", many(remote, ctx)},
		{"redis, cancellable", many(remote, cancellable)},
		{"memory", many(memoryOnly, ctx)},
		{"L1", many(near, ctx)},
	} {
		b.Run(v.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got, err := v.get(); err != nil || got != n {
					b.Fatal(got, err)
				}
			}
		})
	}
}
