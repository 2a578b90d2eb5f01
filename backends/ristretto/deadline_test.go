package ristretto

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/internal/clock"
)

func TestGet_FreshThenStaleThenGone(t *testing.T) {
	const h = int64(time.Hour)
	rows := []struct {
		name, why   string
		soft, hard  int64
		stale, gone int64 // first moment; 0 = never
	}{
		{"both", "the usual entry", 10, 30, 10, 30},
		{"hard only", "no soft limit: fresh until it is gone", 0, 30, 0, 30},
		{"soft only", "kept until evicted", 10, 0, 10, 0},
		{"none", "kept until evicted, always fresh", 0, 0, 0, 0},
		{"soft after hard", "the hard limit wins", 50, 30, 0, 30},
		{"far apart", "the distance is kept in seconds", 10, 10 + 300*24*h/1e6, 10, 10 + 300*24*h/1e6},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			clk := clock.NewFake(time.Unix(0, 0))
			c := newTest(t, Config{Clock: clk.Clock})
			ms := func(n int64) int64 { return n * int64(time.Millisecond) }
			c.Put("k", c.Stamp("k"), ptr(1), 8, ms(r.soft), ms(r.hard))
			last := int64(1)
			for _, at := range []int64{r.stale, r.gone} {
				if at == 0 {
					continue
				}
				clk.Set(ms(at) - 1)
				state := Fresh
				if r.stale != 0 && at > r.stale {
					state = Stale
				}
				want(t, c, "k", state, 1)
				clk.Set(ms(at))
				if at == r.gone {
					want(t, c, "k", Miss, 0)
				} else {
					want(t, c, "k", Stale, 1)
				}
				last = at
			}
			if r.gone == 0 {
				clk.Set(ms(last) + 1000*h)
				state := Fresh
				if r.stale != 0 {
					state = Stale
				}
				want(t, c, "k", state, 1)
			}
		})
	}
}

func TestSweep_ExpiredEntriesNobodyAsksForAreGoneIn32Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clk := clock.New()
		defer clk.Stop()
		c, err := New[int](Config{Clock: clk})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		hard := clk.Now() + int64(time.Minute)
		for i := range 1000 {
			k := strconv.Itoa(i)
			c.Put(k, c.Stamp(k), ptr(i), 8, 0, hard)
		}
		fill(c, "stays", 1)
		time.Sleep(50 * time.Second)
		c.Wait()
		if n := c.Stats().Entries; n != 1001 {
			t.Errorf("%d entries before the deadline", n)
		}
		time.Sleep(45 * time.Second)
		agree(t, c)
		if n := c.Stats().Entries; n != 1 {
			t.Errorf("%d entries 35 s after the deadline", n)
		}
		want(t, c, "stays", Fresh, 1)
	})
}
