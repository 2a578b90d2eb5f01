package tier

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/internal/faultproxy"
)

// What the fault tests allow. Bounds are generous where they guard against waiting for a second
// timeout, not against a slow machine.
const (
	faultTimeout = 100 * time.Millisecond  // of a call to the tier
	faultOpen    = 100 * time.Millisecond  // pause of the breaker
	faultNoise   = 1500 * time.Millisecond // what a busy machine adds
	faultRecover = 5 * time.Second         // after which a healthy tier must be in use again
	faultPlaces  = 16                      // calls to the tier at a time
)

// busy counts the calls under way in a store, those left behind included.
type busy struct{ now, most atomic.Int64 }

// counted is s with its calls counted.
func counted(s backends.Store) (backends.Store, *busy) {
	f, b := backendtest.NewFaulty(s, 1), &busy{}
	f.Before(func(backendtest.Op, string) {
		n := b.now.Add(1)
		for old := b.most.Load(); n > old && !b.most.CompareAndSwap(old, n); old = b.most.Load() {
		}
	})
	f.After(func(backendtest.Op, string) { b.now.Add(-1) })
	return f, b
}

// shaky is a cache without L1 over a tier that is about to break, and its source. Whatever
// happens to it, the calls to the tier under way at a time stay bounded, and when the cache is
// closed none is left.
func shaky(t *testing.T, s backends.Store, changes ...func(*Config[string])) (*Cache[string], *source) {
	src := newSource()
	for i := range 100 {
		src.set(fmt.Sprint("k", i), fmt.Sprint("v", i))
	}
	s, b := counted(s)
	t.Cleanup(func() {
		if n := b.most.Load(); n == 0 || n > faultPlaces {
			t.Errorf("%d calls to the tier at a time, allowed are %d", n, faultPlaces)
		}
		for deadline := time.Now().Add(faultRecover); b.now.Load() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d calls to the tier never end", b.now.Load())
			}
		}
	})
	cfg := over(src, s)
	cfg.Local.Disabled = true
	cfg.Load.Wait = faultTimeout
	r := &cfg.Remotes[0]
	r.Timeout, r.MaxConcurrent = faultTimeout, faultPlaces
	r.Breaker.OpenFor, r.Breaker.MaxOpenFor = faultOpen, faultOpen
	for _, change := range changes {
		change(&cfg)
	}
	return open(t, cfg), src
}

// answered reads n keys side by side: every one has to be right, within bound.
func answered(t *testing.T, c *Cache[string], n int, bound time.Duration) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			began := time.Now()
			v, err := c.Get(context.Background(), fmt.Sprint("k", i))
			if took := time.Since(began); err != nil || v != fmt.Sprint("v", i) || took > bound {
				t.Errorf("k%d: got %q, %v after %v; the source has v%d and the bound is %v", i, v, err, took, i, bound)
			}
		})
	}
	wg.Wait()
}

// failing asserts that the tier's failure is told from a miss, and from a mistake of the caller,
// and says which tier it was.
func failing(t *testing.T, c *Cache[string]) {
	t.Helper()
	_, err := c.Lookup(context.Background(), "k99")
	var e *backends.Error
	if backends.IsAnswer(err) || backends.IsRefusal(err) || !errors.As(err, &e) || e.Store != "a" {
		t.Errorf("a look at a failing tier: %v, want a failure of a, which is no miss", err)
	}
}

// named waits until Health says why the tier fails: a busy machine may be late before it hears.
func named(t *testing.T, c *Cache[string], why string) {
	t.Helper()
	for deadline := time.Now().Add(faultRecover); ; {
		h := c.Health().Remotes[0]
		if h.LastErr != nil && strings.Contains(h.LastErr.Error(), why) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("health %+v does not name %q", h, why)
		}
		answered(t, c, 1, faultNoise)
	}
}

// recovered waits until the tier answers by itself again, and its breaker is closed.
func recovered(t *testing.T, c *Cache[string]) {
	t.Helper()
	ctx, began := context.Background(), time.Now()
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		_, _ = c.Get(ctx, "k0")
		e, err := c.Lookup(ctx, "k0")
		if err == nil && e.Value == "v0" && c.Health().Remotes[0].Breaker == "closed" {
			tick.Stop()
			return
		}
		if time.Since(began) > faultRecover {
			t.Fatalf("not in use again after %v: %v, health %+v", faultRecover, err, c.Health())
		}
	}
}

