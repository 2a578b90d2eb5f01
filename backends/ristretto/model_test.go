package ristretto

import (
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hearthcache/hearth/internal/clock"
)

type modelEntry struct {
	v          int
	soft, hard int64
	generation uint32
}

// TestModel_AnyHistoryMatchesAMap uses four epochs, so that the fills of keys are refused for what
// happens to others, and says exactly when.
func TestModel_AnyHistoryMatchesAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		clk := clock.NewFake(time.Unix(0, 0))
		c, err := New[int](Config{Epochs: 4, Clock: clk.Clock})
		if err != nil {
			rt.Fatal(err)
		}
		defer c.Close()
		model := map[string]modelEntry{}
		var epoch [4]uint64
		var writes [4]uint32
		var gen uint32
		slot := func(k string) uint64 { return c.hash(k) >> 24 & c.epochMask }
		now := func(k string) Stamp {
			return Stamp{epoch: epoch[slot(k)], writes: writes[slot(k)], generation: gen}
		}
		stamps := map[string]Stamp{}
		for i := range 16 {
			k := strconv.Itoa(i)
			stamps[k] = c.Stamp(k)
		}
		aKey := rapid.Map(rapid.IntRange(0, 15), strconv.Itoa)
		aTime := rapid.Int64Range(0, 20)
		aCost := rapid.Int64Range(0, 4000)
		next := 0
		deadlines := func() (int64, int64) {
			d := [2]int64{aTime.Draw(rt, "soft"), aTime.Draw(rt, "hard")}
			for i := range d {
				if d[i] > 0 {
					d[i] = clk.Now() + d[i]*int64(time.Millisecond)
				}
			}
			return d[0], d[1]
		}
		rt.Repeat(map[string]func(*rapid.T){
			"stamp": func(rt *rapid.T) {
				k := aKey.Draw(rt, "key")
				if stamps[k] = c.Stamp(k); stamps[k] != now(k) {
					rt.Fatalf("stamp %v, want %v", stamps[k], now(k))
				}
			},
			"put": func(rt *rapid.T) {
				k := aKey.Draw(rt, "key")
				soft, hard := deadlines()
				next++
				ok := c.Put(k, stamps[k], ptr(next), aCost.Draw(rt, "cost"), soft, hard)
				if ok != (stamps[k] == now(k)) {
					rt.Fatalf("Put %v", ok)
				}
				if ok {
					model[k] = modelEntry{next, soft, hard, gen}
				}
			},
			"replace": func(rt *rapid.T) {
				k := aKey.Draw(rt, "key")
				soft, hard := deadlines()
				next++
				ok := c.Replace(k, stamps[k], ptr(next), aCost.Draw(rt, "cost"), soft, hard)
				if ok != (stamps[k] == now(k)) {
					rt.Fatalf("Replace %v", ok)
				}
				if delete(model, k); !ok {
					epoch[slot(k)]++
					return
				}
				writes[slot(k)]++
				model[k] = modelEntry{next, soft, hard, gen}
			},
			"invalidate": func(rt *rapid.T) {
				k := aKey.Draw(rt, "key")
				c.Invalidate(k)
				delete(model, k)
				epoch[slot(k)]++
			},
			"flush": func(rt *rapid.T) { c.Flush(); gen++ },
			"wait":  func(rt *rapid.T) { c.Wait() },
			"tick":  func(rt *rapid.T) { clk.Advance(time.Duration(rapid.IntRange(1, 15).Draw(rt, "ms")) * time.Millisecond) },
			"": func(rt *rapid.T) {
				for i := range 16 {
					k := strconv.Itoa(i)
					e, ok := model[k]
					state := Miss
					if t := clk.Now(); ok && e.generation == gen && (e.hard == 0 || t < e.hard) {
						if state = Fresh; e.soft != 0 && t >= e.soft {
							state = Stale
						}
					}
					want(rt, c, k, state, e.v)
				}
			},
		})
	})
}
