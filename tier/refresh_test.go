package tier

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends/memory"
)

func TestRefresh_StaleRemoteValueIsReplacedWithoutAnL1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, p := newSource("k", "1"), newProbe()
		cfg := over(src, p)
		cfg.Local.Disabled, cfg.Fresh, cfg.TTL = true, time.Second, time.Minute
		c := open(t, cfg)
		for _, step := range []struct{ get, src string }{{"1", "2"}, {"1", "2"}} {
			v, err := c.Get(t.Context(), "k")
			want(t, v, err, step.get)
			src.set("k", step.src)
			time.Sleep(2 * time.Second)
		}
		v, err := c.Get(t.Context(), "k")
		want(t, v, err, "2")
	})
}

func TestLoad_ValueThatNoTierHoldsLeavesNoLeaseBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource("a", strings.Repeat("x", 1000), "b", strings.Repeat("x", 1000))
		cfg := over(src, memory.New(memory.Config{MaxValueBytes: 100}))
		cfg.Local.Disabled, cfg.Loader = true, &manySource{source: src}
		c := open(t, cfg)
		began := time.Now()
		for range 3 {
			if v, err := c.Get(t.Context(), "a"); err != nil || len(v) != 1000 {
				t.Fatalf("got %d bytes, %v", len(v), err)
			}
			if m, err := c.GetMany(t.Context(), []string{"a", "b"}); err != nil || len(m) != 2 {
				t.Fatalf("got %d values, %v", len(m), err)
			}
		}
		if d := time.Since(began); d > 0 {
			t.Errorf("readers have waited %v for a lease that nobody can fill", d)
		}
	})
}

// Without an L1 nothing keeps the stale value between reads; the next attempt is put off all the
// same.
func TestRefresh_FailedOneIsPutOffWithoutAnL1(t *testing.T) {
	for _, soft := range []time.Duration{0, 20 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			src := newSource("k", "1")
			cfg := over(src, newProbe())
			cfg.Local.Disabled, cfg.Fresh, cfg.TTL, cfg.Load.SoftTimeout = true, time.Second, time.Minute, soft
			c := open(t, cfg)
			v, err := c.Get(t.Context(), "k")
			want(t, v, err, "1")
			src.fail(errDown)
			time.Sleep(2 * time.Second)
			for range 50 { // within RetryAfter of the first failure
				v, err := c.Get(t.Context(), "k")
				want(t, v, err, "1")
				time.Sleep(10 * time.Millisecond)
			}
			if n := src.count(); n != 2 {
				t.Errorf("soft timeout %v: %d loads, want 2", soft, n)
			}
			src.fail(nil)
			src.set("k", "2")
			time.Sleep(time.Second)
			_, err = c.Get(t.Context(), "k")
			want(t, "", err, "")
			time.Sleep(time.Second)
			v, err = c.Get(t.Context(), "k")
			want(t, v, err, "2")
		})
	}
}

func TestRefresh_OneProcessOfManyLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loads atomic.Int32
		p := newProbe()
		var caches []*Cache[string]
		for range 8 {
			cfg := over(nil, p)
			cfg.Loader = LoaderFunc[string](func(context.Context, string) (string, error) {
				n := loads.Add(1)
				time.Sleep(20 * time.Millisecond)
				return fmt.Sprint(n), nil
			})
			cfg.Fresh, cfg.TTL, cfg.Local.TTL = time.Second, time.Minute, time.Minute
			caches = append(caches, open(t, cfg))
		}
		for _, c := range caches {
			v, err := c.Get(t.Context(), "k")
			want(t, v, err, "1")
		}
		time.Sleep(1500 * time.Millisecond)
		var wg sync.WaitGroup
		for _, c := range caches {
			wg.Go(func() {
				v, err := c.Get(t.Context(), "k")
				want(t, v, err, "1") // nobody waits
			})
		}
		wg.Wait()
		time.Sleep(300 * time.Millisecond)
		for _, c := range caches {
			if _, err := c.Get(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(300 * time.Millisecond)
		for _, c := range caches {
			v, err := c.Get(t.Context(), "k")
			want(t, v, err, "2")
		}
		if n := loads.Load(); n != 2 {
			t.Errorf("%d loads, want 2", n)
		}
	})
}

