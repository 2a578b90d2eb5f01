package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"strings"
	"time"

	gocache "github.com/go-redis/cache/v9"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/viccon/sturdyc"

	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/bench/internal/side"
	"github.com/hearthcache/hearth/bench/l1"
	"github.com/hearthcache/hearth/tier"
)

const hitKeys = 100_000

// warmup is how often the look-ups are made before they are measured: hearth tells ristretto of an
// entry's first hits, the others learn at every one. Those that decode every hit learn nothing.
const warmup = 8

var decodes = map[string]bool{"go-redis/cache": true, "go-redis CSC+json": true, "freecache+json": true, "rueidis DoCache": true}

// l1 measures hits in the process: a Zipf mix of 100,000 keys, and a hot thousand.
func (r *run) l1() error {
	hitKeys := hitKeys
	if r.quick {
		hitKeys /= 5
	}
	keys := l1.Keys(hitKeys)
	var peers []l1.Peer
	for _, p := range l1.Peers {
		if p.Name == "hearth-l1" {
			continue // measured as a whole
		}
		peers = append(peers, p.New(4*hitKeys))
	}
	for _, open := range []func(string) (l1.Peer, error){wholeHearth, openExpirable, openTTLCache, openFreecache, openSturdyc, openGoRedisCache, openGoRedisCSC, openDoCache} {
		p, err := open(r.servers.redis.Addr())
		if err != nil {
			return err
		}
		peers = append(peers, p)
	}
	for _, p := range peers {
		fillAll(p, keys)
		defer p.Close()
	}
	for _, mix := range []struct {
		name string
		pick func() int
	}{{"Zipf", l1.Zipf(hitKeys, 1.01)}, {"hot set", l1.Hot(1000)}} {
		lookups := l1.Mix(keys, mix.pick)
		for _, p := range peers {
			if r.quick {
				p.Lookup(lookups, 0, len(lookups)/16)
				if p.Name == "hearth" || strings.HasPrefix(p.Name, "ristretto") { // what learns slowest
					p.Lookup(lookups, 0, warmup*len(lookups))
				}
				continue
			}
			p.Lookup(lookups, 0, len(lookups)/4) // those that fetch on a miss have what is asked for
			if !decodes[p.Name] {
				p.Lookup(lookups, 0, warmup*len(lookups)) // and what is learnt of keys is learnt
			}
		}
		for _, mode := range []string{"serial", "parallel"} {
			var variants []side.Variant
			for _, p := range peers {
				op := func(n int) { p.Lookup(lookups, 0, n) }
				if mode == "parallel" {
					op = side.Parallel(runtime.GOMAXPROCS(0), func(w, n int) { p.Lookup(lookups, w, n) })
				}
				variants = append(variants, side.Variant{Name: p.Name, Op: op})
			}
			plan := r.plan
			plan.Round = min(plan.Round, 60*time.Millisecond)
			title := "L1 hit, " + mix.name + ", " + mode
			res := r.measure(title, plan, variants...)
			r.l1Rows(title, mix.name, res)
		}
	}
	return nil
}

// fillAll puts every key, with many callers where that takes a round trip.
func fillAll(p l1.Peer, keys []string) {
	switch p.Name {
	case "go-redis/cache", "go-redis CSC+json", "rueidis DoCache":
		split(64, func(w, n int) {
			for i := range n {
				p.Put(keys[i*64+w], &l1.Value{ID: uint64(i)})
			}
		})(len(keys))
	default:
		p.Fill(keys)
	}
}

func (r *run) l1Rows(title, mix string, res []side.Result) {
	// Over the whole mix, to a twentieth: what is below that is other goroutines of the process, and
	// caches that do not allocate on a hit show as much.
	if n := side.Named(res, "hearth").Min(side.Allocs); mix == "Zipf" {
		r.add("l1", title+": allocations", "allocs/op", n, 0, math.Round(n*20)/20, atMost(0, 0))
	}
	bare, expiring := atMost(1.0, 1.25), atMost(0.6, 0.8)
	otter := atMost(0.65, 0.9)
	if mix == "hot set" {
		otter = atMost(0.5, 0.65)
	}
	r.cost("l1", title+": ristretto without TTL", res, "hearth", "ristretto", bare)
	r.cost("l1", title+": ristretto with TTL", res, "hearth", "ristretto-ttl", expiring)
	r.cost("l1", title+": otter with TTL", res, "hearth", "otter-ttl", otter)
	r.cost("l1", title+": otter without TTL", res, "hearth", "otter", shown)
	r.speed("l1", title+": sturdyc GetOrFetch", res, "hearth", "sturdyc GetOrFetch", atLeast(3, 1.5))
	r.speed("l1", title+": go-redis/cache", res, "hearth", "go-redis/cache", atLeast(8, 4))
	r.speed("l1", title+": go-redis client-side caching, decoded", res, "hearth", "go-redis CSC+json", atLeast(10, 5))
	for _, peer := range []string{"golang-lru expirable", "ttlcache"} {
		r.cost("l1", title+": "+peer, res, "hearth", peer, shown)
	}
	r.speed("l1", title+": freecache, decoded", res, "hearth", "freecache+json", shown)
	r.speed("l1", title+": rueidis DoCache", res, "hearth", "rueidis DoCache", atLeast(3, 1.5))
}

