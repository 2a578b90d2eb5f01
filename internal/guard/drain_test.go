package guard

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/internal/flight"
)

// open returns a guard whose breaker is open and whose next call is its only probe.
func open(t *testing.T, beforeClose func(context.Context) error) *Guard {
	t.Helper()
	g := newGuard(t, Config{Breaker: BreakerConfig{MinCalls: 1, HalfOpenProbes: 1}, BeforeClose: beforeClose, DrainTimeout: time.Minute})
	_, _ = Call(t.Context(), g, true, fails)
	time.Sleep(DefaultOpenFor)
	return g
}

func TestBeforeClose_ComesBeforeTheFirstCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var g *Guard
		g = open(t, func(ctx context.Context) error {
			<-release
			return g.Do(ctx, true, func(context.Context) error { return nil }) // what was undelivered
		})
		if _, err := Call(t.Context(), g, true, answer); err != nil {
			t.Fatalf("the probe got %v", err)
		}
		synctest.Wait()
		if _, err := Call(t.Context(), g, true, answer); err != ErrOpen || g.State() != HalfOpen {
			t.Errorf("%v, %v while draining", err, g.State())
		}
		close(release)
		synctest.Wait()
		if _, err := Call(t.Context(), g, true, answer); err != nil || g.State() != Closed {
			t.Errorf("%v, %v when drained", err, g.State())
		}
	})
}

func TestBeforeClose_FailingKeepsItOpen(t *testing.T) {
	errLeft := errors.New("three keys undelivered")
	for _, row := range []struct {
		name  string
		drain func(context.Context) error
		ok    func(error) bool
	}{
		{"error", func(context.Context) error { return errLeft }, func(err error) bool { return err == errLeft }},
		{"panic", func(context.Context) error { panic("boom") }, func(err error) bool {
			_, ok := errors.AsType[*flight.PanicError](err)
			return ok
		}},
		{"no end", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, func(err error) bool {
			return err == context.DeadlineExceeded
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := open(t, row.drain)
				_, _ = Call(t.Context(), g, true, answer)
				time.Sleep(time.Minute)
				synctest.Wait()
				if g.State() != Open || !row.ok(g.LastError()) {
					t.Errorf("%v because of %v", g.State(), g.LastError())
				}
			})
		})
	}
}

func TestClose_EndsADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := open(t, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		_, _ = Call(t.Context(), g, true, answer)
		start := time.Now()
		g.Close()
		g.Close()
		if time.Since(start) != 0 || g.State() != Open {
			t.Errorf("%v after %v", g.State(), time.Since(start))
		}
		time.Sleep(time.Hour)
		_, _ = Call(t.Context(), g, true, answer)
		synctest.Wait()
		if g.State() != Open {
			t.Error("closed, although nothing may be drained any more")
		}
	})
}