// Every row: a reader is answered by the source within two timeouts (the read, the lease); a
// failure is no miss; calls left behind are bounded; the tier is in use again once it is well.
func TestFault_NetworkNeverFailsARead(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		fault faultproxy.Fault
		reset bool // open connections are reset when the fault begins
		quick bool // it shows at once, not by a timeout
	}{
		{name: "latency above the timeout", fault: faultproxy.Fault{Down: faultproxy.Flow{Latency: 3 * faultTimeout, Jitter: faultTimeout}}},
		{name: "black hole", fault: faultproxy.Fault{Up: faultproxy.Flow{Stall: true}, Down: faultproxy.Flow{Stall: true}}},
		{name: "replies vanish", fault: faultproxy.Fault{Down: faultproxy.Flow{Stall: true}}},
		{name: "reset in mid-reply", fault: faultproxy.Fault{Down: faultproxy.Flow{CutAfter: 3}}, reset: true, quick: true},
		{name: "slow drip", fault: faultproxy.Fault{Down: faultproxy.Flow{Slice: 1, BytesPerSecond: 10}}},
		{name: "half-open", fault: faultproxy.Fault{Down: faultproxy.Flow{Shut: true}}, quick: true},
		{name: "refused", fault: faultproxy.Fault{Refuse: true}, reset: true, quick: true},
	} {
		for _, kind := range bothKinds {
			t.Run(row.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				w := throughProxy(t, kind)
				c, _ := shaky(t, w)
				answered(t, c, 10, faultNoise)
				w.proxy.Set(row.fault)
				if row.reset {
					w.proxy.ResetAll()
				}
				bound := 3*faultTimeout + faultNoise
				if row.quick {
					bound = faultNoise
				}
				answered(t, c, 90, bound)
				failing(t, c)
				w.proxy.Clear()
				recovered(t, c)
			})
		}
	}
}

func TestFault_OpenBreakerCostsReadersNothing(t *testing.T) {
	t.Parallel()
	w := throughProxy(t, "redis")
	c, _ := shaky(t, w, func(cfg *Config[string]) {
		cfg.Remotes[0].Breaker.OpenFor, cfg.Remotes[0].Breaker.MaxOpenFor = time.Minute, time.Minute
	})
	w.proxy.Set(faultproxy.Fault{Up: faultproxy.Flow{Stall: true}})
	for deadline := time.Now().Add(faultRecover); c.Health().Remotes[0].Breaker != "open"; {
		answered(t, c, 8, 3*faultTimeout+faultNoise)
		if time.Now().After(deadline) {
			t.Fatal("the breaker does not open on a black hole")
		}
	}
	if h := c.Health().Remotes[0]; h.LastErr == nil || h.RetryIn <= 0 {
		t.Errorf("health %+v does not say what is wrong and when it is tried again", h)
	}
	_, err := c.levels[0].get(context.Background(), "k1")
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("a call through the open breaker: %v", err)
	}
}

func TestFault_RepliesInSingleBytesAreRead(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := patiently(t, kind)
			w.proxy.Set(faultproxy.Fault{Up: faultproxy.Flow{Slice: 1}, Down: faultproxy.Flow{Slice: 1}})
			c, src := shaky(t, w, func(cfg *Config[string]) { cfg.Remotes[0].Timeout, cfg.Load.Wait = patience, patience })
			answered(t, c, 5, patience)
			loads := src.count()
			answered(t, c, 5, patience)
			if src.count() != loads {
				t.Error("what was filled through a link of single bytes was not found again")
			}
		})
	}
}

func TestFault_FlippedBitsNeverBecomeAValue(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := throughProxy(t, kind)
			c, _ := shaky(t, w)
			answered(t, c, 90, faultNoise)
			for every := int64(5); every < 60; every += 6 {
				w.proxy.Set(faultproxy.Fault{Down: faultproxy.Flow{FlipEvery: every}})
				answered(t, c, 20, 3*faultTimeout+faultNoise)
			}
			w.proxy.Clear()
			w.proxy.ResetAll()
			recovered(t, c)
			answered(t, c, 90, 3*faultTimeout+faultNoise)
		})
	}
}
