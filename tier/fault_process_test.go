package tier

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// A process that is stopped for longer than its lease comes back with an old value.
func TestFault_ProcessPausedBeyondItsLeaseFillsNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := throughProxy(t, "redis")
	src := newSource("k", "old")
	cfg := over(nil, w)
	cfg.Local.Disabled, cfg.Load.Lease = true, 50*time.Millisecond
	paused, other := open(t, cfg), open(t, cfg)
	loading, goOn := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		v, err := paused.GetOrLoad(ctx, "k", func(ctx context.Context, key string) (string, error) {
			v, err := src.Load(ctx, key)
			close(loading)
			<-goOn
			return v, err
		})
		if err != nil || v != "old" {
			t.Errorf("the paused reader got %q, %v", v, err)
		}
	})
	<-loading
	src.set("k", "new")
	if err := other.Invalidate(ctx, "k"); err != nil {
		t.Error(err)
	}
	v, err := other.GetOrLoad(ctx, "k", src.Load)
	want(t, v, err, "new")
	close(goOn)
	wg.Wait()
	v, err = other.GetOrLoad(ctx, "k", src.Load)
	want(t, v, err, "new")
	if s := paused.Stats().Remotes[0]; s.FillsLost != 1 || s.Fills != 0 {
		t.Errorf("the late fill was not refused: %+v", s)
	}
}

func TestFault_LoaderThatPanicsGivesItsLeaseBack(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			c, src := shaky(t, throughProxy(t, kind))
			_, err := c.GetOrLoad(ctx, "k1", func(context.Context, string) (string, error) { panic("boom") })
			var p *PanicError
			if !errors.As(err, &p) {
				t.Fatalf("got %v, want a PanicError", err)
			}
			v, err := c.GetOrLoad(ctx, "k1", src.Load)
			want(t, v, err, "v1")
			if n := c.Stats().LeaseWaits; n != 0 {
				t.Errorf("waited %d times for a lease that nobody holds", n)
			}
			failed := errors.New("source down")
			_, err = c.GetOrLoad(ctx, "k2", func(context.Context, string) (string, error) { return "", failed })
			wantErr(t, err, failed)
			v, err = c.GetOrLoad(ctx, "k2", src.Load)
			want(t, v, err, "v2")
		})
	}
}

func TestFault_HungLoaderHoldsNobodyBeyondItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := over(nil, newProbe())
		cfg.Load.Timeout = time.Second
		c := open(t, cfg)
		free := make(chan struct{})
		hang := func(context.Context, string) (string, error) { <-free; return "late", nil }
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.GetOrLoad(context.Background(), "k", hang)
			wantErr(t, err, context.DeadlineExceeded)
			if took := time.Since(began); took != time.Second {
				t.Errorf("waited %v for a load of at most a second", took)
			}
		})
		wg.Go(func() { // its own deadline is sooner
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			_, err := c.GetOrLoad(ctx, "k", hang)
			wantErr(t, err, context.DeadlineExceeded)
			if took := time.Since(began); took != 100*time.Millisecond {
				t.Errorf("waited %v with a deadline of 100 ms", took)
			}
		})
		wg.Wait()
		close(free)
	})
}

func TestFault_CancelledLeaderLeavesTheLoadToTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, over(nil, newProbe()))
		free := make(chan struct{})
		load := func(ctx context.Context, _ string) (string, error) {
			select {
			case <-free:
				return "v", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		leader, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.GetOrLoad(leader, "k", load)
			wantErr(t, err, context.Canceled)
		})
		synctest.Wait()
		for range 10 {
			wg.Go(func() {
				v, err := c.GetOrLoad(context.Background(), "k", load)
				want(t, v, err, "v")
			})
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(free)
		wg.Wait()
		if n := c.Stats().Loads; n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
	})
}

// Another machine's clock is an hour off.
func TestFault_ClocksThatDifferNeitherKeepNorLoseValuesForLong(t *testing.T) {
	const hour = int64(time.Hour / time.Millisecond)
	for _, row := range []struct {
		name    string
		ahead   int64
		present bool
		why     string
	}{
		{"an hour ahead", hour, true, "it lives as long from first sight as it was meant to"},
		{"an hour behind", -hour, true, "the server says that it lives"},
		{"a second ahead", 1000, true, "that is no news"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src, p := newSource("k", "loaded"), newProbe()
				cfg := over(src, p)
				cfg.TTL, cfg.Local.TTL = time.Minute, time.Hour
				c := open(t, cfg)
				e := c.newEntry("stored", false, lifetime{ttl: time.Minute, fresh: time.Minute}, 0, 0, fromLoader)
				e.created, e.expires = e.created+row.ahead, e.expires+row.ahead
				frame, err := c.encode("k", e, 0)
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Store.Set(t.Context(), "t:k", backends.Item{Value: frame, TTL: time.Minute}); err != nil {
					t.Fatal(err)
				}
				v, err := c.Get(t.Context(), "k")
				if got := v == "stored"; err != nil || got != row.present {
					t.Errorf("got %q, %v: %s", v, err, row.why)
				}
				time.Sleep(time.Minute + 2*time.Second)
				v, err = c.Get(t.Context(), "k")
				want(t, v, err, "loaded") // by then it is gone, whoever's clock counts
			})
		})
	}
}
