package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/viccon/sturdyc"

	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/bench/internal/side"
	"github.com/hearthcache/hearth/codec"
	"github.com/hearthcache/hearth/tier"
)

// bulkSize is how many keys one call reads.
const bulkSize = 100

// bulk reads 100 keys a call from Redis, one caller, decoded from JSON with the same decoder by
// all. hearth is a whole cache without L1; sturdyc fetches from Redis what it does not keep, which
// here is everything, since its entries have expired.
func (r *run) bulk() error {
	ctx := context.Background()
	addr := r.servers.redis.Addr()
	if err := fillRedis(addr); err != nil {
		return err
	}
	plain := goredis.NewClient(&goredis.Options{Addr: addr})
	defer func() { _ = plain.Close() }()
	own := goredis.NewClient(patient(addr))
	defer func() { _ = own.Close() }()
	store, err := redis.New(own, redis.Config{})
	if err != nil {
		return err
	}
	cache, err := tier.New(tier.Config[small]{
		Namespace: "bulk", TTL: time.Hour, Local: tier.Local[small]{Disabled: true},
		Format:  codec.Config[small]{Codec: codec.JSON[small]()},
		Remotes: []tier.Remote{{Name: "redis", Store: store, Timeout: patience}},
	})
	if err != nil {
		return err
	}
	defer func() { _ = cache.Close(ctx) }()
	for i, k := range remoteNames {
		var v small
		if err := json.Unmarshal(smallJSON(uint64(i)), &v); err != nil {
			return err
		}
		if i >= 100*bulkSize {
			break
		}
		if err := cache.Set(ctx, k, v); err != nil {
			return err
		}
	}
	fetch := func(ctx context.Context, keys []string) (map[string]small, error) {
		vals, err := plain.MGet(ctx, keys...).Result()
		if err != nil {
			return nil, err
		}
		m := make(map[string]small, len(keys))
		for i, v := range vals {
			text, ok := v.(string)
			if !ok {
				continue
			}
			var s small
			if err := json.Unmarshal([]byte(text), &s); err != nil {
				return nil, err
			}
			m[keys[i]] = s
		}
		return m, nil
	}
	short := sturdyc.New[small](10_000, 1, time.Nanosecond, 10, sturdyc.WithNoContinuousEvictions())
	itself := func(id string) string { return id }
	batches := func(get func(keys []string) (int, error)) func(int) {
		return func(n int) {
			for i := range n {
				at := i * bulkSize % len(remoteNames)
				if got, err := get(remoteNames[at : at+bulkSize]); err != nil || got != bulkSize {
					panic(fmt.Sprint("bulk: ", got, " ", err))
				}
			}
		}
	}
	res := r.measure("bulk of 100", r.plan,
		side.Variant{Name: "go-redis MGET+json", Op: batches(func(keys []string) (int, error) {
			m, err := fetch(ctx, keys)
			return len(m), err
		})},
		side.Variant{Name: "sturdyc batch+json", Op: batches(func(keys []string) (int, error) {
			m, err := short.GetOrFetchBatch(ctx, keys, itself, fetch)
			return len(m), err
		})},
		side.Variant{Name: "hearth", Op: batches(func(keys []string) (int, error) {
			m, err := cache.GetMany(ctx, keys)
			return len(m), err
		})},
		side.Variant{Name: "hearth, the store alone", Op: batches(func(keys []string) (int, error) {
			n := 0
			for _, r := range store.GetMany(ctx, keys) {
				if r.Err == nil {
					n++
				}
			}
			return n, nil
		})},
		side.Variant{Name: "go-redis MGET, strings", Op: batches(func(keys []string) (int, error) {
			vals, err := plain.MGet(ctx, keys...).Result()
			return len(vals), err
		})},
	)
	r.cost("bulk", "100 keys, decoded: sturdyc's batch", res, "hearth", "sturdyc batch+json", atMost(0.75, 0.9))
	r.cost("bulk", "100 keys, decoded: go-redis MGET and the same decode", res, "hearth", "go-redis MGET+json", atMost(1.0, 1.1).tolerating(1.3))
	r.cost("bulk", "100 keys, bytes: go-redis MGET", res, "hearth, the store alone", "go-redis MGET, strings", shown)
	return nil
}
