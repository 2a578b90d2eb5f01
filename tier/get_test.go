package tier

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/fence"
)

func TestGet_LoadsOnceThenAnswersFromL1(t *testing.T) {
	src, p := newSource("k", "v"), newProbe()
	c := open(t, over(src, p))
	for range 3 {
		v, err := c.Get(t.Context(), "k")
		want(t, v, err, "v")
	}
	if src.count() != 1 || p.count("get") != 1 {
		t.Errorf("%d loads, %d remote reads; want 1, 1", src.count(), p.count("get"))
	}
	if s := c.Stats(); s.L1Hits != 2 || s.Loads != 1 || s.Remotes[0].Fills != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestGet_AnotherProcessFindsWhatOneLoaded(t *testing.T) {
	src, p := newSource("k", "v"), newProbe()
	a, b := open(t, over(src, p)), open(t, over(src, p))
	for _, c := range []*Cache[string]{a, b} {
		v, err := c.Get(t.Context(), "k")
		want(t, v, err, "v")
	}
	if src.count() != 1 {
		t.Errorf("%d loads, want 1", src.count())
	}
}

func TestGet_WithoutLoaderMissesAndAFailureIsNoMiss(t *testing.T) {
	p := newProbe()
	c := open(t, over(nil, p))
	_, err := c.Get(t.Context(), "k")
	wantErr(t, err, ErrMiss)
	p.down(errDown)
	_, err = c.Get(t.Context(), "k")
	wantErr(t, err, errDown)
	var e *backends.Error
	if errors.Is(err, ErrMiss) || !errors.As(err, &e) || e.Op != "get" || e.Store != "a" || e.Key != "k" {
		t.Errorf("error %v does not name operation, tier and key, or is a miss", err)
	}
}

func TestGet_DeadTierIsPassedOver(t *testing.T) {
	src, near, far := newSource("k", "v"), newProbe(), newProbe()
	c := open(t, over(src, near, far))
	near.down(errDown)
	v, err := c.Get(t.Context(), "k")
	want(t, v, err, "v")
	far.down(errDown)
	v, err = c.GetOrLoad(t.Context(), "l", func(context.Context, string) (string, error) { return "w", nil })
	want(t, v, err, "w")
}

func TestGet_RecordThatDoesNotExistIsRememberedForNegativeTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, p := newSource(), newProbe()
		cfg := over(src, p)
		cfg.NegativeTTL = time.Second
		c := open(t, cfg)
		for range 3 {
			_, err := c.Get(t.Context(), "k")
			wantErr(t, err, ErrMiss)
		}
		if src.count() != 1 {
			t.Errorf("%d loads within NegativeTTL, want 1", src.count())
		}
		time.Sleep(1100 * time.Millisecond)
		src.set("k", "v")
		v, err := c.Get(t.Context(), "k")
		want(t, v, err, "v")
	})
}

func TestGet_ManyCallersShareOneLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, over(nil, newProbe()))
		var loads atomic.Int32
		load := func(context.Context, string) (string, error) {
			loads.Add(1)
			time.Sleep(50 * time.Millisecond)
			return "v", nil
		}
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				v, err := c.GetOrLoad(t.Context(), "k", load)
				want(t, v, err, "v")
			})
		}
		wg.Wait()
		if loads.Load() != 1 {
			t.Errorf("%d loads, want 1", loads.Load())
		}
	})
}

func TestGet_CallersOfTwoProcessesShareOneLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe()
		a, b := open(t, over(nil, p)), open(t, over(nil, p))
		var loads atomic.Int32
		load := func(context.Context, string) (string, error) {
			loads.Add(1)
			time.Sleep(50 * time.Millisecond)
			return "v", nil
		}
		start := time.Now()
		var wg sync.WaitGroup
		for _, c := range []*Cache[string]{a, b} {
			for range 100 {
				wg.Go(func() {
					v, err := c.GetOrLoad(t.Context(), "k", load)
					want(t, v, err, "v")
				})
			}
		}
		wg.Wait()
		if loads.Load() != 1 {
			t.Errorf("%d loads, want 1", loads.Load())
		}
		if late := time.Since(start) - 50*time.Millisecond; late > 5*time.Millisecond {
			t.Errorf("the last caller was %v later than the loader", late)
		}
	})
}

