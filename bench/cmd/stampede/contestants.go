package main

import (
	"context"
	"fmt"
	"time"

	gocache "github.com/go-redis/cache/v9"
	"github.com/maypok86/otter/v2"
	goredis "github.com/redis/go-redis/v9"
	"github.com/viccon/sturdyc"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/faultproxy"
	"github.com/hearthcache/hearth/tier"
)

// names of the contestants, in the order of the table.
var names = []string{"hearth/redis", "hearth/memcached", "go-redis/cache", "sturdyc", "otter"}

// missing are the peers that would belong here, and why they are not.
var missing = map[string]string{
	"rueidisaside": "its module's checksum is not served where this is built, so that it cannot be had in a verified form",
}

type loader = func(ctx context.Context, key string) (string, error)

// open opens a contestant: what reads a key through it, and loads it if need be.
func open(name string, addrs map[string]string, load loader) (func(ctx context.Context, key string) error, error) {
	switch name {
	case "hearth/redis", "hearth/memcached":
		server := name[len("hearth/"):]
		c, err := hearth(server, addrs[server], load)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, key string) error {
			_, err := c.Get(ctx, key)
			return err
		}, nil
	case "go-redis/cache":
		return openGoRedisCache(addrs["redis"], load), nil
	case "sturdyc":
		c := sturdyc.New[string](10_000, 64, time.Minute, 10)
		return func(ctx context.Context, key string) error {
			_, err := c.GetOrFetch(ctx, key, func(ctx context.Context) (string, error) { return load(ctx, key) })
			return err
		}, nil
	case "otter":
		c := otter.Must(&otter.Options[string, string]{MaximumSize: 10_000, ExpiryCalculator: otter.ExpiryWriting[string, string](time.Minute)})
		return func(ctx context.Context, key string) error {
			_, err := c.Get(ctx, key, otter.LoaderFunc[string, string](load))
			return err
		}, nil
	}
	return nil, fmt.Errorf("nobody is called %q", name)
}

// openGoRedisCache opens go-redis/cache with its local cache in front.
func openGoRedisCache(addr string, load loader) func(ctx context.Context, key string) error {
	c := gocache.New(&gocache.Options{
		Redis:      goredis.NewClient(&goredis.Options{Addr: addr}),
		LocalCache: gocache.NewTinyLFU(10_000, time.Minute),
	})
	return func(ctx context.Context, key string) error {
		var v string
		return c.Once(&gocache.Item{
			Ctx: ctx, Key: "go-redis:" + key, Value: &v, TTL: time.Minute,
			Do: func(*gocache.Item) (any, error) { return load(ctx, key) },
		})
	}
}

// hearth opens a cache of ours, with the defaults.
func hearth(server, addr string, load loader) (*tier.Cache[string], error) {
	var s backends.Store
	var err error
	if server == "redis" {
		s, err = redis.New(goredis.NewClient(redis.Options(addr)), redis.Config{})
	} else {
		s, err = memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: addr}}})
	}
	if err != nil {
		return nil, err
	}
	return tier.New(tier.Config[string]{
		Namespace: "stampede",
		Loader:    tier.LoaderFunc[string](load),
		Remotes:   []tier.Remote{{Name: server, Store: s}},
	})
}

// warmth is how many round trips a warm key costs.
type warmth struct {
	Remote int64 `json:"remote"` // in the remote tier, not in L1
	L1     int64 `json:"l1"`
}

// warm counts on the wire what keys cost that another process has loaded.
func warm(server, addr string) (w warmth, err error) {
	p, err := faultproxy.New(addr)
	if err != nil {
		return w, err
	}
	defer func() { _ = p.Close() }()
	c, err := hearth(server, p.Addr(), func(context.Context, string) (string, error) {
		return "", fmt.Errorf("a warm key was loaded")
	})
	if err != nil {
		return w, err
	}
	ctx := context.Background()
	defer func() { _ = c.Close(ctx) }()
	if _, err := c.Get(ctx, "cold.0"); err != nil { // makes the connection
		return w, err
	}
	before := p.RoundTrips()
	if _, err := c.Get(ctx, "cold.1"); err != nil {
		return w, err
	}
	w.Remote = p.RoundTrips() - before
	if _, err := c.Get(ctx, "cold.1"); err != nil {
		return w, err
	}
	w.L1 = p.RoundTrips() - before - w.Remote
	return w, nil
}