func TestRefresh_ReachesEveryTier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, near, far := newSource("k", "1"), newProbe(), newProbe()
		cfg := over(src, near, far)
		cfg.Fresh, cfg.TTL, cfg.Local.TTL = time.Second, time.Minute, time.Minute
		c := open(t, cfg)
		if _, err := c.Get(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		src.set("k", "2")
		time.Sleep(2 * time.Second)
		c.Get(t.Context(), "k")
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
		for _, p := range []*probe{near, far} {
			v, err := open(t, over(nil, p)).Get(t.Context(), "k")
			want(t, v, err, "2")
		}
	})
}

func TestRefresh_InvalidatedMeanwhileIsNotOverwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, p := newSource("k", "1"), newProbe()
		cfg := over(nil, p)
		gate := make(chan struct{})
		cfg.Loader = LoaderFunc[string](func(ctx context.Context, key string) (string, error) {
			v, err := src.Load(ctx, key)
			if src.count() == 2 {
				<-gate
			}
			return v, err
		})
		cfg.Fresh, cfg.TTL, cfg.Local.TTL = time.Second, time.Minute, time.Minute
		c := open(t, cfg)
		c.Get(t.Context(), "k")
		time.Sleep(2 * time.Second)
		c.Get(t.Context(), "k") // starts the refresh, which has read "1"
		synctest.Wait()
		src.set("k", "2")
		if err := c.Invalidate(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		close(gate)
		synctest.Wait()
		v, err := c.Get(t.Context(), "k")
		want(t, v, err, "2")
		v, err = open(t, over(nil, p)).Get(t.Context(), "k")
		want(t, v, err, "2")
	})
}

// entries is an EntryLoader made of a function.
type entries func(ctx context.Context, key string, old Old[string]) (Loaded[string], error)

func (f entries) Load(ctx context.Context, key string) (string, error) {
	l, err := f(ctx, key, Old[string]{})
	return l.Value, err
}

func (f entries) LoadEntry(ctx context.Context, key string, old Old[string]) (Loaded[string], error) {
	return f(ctx, key, old)
}

func TestEntryLoader_NotModifiedKeepsTheValueAndRenewsItsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		cfg := over(nil, newProbe())
		cfg.Loader = entries(func(_ context.Context, _ string, old Old[string]) (Loaded[string], error) {
			if old.OK {
				asked = append(asked, old.Value)
				return Loaded[string]{NotModified: true}, nil
			}
			return Loaded[string]{Value: "v"}, nil
		})
		cfg.Fresh, cfg.TTL, cfg.Local.TTL = time.Second, 3*time.Second, time.Minute
		c := open(t, cfg)
		for range 5 {
			v, err := c.Get(t.Context(), "k")
			want(t, v, err, "v")
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		if len(asked) != 4 || asked[0] != "v" {
			t.Errorf("asked with %q", asked)
		}
	})
}

func TestEntryLoader_DecidesLifetimesPerRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := map[string]int{}
		cfg := over(nil, newProbe())
		cfg.Local.TTL = time.Hour
		cfg.Loader = entries(func(_ context.Context, key string, _ Old[string]) (Loaded[string], error) {
			loads[key]++
			switch key {
			case "short":
				return Loaded[string]{Value: "v", TTL: time.Second}, nil
			case "never":
				return Loaded[string]{Value: "v", NoStore: true}, nil
			}
			return Loaded[string]{Value: "v"}, nil
		})
		c := open(t, cfg)
		for range 3 {
			for _, k := range []string{"short", "never", "plain"} {
				v, err := c.Get(t.Context(), k)
				want(t, v, err, "v")
			}
			time.Sleep(2 * time.Second)
		}
		if got := fmt.Sprint(loads); got != "map[never:3 plain:1 short:3]" {
			t.Errorf("loads %v", got)
		}
	})
}

