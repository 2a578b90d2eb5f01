package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/coocood/freecache"
	gocache "github.com/go-redis/cache/v9"
	"github.com/hashicorp/golang-lru/v2/expirable"
	"github.com/jellydator/ttlcache/v3"
	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/bench/internal/side"
	"github.com/hearthcache/hearth/bench/l1"
	"github.com/hearthcache/hearth/tier"
)

// openExpirable is golang-lru's LRU whose entries expire.
func openExpirable(string) (l1.Peer, error) {
	c := expirable.NewLRU[string, *l1.Value](4*hitKeys, nil, time.Hour)
	return l1.Peer{
		Name:  "golang-lru expirable",
		Get:   func(key string) *l1.Value { v, _ := c.Get(key); return v },
		Put:   func(key string, v *l1.Value) bool { c.Add(key, v); return true },
		Wait:  func() {},
		Close: c.Purge,
	}, nil
}

// openTTLCache has its defaults, a capacity and a TTL: a hit moves the expiry.
func openTTLCache(string) (l1.Peer, error) {
	c := ttlcache.New(ttlcache.WithTTL[string, *l1.Value](time.Hour), ttlcache.WithCapacity[string, *l1.Value](4*hitKeys))
	return l1.Peer{
		Name: "ttlcache",
		Get: func(key string) *l1.Value {
			if it := c.Get(key); it != nil {
				return it.Value()
			}
			return nil
		},
		Put:   func(key string, v *l1.Value) bool { c.Set(key, v, ttlcache.DefaultTTL); return true },
		Wait:  func() {},
		Close: c.DeleteAll,
	}, nil
}

// openFreecache keeps bytes: JSON is decoded at every hit.
func openFreecache(string) (l1.Peer, error) {
	c := freecache.NewCache(4 * hitKeys * 256)
	return l1.Peer{
		Name: "freecache+json",
		Get: func(key string) *l1.Value {
			text, err := c.Get([]byte(key))
			if err != nil {
				return nil
			}
			var v small
			if json.Unmarshal(text, &v) != nil {
				return nil
			}
			return &l1.Value{ID: v.ID}
		},
		Put:   func(key string, v *l1.Value) bool { return c.Set([]byte(key), smallJSON(v.ID), 3600) == nil },
		Wait:  func() {},
		Close: c.Clear,
	}, nil
}

// leased is a miss with a remote: hearth asks, takes the lease, loads and fills; go-redis/cache
// asks, loads and writes, and no other process waits for it.
func (r *run) leased() error {
	ctx := context.Background()
	addr := r.servers.redis.Addr()
	own, plain := goredis.NewClient(patient(addr)), goredis.NewClient(&goredis.Options{Addr: addr})
	defer func() { _, _ = own.Close(), plain.Close() }()
	store, err := redis.New(own, redis.Config{})
	if err != nil {
		return err
	}
	c, err := tier.New(tier.Config[small]{
		Namespace: "leased", TTL: time.Minute, Local: tier.Local[small]{Disabled: true},
		Remotes: []tier.Remote{{Name: "redis", Store: store, Timeout: patience}},
	})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	peer := gocache.New(&gocache.Options{Redis: plain})
	next := 0
	fresh := func(get func(key string) error) func(int) {
		return func(n int) {
			for range n {
				next++
				if err := get(fmt.Sprint("leased:", next)); err != nil {
					panic(err)
				}
			}
		}
	}
	res := r.measure("miss and load, Redis behind", r.plan,
		side.Variant{Name: "go-redis/cache Once", Op: fresh(func(key string) error {
			var v small
			return peer.Once(&gocache.Item{Ctx: ctx, Key: "once:" + key, Value: &v, TTL: time.Minute,
				Do: func(*gocache.Item) (any, error) { return small{ID: 1}, nil }})
		})},
		side.Variant{Name: "hearth", Op: fresh(func(key string) error {
			_, err := c.GetOrLoad(ctx, key, func(context.Context, string) (small, error) { return small{ID: 1}, nil })
			return err
		})},
	)
	r.cost("miss", "a leased load with Redis behind: go-redis/cache Once, without lease", res, "hearth", "go-redis/cache Once", shown)
	return nil
}
