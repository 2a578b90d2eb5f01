package ristretto

import (
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
)

func TestClose_EndsEverythingAndCanBeCalledAgain(t *testing.T) {
	c := newTest(t, Config{})
	fill(c, "k", 1)
	c.Close()
	c.Close()
	want(t, c, "k", Miss, 0)
	if fill(c, "k", 1) || c.Replace("k", c.Stamp("k"), ptr(1), 8, 0, 0) {
		t.Error("stored after Close")
	}
	c.Invalidate("k")
	c.Flush()
	c.Wait()
	if st := c.Stats(); st.Entries != 0 || st.Cost != 0 || st.Pending != 0 {
		t.Errorf("%+v", st)
	}
}

// Raw ristretto panics in this test in most of the rounds.
func TestClose_BesideEveryMethod(t *testing.T) {
	for range 30 {
		c := newTest(t, Config{MaxCost: 64 << 10})
		var after atomic.Bool
		calls := []func(k string, i int){
			func(k string, _ int) { c.Get(k) },
			func(k string, i int) { fill(c, k, i) },
			func(k string, i int) { c.Replace(k, c.Stamp(k), ptr(i), 8, 0, 0) },
			func(k string, _ int) { c.Invalidate(k) },
			func(k string, _ int) { c.InvalidateMany([]string{k, "1"}) },
			func(string, int) { c.Flush() },
			func(string, int) { c.Stats() },
			func(string, int) { c.Wait() },
			func(string, int) {
				if after.Load() {
					c.Close()
				}
			},
		}
		each(len(calls)+1, func(w int) {
			if w == len(calls) {
				for i := range 300 {
					fill(c, "close"+strconv.Itoa(i), i)
				}
				c.Close()
				after.Store(true)
				if _, s := c.Get("close299"); s != Miss {
					t.Error("a hit after Close")
				}
				return
			}
			for i := range 600 {
				calls[w](strconv.Itoa(i%40), i)
			}
		})
	}
}

func TestClose_WaitsForReadersInsideRistretto(t *testing.T) {
	c := newTest(t, Config{})
	c.alive.RLock() // a reader that is telling ristretto of a hit
	closed := make(chan struct{})
	go func() { c.Close(); close(closed) }()
	for c.alive.TryRLock() { // until Close stands at the gate
		c.alive.RUnlock()
		runtime.Gosched()
	}
	select {
	case <-closed:
		t.Error("closed ristretto under a reader")
	default:
	}
	c.alive.RUnlock()
	<-closed

	c = newTest(t, Config{without: without{gate: true}})
	c.alive.RLock()
	c.Close() // returns: nothing holds it
	c.alive.RUnlock()
}