func TestLoad_FailureIsRememberedOnlyWhenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for ttl, loads := range map[time.Duration]int{0: 3, time.Second: 1} {
			src := newSource()
			src.fail(errDown)
			cfg := over(src, newProbe())
			cfg.Load.ErrorTTL = ttl
			c := open(t, cfg)
			for range 3 {
				_, err := c.Get(t.Context(), "k")
				wantErr(t, err, errDown)
			}
			if src.count() != loads {
				t.Errorf("ErrorTTL %v: %d loads, want %d", ttl, src.count(), loads)
			}
			src.fail(nil)
			src.set("k", "v")
			if err := c.Invalidate(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
			v, err := c.Get(t.Context(), "k")
			want(t, v, err, "v")
		}
	})
}

func TestLoad_SlotsBoundWhatRunsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		cfg := over(nil)
		cfg.Load.MaxConcurrent = 4
		cfg.Loader = LoaderFunc[string](func(context.Context, string) (string, error) {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Millisecond)
			now.Add(-1)
			return "v", nil
		})
		c := open(t, cfg)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				v, err := c.Get(t.Context(), fmt.Sprint(i))
				want(t, v, err, "v")
			})
		}
		wg.Wait()
		if most.Load() != 4 {
			t.Errorf("%d loads at once, want 4", most.Load())
		}
	})
}

func TestEarly_XFetchRefreshesBeforeTheFreshTimeEndsInProportionToTheLoad(t *testing.T) {
	c := open(t, Config[string]{Jitter: -1})
	now := c.clock.Wall()
	early := func(load time.Duration) (mean time.Duration) {
		const n = 20000
		e := &entry[string]{created: now, fresh: now + 100_000, expires: now + 200_000, load: load}
		for range n {
			at := c.earlyAt(e)
			if at > e.fresh || at <= e.created {
				t.Fatalf("due at %d, made %d, stale at %d", at, e.created, e.fresh)
			}
			mean += time.Duration(e.fresh-at) * time.Millisecond / n
		}
		return mean
	}
	// -ln(U) has mean 1: the mean lead is the duration of the load.
	for _, load := range []time.Duration{time.Second, 5 * time.Second} {
		if m := early(load); m < load*9/10 || m > load*11/10 {
			t.Errorf("load of %v: on average %v early", load, m)
		}
	}
	if m := early(0); m != 0 {
		t.Errorf("unknown load: %v early", m)
	}
}

func TestEarly_NobodyWaitsForARefreshThatStartedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loads atomic.Int32
		cfg := over(nil, newProbe())
		cfg.Load.EarlyAt = 0.8
		cfg.TTL, cfg.Local.TTL = 10*time.Second, time.Minute
		cfg.Loader = LoaderFunc[string](func(context.Context, string) (string, error) {
			loads.Add(1)
			time.Sleep(100 * time.Millisecond)
			return "v", nil
		})
		c := open(t, cfg)
		c.Get(t.Context(), "k")
		for range 400 {
			start := time.Now()
			if _, err := c.Get(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d > 0 {
				t.Fatalf("waited %v", d)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := loads.Load(); n < 4 || n > 6 {
			t.Errorf("%d loads in 40 s with refreshes every 8 s", n)
		}
	})
}

func TestRefresh_RecordThatIsGoneIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, p := newSource("k", "1"), newProbe()
		cfg := over(src, p)
		cfg.Fresh, cfg.TTL, cfg.Local.TTL = time.Second, time.Minute, time.Minute
		c := open(t, cfg)
		c.Get(t.Context(), "k")
		src.mu.Lock()
		delete(src.vals, "k")
		src.mu.Unlock()
		time.Sleep(2 * time.Second)
		c.Get(t.Context(), "k")
		synctest.Wait()
		_, err := c.Get(t.Context(), "k")
		wantErr(t, err, ErrMiss)
		if _, err := p.Store.Get(t.Context(), "t:k"); !errors.Is(err, ErrMiss) {
			t.Errorf("the tier still has it: %v", err)
		}
	})
}