func TestGet_CallerLeavesAtItsOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, over(nil, newProbe()))
		load := func(ctx context.Context, _ string) (string, error) {
			time.Sleep(time.Second)
			return "v", ctx.Err()
		}
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { // the leader, with the shortest patience
			start := time.Now()
			_, err := c.GetOrLoad(short, "k", load)
			wantErr(t, err, context.DeadlineExceeded)
			if d := time.Since(start); d > 20*time.Millisecond {
				t.Errorf("returned after %v", d)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			v, err := c.GetOrLoad(t.Context(), "k", load)
			want(t, v, err, "v")
		})
		wg.Wait()
	})
}

func TestGet_PanicOfTheLoaderIsAnErrorForEverybody(t *testing.T) {
	c := open(t, over(nil, newProbe()))
	_, err := c.GetOrLoad(t.Context(), "k", func(context.Context, string) (string, error) { panic("boom") })
	var p *PanicError
	if !errors.As(err, &p) || p.Value != "boom" || len(p.Stack) == 0 {
		t.Fatalf("got %v", err)
	}
	v, err := c.GetOrLoad(t.Context(), "k", func(context.Context, string) (string, error) { return "v", nil })
	want(t, v, err, "v") // at once: the lease was given back
}

func TestGet_StaleValueIsServedWhileOneRefreshRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, p := newSource("k", "1"), newProbe()
		cfg := over(src, p)
		cfg.Fresh, cfg.TTL, cfg.Local.TTL = time.Second, time.Minute, time.Minute
		c := open(t, cfg)
		v, err := c.Get(t.Context(), "k")
		want(t, v, err, "1")
		src.set("k", "2")
		time.Sleep(2 * time.Second)
		v, err = c.Get(t.Context(), "k")
		want(t, v, err, "1")
		synctest.Wait()
		v, err = c.Get(t.Context(), "k")
		want(t, v, err, "2")
		if src.count() != 2 {
			t.Errorf("%d loads, want 2", src.count())
		}
		other := open(t, cfg)
		v, err = other.Get(t.Context(), "k")
		want(t, v, err, "2") // the refresh reached the remote tier
	})
}

func TestGet_StaleValueStandsInForAFailingSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, p := newSource("k", "1"), newProbe()
		cfg := over(src, p)
		cfg.Fresh, cfg.TTL, cfg.Local.TTL = time.Second, time.Minute, time.Minute
		c := open(t, cfg)
		_, err := c.Get(t.Context(), "k")
		want(t, "", err, "")
		src.fail(errors.New("database is down"))
		time.Sleep(2 * time.Second)
		for range 50 { // within RetryAfter of the first failure: one attempt
			v, err := c.Get(t.Context(), "k")
			want(t, v, err, "1")
			time.Sleep(10 * time.Millisecond)
		}
		if n := src.count(); n != 2 {
			t.Errorf("%d loads, want 2: the next attempt is put off", n)
		}
		time.Sleep(time.Minute)
		if _, err := c.Get(t.Context(), "k"); err == nil {
			t.Error("a value past its TTL was served")
		}
	})
}

func TestGet_SoftTimeoutWaitsForTheRefreshAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var delay atomic.Int64
		n := 0
		cfg := over(nil, newProbe())
		cfg.Loader = LoaderFunc[string](func(context.Context, string) (string, error) {
			time.Sleep(time.Duration(delay.Load()))
			n++
			return strings.Repeat("x", n), nil
		})
		cfg.Fresh, cfg.TTL, cfg.Local.TTL, cfg.Load.SoftTimeout = time.Second, time.Hour, time.Hour, 20*time.Millisecond
		c := open(t, cfg)
		v, err := c.Get(t.Context(), "k")
		want(t, v, err, "x")
		time.Sleep(2 * time.Second)
		delay.Store(int64(10 * time.Millisecond))
		v, err = c.Get(t.Context(), "k")
		want(t, v, err, "xx") // quick enough
		time.Sleep(2 * time.Second)
		delay.Store(int64(time.Second))
		start := time.Now()
		v, err = c.Get(t.Context(), "k")
		want(t, v, err, "xx")
		if d := time.Since(start); d != 20*time.Millisecond {
			t.Errorf("waited %v, want 20ms", d)
		}
		time.Sleep(1500 * time.Millisecond)
		v, err = lookup(t.Context(), c, "k")
		want(t, v, err, "xxx") // it went on behind
	})
}