// wholeHearth is a cache with an L1 and a remote tier, with the defaults but for time and room.
func wholeHearth(string) (l1.Peer, error) {
	ctx := context.Background()
	c, err := tier.New(tier.Config[*l1.Value]{
		Namespace: "versus", TTL: time.Hour,
		Local:   tier.Local[*l1.Value]{MaxBytes: 4 * hitKeys * 512, TTL: time.Hour, Cost: func(*l1.Value) int64 { return 100 }},
		Remotes: []tier.Remote{{Name: "memory", Store: memory.New(memory.Config{})}},
	})
	if err != nil {
		return l1.Peer{}, err
	}
	return l1.Peer{
		Name:  "hearth",
		Get:   func(key string) *l1.Value { v, _ := c.Get(ctx, key); return v },
		Put:   func(key string, v *l1.Value) bool { return c.Set(ctx, key, v) == nil },
		Wait:  func() {},
		Close: func() { _ = c.Close(ctx) },
	}, nil
}

// openSturdyc has room for four times the keys in 64 shards.
func openSturdyc(string) (l1.Peer, error) {
	ctx := context.Background()
	c := sturdyc.New[*l1.Value](4*hitKeys, 64, time.Hour, 10)
	fetch := func(context.Context) (*l1.Value, error) { return nil, sturdyc.ErrNotFound }
	return l1.Peer{
		Name:  "sturdyc GetOrFetch",
		Get:   func(key string) *l1.Value { v, _ := c.GetOrFetch(ctx, key, fetch); return v },
		Put:   func(key string, v *l1.Value) bool { c.Set(key, v); return true },
		Wait:  func() {},
		Close: func() {},
	}, nil
}

// openGoRedisCache has its TinyLFU in front, with room for four times the keys.
func openGoRedisCache(addr string) (l1.Peer, error) {
	ctx := context.Background()
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	c := gocache.New(&gocache.Options{Redis: client, LocalCache: gocache.NewTinyLFU(4*hitKeys, time.Hour)})
	return l1.Peer{
		Name: "go-redis/cache",
		Get: func(key string) *l1.Value {
			v := new(l1.Value)
			if c.Get(ctx, "gc:"+key, v) != nil {
				return nil
			}
			return v
		},
		Put: func(key string, v *l1.Value) bool {
			return c.Set(&gocache.Item{Ctx: ctx, Key: "gc:" + key, Value: v, TTL: time.Hour}) == nil
		},
		Wait:  func() {},
		Close: func() { _ = client.Close() },
	}, nil
}

// openGoRedisCSC is go-redis's client-side caching with a JSON decode, since it keeps replies.
func openGoRedisCSC(addr string) (l1.Peer, error) {
	ctx := context.Background()
	client := goredis.NewClient(&goredis.Options{
		Addr: addr, Protocol: 3, ClientSideCacheConfig: &goredis.ClientSideCacheConfig{MaxEntries: 4 * hitKeys},
	})
	return l1.Peer{
		Name: "go-redis CSC+json",
		Get: func(key string) *l1.Value {
			text, err := client.Get(ctx, "csc:"+key).Bytes()
			if err != nil {
				return nil
			}
			var v small
			if json.Unmarshal(text, &v) != nil {
				return nil
			}
			return &l1.Value{ID: v.ID}
		},
		Put: func(key string, v *l1.Value) bool {
			return client.Set(ctx, "csc:"+key, smallJSON(v.ID), time.Hour).Err() == nil
		},
		Wait:  func() {},
		Close: func() { _ = client.Close() },
	}, nil
}

// small is what a record of about 100 bytes of JSON decodes to.
type small struct {
	ID    uint64 `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
	Age   int    `json:"age"`
}

func smallJSON(id uint64) []byte {
	text, err := json.Marshal(small{ID: id, Name: fmt.Sprintf("User Number %08d", id), Email: "somebody@example.com", Age: 42})
	if err != nil {
		panic(err) // a constant shape
	}
	return text
}

// openDoCache is rueidis with client-side caching; the reply is not decoded.
func openDoCache(addr string) (l1.Peer, error) {
	ctx := context.Background()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, CacheSizeEachConn: 512 << 20})
	if err != nil {
		return l1.Peer{}, err
	}
	found := new(l1.Value)
	return l1.Peer{
		Name: "rueidis DoCache",
		Get: func(key string) *l1.Value {
			if _, err := client.DoCache(ctx, client.B().Get().Key("ru:"+key).Cache(), time.Hour).ToString(); err != nil {
				return nil
			}
			return found
		},
		Put: func(key string, v *l1.Value) bool {
			return client.Do(ctx, client.B().Set().Key("ru:"+key).Value(string(smallJSON(v.ID))).Build()).Error() == nil
		},
		Wait:  func() {},
		Close: client.Close,
	}, nil
}