func TestLoad_HardTimeoutEndsTheWaitAndTheLoadStillFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := over(nil, newProbe())
		cfg.Load.HardTimeout = 50 * time.Millisecond
		cfg.Loader = LoaderFunc[string](func(context.Context, string) (string, error) {
			time.Sleep(200 * time.Millisecond)
			return "v", nil
		})
		c := open(t, cfg)
		start := time.Now()
		_, err := c.Get(context.Background(), "k")
		wantErr(t, err, ErrLoadTimeout)
		wantErr(t, err, context.DeadlineExceeded)
		_, err = c.GetMany(context.Background(), []string{"l"})
		wantErr(t, err, ErrLoadTimeout)
		if d := time.Since(start); d != 100*time.Millisecond {
			t.Errorf("waited %v, want 50 ms each", d)
		}
		time.Sleep(time.Second)
		for _, k := range []string{"k", "l"} {
			v, err := lookup(t.Context(), c, k)
			want(t, v, err, "v")
		}
	})
}

func TestGet_WaiterIsWokenByTheNewsOfTheFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe()
		la, lb := newLink(), newLink()
		a, b := open(t, linked(la, nil, p)), open(t, linked(lb, nil, p))
		la.up()
		lb.up()
		load := func(context.Context, string) (string, error) {
			time.Sleep(5 * time.Second)
			return "v", nil
		}
		a.cfg.Load.Lease, b.cfg.Load.Lease = time.Minute, time.Minute
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			a.GetOrLoad(t.Context(), "k", load)
			lb.cur.Forget([]string{"t:k"}) // what tracking sees when the fill is stored
		})
		synctest.Wait()
		wg.Go(func() {
			v, err := b.GetOrLoad(t.Context(), "k", load)
			want(t, v, err, "v")
			if late := time.Since(start) - 5*time.Second; late > time.Millisecond {
				t.Errorf("%v late; polling alone is up to 75 ms late by then", late)
			}
		})
		wg.Wait()
	})
}

// A refresh is begun by a reader, never by a timer: when nobody reads a key any more, its source
// and its tiers are left alone.
func TestRefresh_StopsWhenAKeyGoesIdle(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*Config[string])
	}{
		{"fresh time", func(c *Config[string]) { c.Fresh = 2 * time.Second }},
		{"early, by a fraction", func(c *Config[string]) { c.Load.EarlyAt = 0.2 }},
		{"early, by chance", func(c *Config[string]) { c.Load.EarlyBeta = 1000 }},
		{"without an L1", func(c *Config[string]) { c.Fresh, c.Local.Disabled = 2*time.Second, true }},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var loads atomic.Int32
				p := newProbe()
				cfg := over(nil, p)
				cfg.TTL, cfg.Local.TTL = 10*time.Second, time.Minute
				cfg.Loader = LoaderFunc[string](func(context.Context, string) (string, error) {
					loads.Add(1)
					time.Sleep(10 * time.Millisecond)
					return "v", nil
				})
				row.change(&cfg)
				c := open(t, cfg)
				for range 300 { // 30 s in which it is read
					v, err := c.Get(t.Context(), "k")
					want(t, v, err, "v")
					time.Sleep(100 * time.Millisecond)
				}
				if n := c.Stats().Refreshes; n < 3 {
					t.Fatalf("%d refreshes while the key was read: there is nothing that could stop", n)
				}
				time.Sleep(time.Second) // what is under way ends
				n, reads := loads.Load(), p.count("get")
				time.Sleep(time.Hour)
				if loads.Load() != n || p.count("get") != reads {
					t.Errorf("%d loads and %d reads of an idle key", loads.Load()-n, p.count("get")-reads)
				}
				v, err := c.Get(t.Context(), "k")
				want(t, v, err, "v")
				if loads.Load() != n+1 {
					t.Errorf("%d loads by the reader after an hour, want 1", loads.Load()-n)
				}
			})
		})
	}
}
