package ristretto

import (
	"fmt"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"github.com/hearthcache/hearth/internal/clock"
)

func TestNew_RefusesWhatCannotWork(t *testing.T) {
	for _, cfg := range []Config{{MaxCost: -1}, {MaxCost: 1000}, {Epochs: 3}, {Epochs: -8}} {
		if c, err := New[int](cfg); err == nil {
			c.Close()
			t.Errorf("%+v was taken", cfg)
		}
	}
}

func TestPut_SecondValueOfAQueuedKeyIsTheOneKept(t *testing.T) {
	c := newTest(t, Config{})
	for i := range 1000 {
		k := strconv.Itoa(i)
		fill(c, k, 1)
		fill(c, k, 2)
		want(t, c, k, Fresh, 2)
	}
	c.Wait()
	for i := range 1000 {
		want(t, c, strconv.Itoa(i), Fresh, 2)
	}
	agree(t, c)
}

func TestPut_AFillThatWasOvertakenIsNotStored(t *testing.T) {
	overtake := map[string]func(c *Cache[int]){
		"by an invalidation": func(c *Cache[int]) { c.Invalidate("k") },
		"by one of many":     func(c *Cache[int]) { c.InvalidateMany([]string{"j", "k"}) },
		"by a flush":         func(c *Cache[int]) { c.Flush() },
		"by a replace":       func(c *Cache[int]) { c.Replace("k", c.Stamp("k"), ptr(2), 8, 0, 0); c.Invalidate("k") },
	}
	for name, act := range overtake {
		t.Run(name, func(t *testing.T) {
			c := newTest(t, Config{})
			st := c.Stamp("k")
			act(c)
			if c.Put("k", st, ptr(1), 8, 0, 0) {
				t.Error("Put took it")
			}
			want(t, c, "k", Miss, 0)
		})
	}
}

func TestPut_AnOvertakenFillIsSeenWithoutTheStamps(t *testing.T) {
	// Either of the two comparisons is enough; without both the old value is served.
	c := newTest(t, Config{})
	st := c.Stamp("k")
	c.Invalidate("k")
	if c.Put("k", st, ptr(1), 8, 0, 0) {
		t.Error("stored")
	}
	want(t, c, "k", Miss, 0)

	blind := newTest(t, Config{without: without{stamp: true}})
	st = blind.Stamp("k")
	blind.Invalidate("k")
	blind.Put("k", st, ptr(1), 8, 0, 0)
	want(t, blind, "k", Fresh, 1) // else the test proves nothing
}

func TestReplace_OfTwoWritersNeitherKnowsWhoWon(t *testing.T) {
	// Both wrote to the remotes; what is there now may be either's. So the second must not store.
	c := newTest(t, Config{})
	a, b := c.Stamp("k"), c.Stamp("k")
	if !c.Replace("k", a, ptr(1), 8, 0, 0) {
		t.Fatal("the first had nobody beside it")
	}
	want(t, c, "k", Fresh, 1)
	if c.Replace("k", b, ptr(2), 8, 0, 0) {
		t.Error("the second stored")
	}
	want(t, c, "k", Miss, 0)

	blind := newTest(t, Config{without: without{swap: true}})
	a, b = blind.Stamp("k"), blind.Stamp("k")
	blind.Replace("k", a, ptr(1), 8, 0, 0)
	if blind.Replace("k", b, ptr(2), 8, 0, 0) {
		// The stamp it stores is the one it captured, plus its own bump.
		want(t, blind, "k", Fresh, 2)
	} else {
		t.Error("nothing to see without the comparison")
	}
}

func TestReplace_TakesNoOtherKeysAlong(t *testing.T) {
	c := newTest(t, Config{Epochs: 4}) // every key has hundreds of companions
	for i := range 1000 {
		k := strconv.Itoa(i)
		if !c.Replace(k, c.Stamp(k), ptr(i), 8, 0, 0) {
			t.Fatalf("%d: refused", i)
		}
	}
	for i := range 1000 {
		want(t, c, strconv.Itoa(i), Fresh, i)
	}
}

