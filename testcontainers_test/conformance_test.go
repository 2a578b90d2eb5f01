package containers

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
)

func TestStores_ConformOnEveryImage(t *testing.T) {
	for _, i := range images {
		t.Run(i.tag, func(t *testing.T) {
			addr := i.start(t)
			if i.kind == "memcached" {
				conformMemcached(t, addr)
				return
			}
			s, c := redisStore(t, addr)
			backendtest.Run(t, func(*testing.T) backendtest.Harness { return redisHarness(s, c) })
		})
	}
}

// redisHarness is a store with a plain client beside it.
func redisHarness(s backends.Store, c goredis.UniversalClient) backendtest.Harness {
	return backendtest.Harness{
		Store: s,
		RawSet: func(key string, value []byte) error {
			return c.Set(context.Background(), key, value, 0).Err()
		},
		RawGet: func(key string) ([]byte, error) {
			b, err := c.Get(context.Background(), key).Bytes()
			if errors.Is(err, goredis.Nil) {
				err = backends.ErrMiss
			}
			return b, err
		},
	}
}

func conformMemcached(t *testing.T, addr string) {
	s, peer := memcachedStore(t, addr), memcachedStore(t, addr)
	plain := memcache.New(addr)
	plain.Timeout = caseTime
	t.Cleanup(func() { plain.Close() })
	backendtest.Run(t, func(*testing.T) backendtest.Harness {
		return backendtest.Harness{
			Store:         s,
			Peer:          peer,
			TTLResolution: 2 * time.Second, // one for the rounding, one for the server's tick
			RawSet: func(key string, value []byte) error {
				return plain.Set(&memcache.Item{Key: key, Value: value})
			},
			RawGet: func(key string) ([]byte, error) {
				it, err := plain.Get(key)
				if errors.Is(err, memcache.ErrCacheMiss) {
					return nil, backends.ErrMiss
				}
				if err != nil {
					return nil, err
				}
				return it.Value, nil
			},
		}
	})
}
