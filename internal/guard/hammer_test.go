package guard

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// Under any mix of calls: changes of state are told in an unbroken chain, every call is counted
// exactly once, every place is given back, and what was refused did not run.
func TestGuard_AddsUpUnderLoad(t *testing.T) {
	var (
		chain      = []State{Closed}
		telling    atomic.Int32
		down       atomic.Bool
		calls, ran atomic.Int64
		wg         sync.WaitGroup
	)
	g := newGuard(t, Config{
		Timeout: 2 * time.Millisecond, MaxConcurrent: 6, MaxWait: 100 * time.Microsecond,
		Breaker: BreakerConfig{Window: 20 * time.Millisecond, OpenFor: time.Millisecond, MaxOpenFor: 2 * time.Millisecond},
		OnStateChange: func(from, to State, _ error) {
			if telling.Add(1) != 1 {
				t.Error("two changes are told at once")
			}
			if last := chain[len(chain)-1]; last != from || from == to {
				t.Errorf("told %v > %v after %v", from, to, last)
			}
			chain = append(chain, to)
			telling.Add(-1)
		},
		BeforeClose: func(context.Context) error {
			if rand.IntN(3) == 0 {
				return errDown
			}
			return nil
		},
	})
	end := time.Now().Add(500 * time.Millisecond)
	for range 16 {
		wg.Go(func() {
			for time.Now().Before(end) {
				if rand.IntN(200) == 0 {
					down.Store(rand.IntN(2) == 0)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rand.IntN(4))*time.Millisecond)
				if rand.IntN(20) == 0 {
					go cancel()
				}
				_, err := Call(ctx, g, rand.IntN(2) == 0, func(ctx context.Context) (int, error) {
					ran.Add(1)
					if rand.IntN(50) == 0 {
						time.Sleep(3 * time.Millisecond)
					}
					if down.Load() {
						return 0, errDown
					}
					return 0, backends.ErrMiss
				})
				cancel()
				calls.Add(1)
				if err == nil {
					t.Error("an answer nobody gave")
				}
			}
		})
	}
	wg.Wait()
	for g.InFlight() > 0 { // calls that were left behind
		time.Sleep(time.Millisecond)
	}
	g.Close()
	s := g.Stats()
	if judged := s.Successes + s.Failures + s.Ignored; judged != ran.Load() {
		t.Errorf("%d calls ran, %d were judged: %+v", ran.Load(), judged, s)
	}
	if refused := calls.Load() - ran.Load(); s.Rejected+s.Busy > refused {
		t.Errorf("%d calls did not run, %d were counted as refused", refused, s.Rejected+s.Busy)
	}
	if len(chain) < 10 || chain[len(chain)-1] != s.State {
		t.Errorf("%d changes told, the last to %v; the state is %v", len(chain), chain[len(chain)-1], s.State)
	}
}

func TestOnStateChange_PanicLeavesTheGuardUsable(t *testing.T) {
	var told []State
	g := newGuard(t, Config{Breaker: BreakerConfig{MinCalls: 1}, OnStateChange: func(_, to State, _ error) {
		if told = append(told, to); len(told) == 1 {
			panic("boom")
		}
	}})
	func() {
		defer func() {
			if recover() != "boom" {
				t.Error("the panic is gone")
			}
		}()
		_, _ = Call(context.Background(), g, true, fails)
	}()
	if g.InFlight() != 0 {
		t.Error("its place is gone")
	}
	if _, err := Call(context.Background(), g, true, answer); !errors.Is(err, ErrOpen) {
		t.Errorf("got %v", err)
	}
}