func TestInvalidate_TakesNoOtherKeysAlong(t *testing.T) {
	c := newTest(t, Config{Epochs: 4}) // every key has hundreds of companions
	for i := range 1000 {
		fill(c, strconv.Itoa(i), i)
	}
	for i := range 500 {
		c.Invalidate(strconv.Itoa(i))
	}
	for i := range 1000 {
		state := Fresh
		if i < 500 {
			state = Miss
		}
		want(t, c, strconv.Itoa(i), state, i)
	}
	agree(t, c)
}

func TestGet_ReturnsTheCachesOwnCopy(t *testing.T) {
	c := newTest(t, Config{})
	v := 1
	c.Put("k", c.Stamp("k"), &v, 8, 0, 0)
	v = 2
	want(t, c, "k", Fresh, 1)
	was, _ := c.Get("k")
	if again, _ := c.Get("k"); again != was {
		t.Error("another value, though nothing was stored")
	}
	fill(c, "k", 1)
	if now, _ := c.Get("k"); now == was {
		t.Error("the same value after another was stored")
	}
}

func TestPut_FromBeforeAReplaceIsRefused(t *testing.T) {
	c := newTest(t, Config{})
	old := c.Stamp("k")
	if !c.Replace("k", c.Stamp("k"), ptr(2), 8, 0, 0) || c.Put("k", old, ptr(1), 8, 0, 0) {
		t.Error("the older fill was stored")
	}
	want(t, c, "k", Fresh, 2)
}

func TestSetHorizon_NothingIsServedBeyondIt(t *testing.T) {
	clk := clock.NewFake(time.Unix(0, 0))
	c := newTest(t, Config{Clock: clk.Clock})
	fill(c, "k", 1) // without deadlines
	c.SetHorizon(clk.Now() + int64(time.Second))
	want(t, c, "k", Fresh, 1)
	clk.Advance(time.Second)
	want(t, c, "k", Miss, 0)
	c.SetHorizon(clk.Now() + int64(time.Second))
	want(t, c, "k", Fresh, 1)
	clk.Advance(time.Hour)
	want(t, c, "k", Miss, 0)
	c.SetHorizon(0)
	want(t, c, "k", Fresh, 1)
}

func TestReplace_ThatCannotStoreForgetsTheOldValue(t *testing.T) {
	c := newTest(t, Config{MaxCost: 1 << 20})
	fill(c, "k", 1)
	if c.Replace("k", c.Stamp("k"), ptr(2), 1<<20, 0, 0) {
		t.Fatal("took a value as big as the cache")
	}
	want(t, c, "k", Miss, 0)
	agree(t, c)
}

func TestPut_RefusesWhatWouldPushOutTooMuch(t *testing.T) {
	c := newTest(t, Config{MaxCost: 1 << 20})
	if c.Put("k", c.Stamp("k"), ptr(1), 1<<16, 0, 0) {
		t.Error("took a sixteenth and more")
	}
	if !c.Put("k", c.Stamp("k"), ptr(1), 1<<16-500, 0, 0) {
		t.Error("refused less than a sixteenth")
	}
	if !c.Put("j", c.Stamp("j"), ptr(1), -5, 0, 0) || c.Stats().Cost < 1<<16-500+2*entryOverhead {
		t.Error("a negative cost counts as none", c.Stats())
	}
}

func TestFlush_TakesEverythingAndGivesTheMemoryBack(t *testing.T) {
	c := newTest(t, Config{MaxCost: 1 << 30})
	for i := range 20_000 {
		fill(c, strconv.Itoa(i), i)
	}
	c.Flush()
	for i := range 20_000 {
		want(t, c, strconv.Itoa(i), Miss, 0)
	}
	fill(c, "new", 1)
	agree(t, c)
	want(t, c, "new", Fresh, 1)
	if st := c.Stats(); st.Entries != 1 {
		t.Errorf("%+v", st)
	}
	buckets := 0
	for i := range c.shards {
		buckets += len(c.shards[i].table.Load().buckets)
	}
	if buckets > shardCount*minBuckets {
		t.Errorf("%d buckets kept for one entry", buckets)
	}
}

