package l1

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	raw "github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"

	"github.com/hearthcache/hearth/backends/ristretto"
	"github.com/hearthcache/hearth/internal/clock"
	"github.com/hearthcache/hearth/tier"
)

// Value is what the caches hold: 100 bytes, decoded.
type Value struct {
	ID   uint64
	Body [92]byte
}

// Peer is a cache under measurement.
type Peer struct {
	Name  string
	Get   func(key string) *Value
	Put   func(key string, v *Value) bool
	Wait  func() // until what was put is settled
	Close func()
}

const ttl = time.Hour

// Peers are the caches by name, each with room for n entries.
var Peers = []struct {
	Name string
	New  func(n int) Peer
}{
	{"ristretto", func(n int) Peer { return newRistretto("ristretto", n, 0) }},
	{"ristretto-ttl", func(n int) Peer { return newRistretto("ristretto-ttl", n, ttl) }},
	{"otter", func(n int) Peer { return newOtter("otter", n, 0) }},
	{"otter-ttl", func(n int) Peer { return newOtter("otter-ttl", n, ttl) }},
	{"hearth-l1", newHearth},
}

func newRistretto(name string, n int, ttl time.Duration) Peer {
	c, err := raw.NewCache(&raw.Config[string, *Value]{
		NumCounters: int64(10 * n), MaxCost: int64(n), BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		panic(err)
	}
	return Peer{
		Name:  name,
		Get:   func(key string) *Value { v, _ := c.Get(key); return v },
		Put:   func(key string, v *Value) bool { return c.SetWithTTL(key, v, 1, ttl) },
		Wait:  c.Wait,
		Close: c.Close,
	}
}

func newOtter(name string, n int, ttl time.Duration) Peer {
	o := &otter.Options[string, *Value]{MaximumSize: n}
	if ttl > 0 {
		o.ExpiryCalculator = otter.ExpiryWriting[string, *Value](ttl)
	}
	c := otter.Must(o)
	return Peer{
		Name:  name,
		Get:   func(key string) *Value { v, _ := c.GetIfPresent(key); return v },
		Put:   func(key string, v *Value) bool { c.Set(key, v); return true },
		Wait:  c.CleanUp,
		Close: func() { c.StopAllGoroutines() },
	}
}

// room is MaxBytes for n entries: the whole cache charges 320 for each, and a 64th is for entries that
// ristretto has not judged.
func room(n int) int64 { return int64(n) * 328 }

func newHearth(n int) Peer {
	clk := clock.New()
	c, err := ristretto.New[Value](ristretto.Config{MaxCost: room(n), Clock: clk})
	if err != nil {
		panic(err)
	}
	return Peer{
		Name: "hearth-l1",
		Get:  func(key string) *Value { v, _ := c.Get(key); return v },
		Put: func(key string, v *Value) bool {
			now := clk.Now()
			return c.Put(key, c.Stamp(key), v, 100, now+int64(ttl/2), now+int64(ttl))
		},
		Wait:  c.Wait,
		Close: func() { c.Close(); clk.Stop() },
	}
}

// NewCache is what a service calls: the typed cache, with counters, over no remote tier.
func NewCache(n int) Peer {
	ctx := context.Background()
	c, err := tier.New(tier.Config[*Value]{
		Local: tier.Local[*Value]{MaxBytes: room(n), Cost: func(*Value) int64 { return 100 }},
		TTL:   ttl, Fresh: ttl / 2, Load: tier.Load{EarlyBeta: -1},
	})
	if err != nil {
		panic(err)
	}
	return Peer{
		Name:  "hearth",
		Get:   func(key string) *Value { v, _ := c.Get(ctx, key); return v },
		Put:   func(key string, v *Value) bool { return c.Set(ctx, key, v) == nil },
		Wait:  func() {},
		Close: func() { c.Close(ctx) },
	}
}

// Fill puts every key and waits until all of them are there.
func (p Peer) Fill(keys []string) {
	for i, k := range keys {
		for !p.Put(k, &Value{ID: uint64(i)}) {
			p.Wait()
		}
	}
	p.Wait()
}

// Keys are n keys of 16 bytes.
func Keys(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("user:%011d", i)
	}
	return out
}

// Mix is a sequence of look-ups, a power of two long: copies of keys, drawn by pick.
func Mix(keys []string, pick func() int) []string {
	out := make([]string, 1<<18)
	copies := make(map[int]string)
	for i := range out {
		k := pick()
		if copies[k] == "" {
			copies[k] = strings.Clone(keys[k])
		}
		out[i] = copies[k]
	}
	return out
}

// Zipf draws keys with exponent s, from all of n.
func Zipf(n int, s float64) func() int {
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), s, 1, uint64(n-1))
	order := rand.New(rand.NewPCG(3, 4)).Perm(n)
	return func() int { return order[z.Uint64()] }
}

// Hot draws evenly from the first n keys.
func Hot(n int) func() int {
	r := rand.New(rand.NewPCG(5, 6))
	return func() int { return r.IntN(n) }
}

// Lookup reads n keys of mix, from a place of the worker's own.
func (p Peer) Lookup(mix []string, worker, n int) {
	misses := 0
	for i := range n {
		if p.Get(mix[(worker*7919+i)&(len(mix)-1)]) == nil {
			misses++
		}
	}
	if misses > n/100 {
		panic(fmt.Sprintf("%s missed %d of %d", p.Name, misses, n))
	}
}
