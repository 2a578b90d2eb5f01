package fallback

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/codec"
)

func TestCompare_CountsWhatIsEqualWhatDiffersAndTheDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var named []string
		p := newPair(t, PhaseNew, func(c *Config) {
			c.CompareEvery = 1
			c.Observer = func(e Event) {
				if e.Kind == EventDifferent {
					named = append(named, e.Key)
				}
			}
		})
		defer p.s.Close()
		p.put(p.old, "equal", "v")
		p.put(p.fresh, "equal", "v")
		p.put(p.old, "differs", "v")
		p.put(p.fresh, "differs", "w")
		p.ok(p.fresh.Set(t.Context(), "drifts", backends.Item{Value: []byte("v"), TTL: 50 * time.Minute}))
		p.put(p.old, "drifts", "v")
		p.put(p.fresh, "new only", "v")
		for _, row := range []struct{ key, value string }{{"equal", "v"}, {"differs", "w"}, {"drifts", "v"}, {"new only", "v"}} {
			p.gets(row.key, row.value)
		}
		time.Sleep(time.Second)
		got := p.s.Progress()
		if got.Compared != 3 || got.Equal != 2 || got.Different != 1 || got.Reframed != 0 || len(named) != 1 || named[0] != "differs" {
			t.Errorf("%d compared, %d equal, %d different: %v", got.Compared, got.Equal, got.Different, named)
		}
		if got.TTLDriftMax != 10*time.Minute || got.TTLDriftMean != 200*time.Second {
			t.Errorf("drift %v at most, %v on average", got.TTLDriftMax, got.TTLDriftMean)
		}
	})
}

func TestCompare_SamplesEveryNthKeyAlsoOfBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseNew, func(c *Config) { c.CompareEvery = 10 })
		defer p.s.Close()
		keys := make([]string, 50)
		for i := range keys {
			keys[i] = fmt.Sprint("k", i)
			p.put(p.old, keys[i], "v")
			p.put(p.fresh, keys[i], "v")
		}
		p.s.GetMany(t.Context(), keys)
		for _, key := range keys {
			p.gets(key, "v")
		}
		synctest.Wait()
		if got := p.s.Progress(); got.Compared != 10 || got.Equal != 10 {
			t.Errorf("%d compared, %d equal of 100 reads, want 10", got.Compared, got.Equal)
		}
	})
}

// A Set of a neighbour in Mirror is in old, and new is to forget its value: no difference.
func TestCompare_ASetInFlightIsNoDifference(t *testing.T) {
	for name, toOld := range map[string]bool{"new is still to forget": true, "old is still to forget": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, PhaseNew, func(c *Config) { c.CompareEvery = 1 })
				defer p.s.Close()
				p.put(p.old, "k", "v")
				p.put(p.fresh, "k", "v")
				behind, before, value := p.fresh, p.old, "v"
				if !toOld {
					behind, before, value = p.old, p.fresh, "w"
				}
				p.put(before, "k", "w")
				p.gets("k", value)
				synctest.Wait()                       // the comparison has seen two values
				p.ok(behind.Delete(t.Context(), "k")) // the second half of the Set
				time.Sleep(time.Second)
				if got := p.s.Progress(); got.Different != 0 || got.Compared != 0 {
					t.Errorf("%d of %d different", got.Different, got.Compared)
				}
			})
		})
	}
}

// A key that changes in between is no difference either, whatever old has.
func TestCompare_AKeyThatChangesAllTheTimeIsNotCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseNew, func(c *Config) { c.CompareEvery = 1 })
		defer p.s.Close()
		p.put(p.old, "k", "v")
		p.put(p.fresh, "k", "w")
		p.gets("k", "w")
		synctest.Wait()
		p.put(p.old, "k", "y")
		p.put(p.fresh, "k", "z")
		time.Sleep(time.Second)
		if got := p.s.Progress(); got.Compared != 0 {
			t.Errorf("%d of %d different", got.Different, got.Compared)
		}
	})
}

// The frames that Legacy makes tell when they were made, so no two are equal.
func TestCompare_FramesOfLegacyAreCountedAsReframed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		framer, err := codec.New(codec.Config[string]{})
		if err != nil {
			t.Fatal(err)
		}
		p := newPair(t, PhaseNew, func(c *Config) {
			c.CompareEvery = 1
			c.Legacy = func(key string, it backends.Item) (backends.Item, error) {
				var err error
				it.Value, err = framer.Append(nil, key, codec.Header{Created: time.Now().UnixMilli()}, string(it.Value))
				return it, err
			}
		})
		defer p.s.Close()
		p.put(p.old, "copied", "v")
		p.put(p.old, "as it was", "v")
		p.put(p.fresh, "as it was", "v")
		for range 3 {
			for _, key := range []string{"copied", "as it was"} {
				if _, err := p.s.Get(t.Context(), key); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
			}
		}
		if got := p.s.Progress(); got.Different != 0 || got.Reframed != 2 || got.Equal != 3 {
			t.Errorf("%d different, %d reframed, %d equal", got.Different, got.Reframed, got.Equal)
		}
	})
}

// Old is on its way out: it may be stopped at any moment.
func TestCompare_RetireDoesNotAskOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseRetire, func(c *Config) { c.CompareEvery = 1 })
		defer p.s.Close()
		var asked atomic.Int64
		p.o.Before(func(backendtest.Op, string) { asked.Add(1) })
		p.put(p.old, "k", "v")
		p.put(p.fresh, "k", "v")
		p.gets("k", "v")
		p.s.GetMany(t.Context(), []string{"k"})
		synctest.Wait()
		if n := asked.Load(); n > 0 {
			t.Errorf("old was asked %d times", n)
		}
	})
}