func TestFlush_CostsTheSameForAnyNumberOfEntries(t *testing.T) {
	c := newTest(t, Config{MaxCost: 1 << 30})
	for i := range 20_000 {
		fill(c, strconv.Itoa(i), i)
	}
	c.Wait()
	if n := testing.AllocsPerRun(100, c.Flush); n != 0 {
		t.Error(n)
	}
	// It touches no shard: with every one of them locked it still returns, and nothing is served.
	for _, blind := range []bool{false, true} {
		c := newTest(t, Config{without: without{generation: blind}})
		fill(c, "k", 1)
		for i := range c.shards {
			c.shards[i].mu.Lock()
		}
		c.Flush()
		if _, s := c.Get("k"); (s == Miss) == blind {
			t.Errorf("state %d, without the comparison: %v", s, blind)
		}
		for i := range c.shards {
			c.shards[i].mu.Unlock()
		}
	}
}

func TestGet_AllocatesNothing(t *testing.T) {
	c := newTest(t, Config{})
	c.Put("k", c.Stamp("k"), ptr(1), 8, 1<<62, 0)
	c.Put("stale", c.Stamp("stale"), ptr(1), 8, 1, 1<<62)
	for range 100 {
		c.Get("k") // what it tells ristretto at first is not counted here
		c.Get("stale")
	}
	for _, k := range []string{"k", "stale"} {
		if n := testing.AllocsPerRun(1000, func() { c.Get(k) }); n != 0 {
			t.Errorf("%s: %v allocations", k, n)
		}
	}
	if n := testing.AllocsPerRun(1000, func() { c.Stamp("k") }); n != 0 {
		t.Errorf("Stamp: %v allocations", n)
	}
}

func TestLayout_IsThatOfCacheLines(t *testing.T) {
	if size := unsafe.Sizeof(bucket[int]{}); size != 64 {
		t.Error("bucket:", size)
	}
	if size := unsafe.Sizeof(shard[int]{}); size != 128 {
		t.Error("shard:", size)
	}
	if at := unsafe.Offsetof(node[int]{}.v); at != 32 {
		t.Error("the value begins at", at)
	}
}

func TestFull_CostStaysWithinMaxCost(t *testing.T) {
	c := newTest(t, Config{MaxCost: 1 << 20})
	for i := range 50_000 {
		fill(c, "key-"+strconv.Itoa(i), i)
		if used := c.cost.Load(); used > c.maxCost {
			t.Fatalf("%d of %d bytes", used, c.maxCost)
		}
	}
	agree(t, c)
	if st := c.Stats(); st.Evicted == 0 || st.Cost < c.maxCost*9/10 {
		t.Errorf("%+v", st)
	}

	loose := newTest(t, Config{MaxCost: 1 << 20, without: without{room: true}})
	over := false
	for i := range 50_000 {
		fill(loose, "key-"+strconv.Itoa(i), i)
		over = over || loose.cost.Load() > loose.maxCost
	}
	if !over {
		t.Error("nothing to see without the wait")
	}
}

func TestGrow_EntriesThatGrowMakeRoom(t *testing.T) {
	c := newTest(t, Config{MaxCost: 1 << 20})
	for _, cost := range []int64{8, 20_000, 100, 40_000} {
		for i := range 1000 {
			k := strconv.Itoa(i)
			c.Put(k, c.Stamp(k), ptr(i), cost, 0, 0)
			if used := c.cost.Load(); used > c.maxCost+c.maxEntry {
				t.Fatalf("cost %d: %d of %d bytes", cost, used, c.maxCost)
			}
		}
		agree(t, c)
	}
}

func TestBurst_EverythingIsReadableRightAfterPut(t *testing.T) {
	const n = 50_000
	for _, writers := range []int{1, 2, 32} {
		t.Run(fmt.Sprint(writers), func(t *testing.T) {
			c := newTest(t, Config{MaxCost: 1 << 30})
			each(writers, func(w int) {
				for i := w; i < n; i += writers {
					k := strconv.Itoa(i)
					if !fill(c, k, i) {
						t.Errorf("%d refused", i)
						return
					}
					if v, s := c.Get(k); s != Fresh || *v != i {
						t.Errorf("%d: state %d", i, s)
						return
					}
				}
			})
			agree(t, c)
			for i := range n {
				want(t, c, strconv.Itoa(i), Fresh, i)
			}
			for i := range c.shards {
				if s := &c.shards[i]; cap(s.queue) > 64 || cap(s.gone) > 64 {
					t.Fatal("a queue kept its memory")
				}
			}
		})
	}
}
