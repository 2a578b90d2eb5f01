package ristretto

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// remote is a shared store: what the L1 under test caches. Its values are versions, which only go up.
type remote struct {
	mu      sync.Mutex
	version [hammerKeys]int
}

const hammerKeys = 32

func (r *remote) read(k int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.version[k]
}

func (r *remote) write(k int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version[k]++
	return r.version[k]
}

// hammer has readers fill and writers change the same keys, and counts the reads that returned a
// version older than one whose write had completed before the read began.
func hammer(t *testing.T, cfg Config, d time.Duration, keys int) (stale, hits int64) {
	c := newTest(t, cfg)
	var r remote
	var completed [hammerKeys]atomic.Int64 // the newest version whose write has returned
	var staleReads, hit atomic.Int64
	deadline := time.Now().Add(d)
	each(8, func(w int) {
		rnd := rand.New(rand.NewPCG(uint64(w), 1))
		for i := 0; i%64 != 0 || time.Now().Before(deadline); i++ {
			k := rnd.IntN(keys)
			key := strconv.Itoa(k)
			switch {
			case w < 4: // read
				least := completed[k].Load()
				v, s := c.Get(key)
				if s != Miss {
					hit.Add(1)
					if int64(*v) < least {
						staleReads.Add(1)
					}
					continue
				}
				st := c.Stamp(key)
				loaded := r.read(k)
				if rnd.IntN(4) == 0 {
					time.Sleep(time.Duration(rnd.IntN(50)) * time.Microsecond) // the way back
				}
				c.Put(key, st, &loaded, 8, 0, 0)
			case rnd.IntN(3) > 0: // write and forget
				v := r.write(k)
				c.Invalidate(key)
				raise(&completed[k], int64(v))
			default: // write through
				st := c.Stamp(key)
				v := r.write(k)
				if rnd.IntN(4) == 0 {
					time.Sleep(time.Duration(rnd.IntN(50)) * time.Microsecond)
				}
				c.Replace(key, st, &v, 8, 0, 0)
				raise(&completed[k], int64(v))
			}
			if w >= 4 {
				time.Sleep(time.Duration(rnd.IntN(60)) * time.Microsecond)
			}
		}
	})
	for k := range keys {
		if v, s := c.Get(strconv.Itoa(k)); s != Miss && *v != r.read(k) {
			staleReads.Add(1)
		}
	}
	agree(t, c)
	return staleReads.Load(), hit.Load()
}

func raise(a *atomic.Int64, v int64) {
	for old := a.Load(); old < v && !a.CompareAndSwap(old, v); old = a.Load() {
	}
}

func TestHammer_NoReadIsOlderThanACompletedWrite(t *testing.T) {
	stale, hits := hammer(t, Config{}, time.Second, hammerKeys)
	if stale != 0 || hits < 10_000 {
		t.Errorf("%d stale of %d hits", stale, hits)
	}
}

func TestHammer_SeesStaleReadsWithoutTheFences(t *testing.T) {
	for name, w := range map[string]without{
		"without stamps":                 {stamp: true},
		"without comparing at a replace": {swap: true},
	} {
		t.Run(name, func(t *testing.T) {
			for range 10 {
				if stale, _ := hammer(t, Config{without: w}, 200*time.Millisecond, 2); stale > 0 {
					return
				}
			}
			t.Error("the hammer saw nothing: it cannot prove anything either")
		})
	}
}

// TestChurn_RistrettoAndIndexAgree mixes every way into and out of a full cache.
func TestChurn_RistrettoAndIndexAgree(t *testing.T) {
	c := newTest(t, Config{MaxCost: 256 << 10})
	each(4, func(w int) {
		rnd := rand.New(rand.NewPCG(uint64(w), 2))
		for i := range 40_000 {
			key := strconv.Itoa(int(rnd.ExpFloat64() * 400))
			switch op := rnd.IntN(100); {
			case op < 40:
				c.Get(key)
			case op < 70:
				c.Put(key, c.Stamp(key), ptr(i), rnd.Int64N(300), 0, 0)
			case op < 80:
				c.Replace(key, c.Stamp(key), ptr(i), rnd.Int64N(6000), 0, 0)
			case op < 99:
				c.Invalidate(key)
			case rnd.IntN(50) == 0:
				c.Flush()
			}
			if used := c.cost.Load(); used > c.maxCost+c.maxEntry+4*6500 {
				t.Errorf("%d of %d bytes", used, c.maxCost)
				return
			}
		}
	})
	agree(t, c)
	if st := c.Stats(); st.Evicted == 0 || st.Entries == 0 {
		t.Errorf("%+v", st)
	}
}

func TestGet_FindsWhatIsThereWhileTheTableGrows(t *testing.T) {
	missed := func(cfg Config) int64 {
		var misses atomic.Int64
		for range 3 {
			c := newTest(t, cfg)
			keys := make([]string, 500)
			for i := range keys {
				keys[i] = strconv.Itoa(i)
				fill(c, keys[i], i)
			}
			var done atomic.Bool
			each(2, func(w int) {
				if w == 0 {
					for i := range 10_000 {
						fill(c, "more"+strconv.Itoa(i), i)
					}
					done.Store(true)
					return
				}
				for !done.Load() {
					for _, k := range keys {
						if _, s := c.Get(k); s == Miss {
							misses.Add(1)
						}
					}
				}
			})
			c.Close()
			if misses.Load() > 0 {
				break
			}
		}
		return misses.Load()
	}
	if n := missed(Config{MaxCost: 1 << 30}); n != 0 {
		t.Errorf("%d misses", n)
	}
}