// lookup is the value of Lookup.
func lookup[V any](ctx context.Context, c *Cache[V], key string) (V, error) {
	e, err := c.Lookup(ctx, key)
	return e.Value, err
}

// raceLoad runs Get with a loader that is held up while the record changes and is invalidated,
// and returns what a later reader of another process and of this one get.
func raceLoad(t *testing.T) (remote, local string) {
	p := newProbe()
	src := newSource("k", "old")
	loading, goOn := make(chan struct{}), make(chan struct{})
	cfg := over(nil, p)
	cfg.Loader = LoaderFunc[string](func(ctx context.Context, key string) (string, error) {
		v, err := src.Load(ctx, key)
		if v == "old" {
			close(loading)
			<-goOn
		}
		return v, err
	})
	c := open(t, cfg)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Get(context.Background(), "k")
	}()
	<-loading
	src.set("k", "new")
	if err := c.Invalidate(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	<-done
	local, _ = c.Get(t.Context(), "k")
	remote, _ = open(t, over(src, p)).Get(t.Context(), "k")
	return remote, local
}

func TestGet_LoadFromBeforeAnInvalidationIsNotStored(t *testing.T) {
	if remote, local := raceLoad(t); remote != "new" || local != "new" {
		t.Errorf("later readers got %q from the remote tier and %q in this process", remote, local)
	}
}

func TestGet_WithoutTheLeaseTheOldLoadIsStored(t *testing.T) {
	defer fence.Remove(fence.Lease)()
	if remote, _ := raceLoad(t); remote != "old" {
		t.Errorf("got %q: this test cannot see the race", remote)
	}
}

func TestGet_WithoutTheEpochTheOldLoadIsInL1(t *testing.T) {
	defer fence.Remove(fence.Epoch)()
	if _, local := raceLoad(t); local != "old" {
		t.Errorf("got %q: this test cannot see the race", local)
	}
}

// raceJoin reads a key after its invalidation while a load from before is still under way.
func raceJoin(t *testing.T) string {
	src := newSource("k", "old")
	loading, goOn := make(chan struct{}), make(chan struct{})
	cfg := over(nil)
	cfg.Loader = LoaderFunc[string](func(ctx context.Context, key string) (string, error) {
		v, err := src.Load(ctx, key)
		if v == "old" {
			close(loading)
			<-goOn
		}
		return v, err
	})
	c := open(t, cfg)
	first := make(chan struct{})
	go func() {
		defer close(first)
		c.Get(context.Background(), "k")
	}()
	<-loading
	src.set("k", "new")
	if err := c.Invalidate(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		v, _ := c.Get(context.Background(), "k")
		got <- v
	}()
	var v string
	select {
	case v = <-got:
		close(goOn)
	case <-time.After(50 * time.Millisecond): // it has joined the old flight: let that end
		close(goOn)
		v = <-got
	}
	<-first
	return v
}

func TestGet_DoesNotJoinALoadFromBeforeAnInvalidation(t *testing.T) {
	if v := raceJoin(t); v != "new" {
		t.Errorf("got %q", v)
	}
}

func TestGet_WithoutForgettingFlightsTheOldLoadIsJoined(t *testing.T) {
	defer fence.Remove(fence.Flight)()
	if v := raceJoin(t); v != "old" {
		t.Errorf("got %q: this test cannot see the race", v)
	}
}

func TestGet_HitAllocatesNothing(t *testing.T) {
	c := open(t, over(newSource("k", "v"), newProbe()))
	ctx := t.Context()
	if _, err := c.Get(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { c.Get(ctx, "k") }); n != 0 {
		t.Errorf("%v allocations a hit", n)
	}
	memo := Memoize(c, func(s string) string { return s }, func(context.Context, string) (string, error) { return "v", nil })
	if n := testing.AllocsPerRun(1000, func() { memo(ctx, "k") }); n != 0 {
		t.Errorf("%v allocations a memoized hit", n)
	}
}
