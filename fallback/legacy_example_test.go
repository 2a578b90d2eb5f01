package fallback_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/codec"
	"github.com/hearthcache/hearth/fallback"
	"github.com/hearthcache/hearth/tier"
)

// Values that a Python service wrote with pymemcache, as JSON, are read through a cache of hearth:
// Legacy makes a frame of each, as the cache itself would have made it.
func ExampleConfig_legacy() {
	type User struct {
		Name string `json:"name"`
	}
	const namespace = "users"
	// The same codec.Config as the cache's Format, with the cache's namespace.
	framer, err := codec.New(codec.Config[User]{Namespace: namespace})
	if err != nil {
		fmt.Println(err)
		return
	}
	memcached, redis := memory.New(memory.Config{}), memory.New(memory.Config{}) // stand-ins
	store, err := fallback.New(fallback.Config{
		New:   fallback.Member{Name: "redis", Store: redis},
		Old:   []fallback.Member{{Name: "memcached", Store: memcached}},
		Phase: fallback.PhaseNew,
		Legacy: func(key string, it backends.Item) (backends.Item, error) {
			name, ours := strings.CutPrefix(key, namespace+":") // a frame is bound to the cache's own key
			var u User
			if err := json.Unmarshal(it.Value, &u); err != nil || !ours {
				return it, fmt.Errorf("%s is no user: %w", key, err) // a miss: the loader answers
			}
			it.Value, err = framer.Append(nil, name, codec.Header{}, u)
			it.Flags = 0 // pymemcache's own: what its serializer was
			return it, err
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	ctx := context.Background()
	cache, err := tier.New(tier.Config[User]{Namespace: namespace, Remotes: []tier.Remote{{Name: "migration", Store: store}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = cache.Close(ctx) }()

	_ = memcached.Set(ctx, "users:1", backends.Item{Value: []byte(`{"name":"Ada"}`), Flags: 2, TTL: time.Hour})
	u, err := cache.Get(ctx, "1")
	fmt.Println(u.Name, err)

	copied, _ := redis.Get(ctx, "users:1")
	_, u, err = framer.Decode("1", copied.Value)
	fmt.Println("in redis as a frame:", u.Name, err)

	_ = memcached.Set(ctx, "users:2", backends.Item{Value: []byte("(dp0\nS'name'\n"), TTL: time.Hour})
	_, err = cache.Get(ctx, "2")
	fmt.Println(err)
	// Output:
	// Ada <nil>
	// in redis as a frame: Ada <nil>
	// cache: miss
}
