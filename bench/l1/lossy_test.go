package l1

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	raw "github.com/dgraph-io/ristretto/v2"

	"github.com/hearthcache/hearth/bench/internal/side"
	"github.com/hearthcache/hearth/internal/clock"
)

// lossy is what docs/decisions/0009 was measured against and decided not to be: ristretto with a
// table of pointers in front, in which the last entry read or stored under a slot is found at once.
// Both share the entry, so that one store to ends makes both forget it. One hit in sixteen goes
// through ristretto, which would not hear of any otherwise.
type lossy struct {
	seed  maphash.Seed
	clock *clock.Clock
	slots []atomic.Pointer[shared]
	far   *raw.Cache[string, *shared]
	every uint32 // how many hits of the table there are for one that ristretto sees
}

type shared struct {
	key  string
	v    *Value
	ends atomic.Int64
}

func newLossy(slots, entries, counters int, every uint32) *lossy {
	far, err := raw.NewCache(&raw.Config[string, *shared]{
		NumCounters: int64(counters), MaxCost: int64(entries), BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		panic(err)
	}
	return &lossy{maphash.MakeSeed(), clock.New(), make([]atomic.Pointer[shared], slots), far, every}
}

func (c *lossy) slot(key string) *atomic.Pointer[shared] {
	return &c.slots[maphash.String(c.seed, key)&uint64(len(c.slots)-1)]
}

func (c *lossy) get(key string) *Value {
	s, now := c.slot(key), c.clock.Now()
	if e := s.Load(); e != nil && e.key == key && now < e.ends.Load() {
		if rand.Uint32N(c.every) == 0 {
			c.far.Get(key)
		}
		return e.v
	}
	e, ok := c.far.Get(key)
	if !ok || e.key != key || now >= e.ends.Load() {
		return nil
	}
	s.Store(e)
	return e.v
}

func (c *lossy) put(key string, v *Value) bool {
	e := &shared{key: key, v: v}
	e.ends.Store(c.clock.Now() + int64(ttl))
	if old := c.slot(key).Swap(e); old != nil && old.key == key {
		old.ends.Store(0)
	}
	return c.far.Set(key, e, 1)
}

func (c *lossy) close() {
	c.far.Close()
	c.clock.Stop()
}

func lossyPeer(n int) Peer {
	c := newLossy(1<<16, n, 10*n, 16)
	return Peer{Name: "lossy", Get: c.get, Put: c.put, Wait: c.far.Wait, Close: c.close}
}

// BenchmarkLossy_HitsBesideHearths is the record of what the table was worth, as tables of its own.
func BenchmarkLossy_HitsBesideHearths(b *testing.B) {
	keys := Keys(hitKeys)
	all := mixes(keys)
	var peers []Peer
	for _, p := range []Peer{newRistretto("ristretto", 4*hitKeys, 0), newHearth(4 * hitKeys), NewCache(4 * hitKeys), lossyPeer(4 * hitKeys)} {
		p.Fill(keys)
		p.Lookup(all["zipf"], 0, 20*hitKeys)
		b.Cleanup(p.Close)
		peers = append(peers, p)
	}
	for _, mix := range []string{"hot", "zipf"} {
		for _, workers := range []int{1, runtime.GOMAXPROCS(0)} {
			var variants []side.Variant
			for _, p := range peers {
				variants = append(variants, side.Variant{Name: p.Name, Op: side.Parallel(workers, func(w, n int) { p.Lookup(all[mix], w, n) })})
			}
			side.Table(os.Stderr, fmt.Sprintf("%s, %d at a time", mix, workers), side.Run(side.Plan{}, variants...))
		}
	}
}

// BenchmarkLossy_HitRatioOfSampledHits is the other half of the record, on the traces of
// TestHitRatio_IsThatOfRistretto: a thousand entries fit, of ten thousand keys.
func BenchmarkLossy_HitRatioOfSampledHits(b *testing.B) {
	const n, keys = 100_000, 10_000
	names := Keys(keys + n)
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.01, 1, keys-1)
	zipf, scan := make([]int, n), make([]int, n)
	for i := range n {
		zipf[i] = int(z.Uint64())
		if scan[i] = zipf[i]; i%4000 < 1000 {
			scan[i] = keys + i
		}
	}
	for name, trace := range map[string][]int{"zipf": zipf, "scan": scan} {
		distinct := map[int]bool{}
		for _, k := range trace {
			distinct[k] = true
		}
		entries := len(distinct) / 10
		run := func(what string, get func(string) *Value, put func(string), wait func()) {
			hits := 0
			for _, k := range trace {
				if get(names[k]) != nil {
					hits++
					continue
				}
				put(names[k])
				wait()
			}
			b.Logf("%s, %d entries, %s: %.2f %%", name, entries, what, 100*float64(hits)/n)
		}
		bare := newRistretto("ristretto", entries, 0)
		run("ristretto", bare.Get, func(k string) { bare.Put(k, &Value{}) }, bare.Wait)
		bare.Close()
		for _, every := range []uint32{1, 16, 32} {
			for _, slots := range []int{512, 1024} {
				c := newLossy(slots, entries, 10*entries, every)
				// The table's own entries would be extra room: only what ristretto still has counts.
				run(fmt.Sprintf("lossy of %d slots, one hit in %d told, hits that ristretto has", slots, every), func(k string) *Value {
					v := c.get(k)
					if _, ok := c.far.GetTTL(k); !ok { // not counted as an access
						return nil
					}
					return v
				}, func(k string) { c.put(k, &Value{}) }, c.far.Wait)
				c.close()
				c = newLossy(slots, entries, 10*entries, every)
				run(fmt.Sprintf("lossy of %d slots, one hit in %d told, all hits", slots, every), c.get, func(k string) { c.put(k, &Value{}) }, c.far.Wait)
				only := 0
				for i := range c.slots {
					if e := c.slots[i].Load(); e != nil {
						if _, ok := c.far.GetTTL(e.key); !ok {
							only++
						}
					}
				}
				b.Logf("  of the slots %d hold an entry that ristretto has evicted or refused", only)
				c.close()
			}
		}
	}
}

// TestLossy_AnOldValueComesBack shows why the table is not coherent in front of ristretto: of two
// puts of a key, whose slot another key took in between, the older is what remains. ristretto by
// itself does that; the table hides it until the slot is needed.
func TestLossy_AnOldValueComesBack(t *testing.T) {
	const tries = 200
	c := newLossy(1, 10*tries, 100*tries, 16)
	table := Peer{Name: "lossy", Get: c.get, Put: c.put, Wait: c.far.Wait, Close: c.close}
	for _, p := range []Peer{newRistretto("ristretto", 10*tries, 0), table, newHearth(10 * tries)} {
		old := 0
		for _, key := range Keys(tries) {
			p.Put(key, &Value{ID: 1})
			p.Put(key+"/other", &Value{})
			p.Put(key, &Value{ID: 2})
			p.Put(key+"/other", &Value{})
			p.Wait()
			if v := p.Get(key); v != nil && v.ID == 1 {
				old++
			}
		}
		t.Logf("%s: of %d keys put twice %d have the old value", p.Name, tries, old)
		if comesBack := p.Name != "hearth-l1"; comesBack != (old > 0) {
			t.Errorf("%s: of %d keys put twice %d have the old value", p.Name, tries, old)
		}
		p.Close()
	}
}
