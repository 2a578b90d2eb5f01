package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/clock"
	"github.com/hearthcache/hearth/internal/flight"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newGuard(t testing.TB, cfg Config) *Guard {
	t.Helper()
	cfg.Name = "redis"
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if g.breaker != nil {
		g.breaker.random = func() float64 { return 0 }
	}
	t.Cleanup(g.Close)
	return g
}

// prompt returns at its deadline and does not notice a cancel, as a network client does.
func prompt(ctx context.Context) (int, error) {
	at, ok := ctx.Deadline()
	if !ok {
		select {}
	}
	time.Sleep(time.Until(at))
	return 0, os.ErrDeadlineExceeded
}

// deaf looks at nothing for a second.
func deaf(context.Context) (int, error) {
	time.Sleep(time.Second)
	return 1, nil
}

func answer(context.Context) (int, error) { return 42, nil }

func fails(context.Context) (int, error) { return 0, errDown }

func TestCall_ReturnsWhatTheStoreSays(t *testing.T) {
	cancellable, cancel := context.WithCancel(context.Background())
	defer cancel()
	for name, ctx := range map[string]context.Context{"inline": context.Background(), "raced": cancellable} {
		g := newGuard(t, Config{})
		if v, err := Call(ctx, g, true, answer); v != 42 || err != nil {
			t.Errorf("%s: %d, %v", name, v, err)
		}
		if _, err := Call(ctx, g, true, fails); err != errDown {
			t.Errorf("%s: %v, want the very error", name, err)
		}
		if err := g.Do(ctx, false, func(context.Context) error { return backends.ErrMiss }); err != backends.ErrMiss {
			t.Errorf("%s: %v, want the very miss", name, err)
		}
		if s := g.Stats(); s.Successes != 2 || s.Failures != 1 || s.InFlight != 0 || s.LastError != errDown {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestCall_ReturnsWithinTheCallersContext(t *testing.T) {
	for _, fn := range []struct {
		name string
		run  func(context.Context) (int, error)
	}{{"prompt", prompt}, {"deaf", deaf}} {
		t.Run(fn.name+"/cancel", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGuard(t, Config{Timeout: 2 * time.Second})
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(50*time.Millisecond, cancel)
				start := time.Now()
				_, err := Call(ctx, g, fn.name == "prompt", fn.run)
				if d := time.Since(start); d != 50*time.Millisecond || !errors.Is(err, context.Canceled) {
					t.Errorf("%v after %v", err, d)
				}
				if s := g.Stats(); s.Ignored != 1 || s.Abandoned != 1 || s.InFlight != 1 {
					t.Errorf("%+v", s)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if s := g.Stats(); s.Ignored != 1 || s.Failures+s.Successes != 0 || s.InFlight != 0 {
					t.Errorf("after its end: %+v", s)
				}
			})
		})
		t.Run(fn.name+"/deadline", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGuard(t, Config{})
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				start := time.Now()
				_, err := Call(ctx, g, fn.name == "prompt", fn.run)
				if d := time.Since(start); d != 50*time.Millisecond || !isTimeout(err) {
					t.Errorf("%v after %v", err, d)
				}
				time.Sleep(time.Second)
			})
		})
	}
}

// Without the race a call ends when the client pleases: the test above can see that.
func TestCall_RaceIsWhatReturnsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, Config{})
		g.unraced = true
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, _ = Call(ctx, g, false, deaf)
		if d := time.Since(start); d != time.Second {
			t.Errorf("returned after %v without the race", d)
		}
	})
}

func TestCall_TimeoutOfTheGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, Config{})
		start := time.Now()
		_, err := Call(t.Context(), g, false, deaf)
		if d := time.Since(start); d != DefaultTimeout {
			t.Errorf("after %v", d)
		}
		abandoned, ok := errors.AsType[*AbandonedError](err)
		if !ok || abandoned.Timeout != DefaultTimeout || err.Error() != "cache: no answer from redis within 250ms" {
			t.Errorf("got %v", err)
		}
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, backends.ErrUnknown) || errors.Is(err, backends.ErrUnavailable) {
			t.Errorf("%v is of the wrong kind: it may have been carried out", err)
		}
		if s := g.Stats(); s.Timeouts != 1 || s.Failures != 1 || s.LastError != err {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Second)
	})
}

func TestCall_PromptWithoutCancelRunsInTheCallersGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, Config{})
		_, err := Call(context.Background(), g, true, func(ctx context.Context) (int, error) {
			if !strings.Contains(string(debug.Stack()), "TestCall_PromptWithoutCancel") {
				t.Error("a goroutine was started")
			}
			return prompt(ctx)
		})
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if s := g.Stats(); s.Timeouts != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestCall_EndedContextIsNotSent(t *testing.T) {
	g := newGuard(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Call(ctx, g, true, func(context.Context) (int, error) { t.Error("sent"); return 0, nil }); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

// A server that swallows everything: callers are gone after Timeout, then after nothing, and
// never are there more goroutines than places.
func TestCall_BlackHoleHoldsBoundedGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places = 20
		g := newGuard(t, Config{MaxConcurrent: places, MaxWait: -1})
		if n := blackHole(t, g); n != places {
			t.Errorf("%d goroutines were left behind, want every place taken and no more", n)
		}
		if s := g.Stats(); s.State != Open || s.Busy == 0 || s.Rejected == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// The same without the bulkhead and the breaker, to see that each does its part.
func TestCall_BlackHoleWithoutBoundsTakesAllItGets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if n := blackHole(t, newGuard(t, Config{MaxConcurrent: -1, Breaker: BreakerConfig{Disabled: true}})); n != 5000 {
			t.Errorf("without both: %d goroutines", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		if n := blackHole(t, newGuard(t, Config{MaxConcurrent: -1})); n < 100 || n > 110 {
			t.Errorf("with the breaker alone: %d goroutines, want the first 100 calls and some probes", n)
		}
	})
}

// blackHole sends 50 times 100 calls into a server that never answers and returns how many
// goroutines were left behind at most.
func blackHole(t *testing.T, g *Guard) int64 {
	t.Helper()
	release := make(chan struct{})
	var running atomic.Int64
	hole := func(context.Context) (int, error) {
		running.Add(1)
		defer running.Add(-1)
		<-release
		return 0, errDown
	}
	for range 50 {
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				start := time.Now()
				_, err := Call(t.Context(), g, false, hole)
				if err == nil || time.Since(start) > DefaultTimeout {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		}
		wg.Wait()
	}
	synctest.Wait()
	n := running.Load() // nobody has come back yet: this is the most
	if int(n) != g.InFlight() {
		t.Errorf("%d goroutines, %d in flight", n, g.InFlight())
	}
	close(release)
	synctest.Wait()
	if g.InFlight() != 0 {
		t.Errorf("%d places are not given back", g.InFlight())
	}
	return n
}

func TestBulkhead_WaitsWithinTheTimeout(t *testing.T) {
	for _, row := range []struct {
		name    string
		maxWait time.Duration
		freed   time.Duration // when the place is given back
		want    error
		after   time.Duration
	}{
		{"freed in time", 0, 100, nil, 100},
		{"freed too late", 0, 900, ErrBusy, 250},
		{"own limit", 30, 100, ErrBusy, 30},
		{"no wait", -1, 100, ErrBusy, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wait := row.maxWait
				if wait > 0 {
					wait *= time.Millisecond
				}
				g := newGuard(t, Config{MaxConcurrent: 1, MaxWait: wait})
				g.places <- struct{}{}
				time.AfterFunc(row.freed*time.Millisecond, g.leavePlace)
				start := time.Now()
				_, err := Call(t.Context(), g, true, func(ctx context.Context) (int, error) {
					if at, _ := ctx.Deadline(); at.Sub(start) != DefaultTimeout {
						t.Errorf("the wait is not part of the timeout: %v", at.Sub(start))
					}
					return 1, nil
				})
				if !errors.Is(err, row.want) || time.Since(start) != row.after*time.Millisecond {
					t.Errorf("%v after %v", err, time.Since(start))
				}
				if err != nil && !errors.Is(err, backends.ErrUnavailable) {
					t.Errorf("%v is not ErrUnavailable", err)
				}
				if s := g.Stats(); s.Failures != 0 {
					t.Errorf("a full bulkhead counts against the store: %+v", s)
				}
				time.Sleep(time.Second)
			})
		})
	}
}

func TestBulkhead_WaitEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, Config{MaxConcurrent: 1, Timeout: -1})
		g.places <- struct{}{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if _, err := Call(ctx, g, true, answer); err != context.DeadlineExceeded || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestBulkhead_WaitersFindTheBreakerOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, Config{MaxConcurrent: 1, Breaker: BreakerConfig{MinCalls: 1}})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = Call(t.Context(), g, true, func(context.Context) (int, error) {
				time.Sleep(time.Millisecond)
				return 0, errDown
			})
		})
		synctest.Wait()
		wg.Go(func() {
			if _, err := Call(t.Context(), g, true, answer); err != ErrOpen {
				t.Errorf("got %v", err)
			}
		})
		wg.Wait()
		if g.InFlight() != 0 {
			t.Error("the refused call keeps its place")
		}
	})
}

func TestBulkhead_CanBeUnlimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, Config{MaxConcurrent: -1, Timeout: -1})
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() { _, _ = Call(t.Context(), g, false, deaf) })
		}
		synctest.Wait()
		if g.InFlight() != 1000 {
			t.Errorf("%d in flight", g.InFlight())
		}
		wg.Wait()
		if g.InFlight() != 0 {
			t.Errorf("%d in flight at the end", g.InFlight())
		}
	})
}

func TestCall_PanicAndGoexitAreErrors(t *testing.T) {
	cancellable, cancel := context.WithCancel(context.Background())
	defer cancel()
	for name, ctx := range map[string]context.Context{"inline": context.Background(), "raced": cancellable} {
		g := newGuard(t, Config{})
		_, err := Call(ctx, g, true, func(context.Context) (int, error) { panic("boom") })
		if p, ok := errors.AsType[*flight.PanicError](err); !ok || p.Value != "boom" {
			t.Errorf("%s: %v", name, err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, err = Call(ctx, g, true, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
			if err != flight.ErrGoexit { // inline, this goroutine is gone
				t.Errorf("%s: %v", name, err)
			}
		}()
		<-done
		if s := g.Stats(); s.Failures != 2 || s.InFlight != 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestJudge_KnowsWhatSpeaksAgainstTheStore(t *testing.T) {
	background := context.Background()
	canceled, cancel := context.WithCancel(background)
	cancel()
	expired, cancel := context.WithTimeout(background, 0)
	defer cancel()
	fair, short := DefaultTimeout/4, DefaultTimeout/4-1
	for _, row := range []struct {
		name string
		ctx  context.Context
		took time.Duration
		err  error
		want outcome
		why  string
	}{
		{"value", background, 0, nil, succeeded, ""},
		{"miss", background, 0, backends.ErrMiss, succeeded, "an answer"},
		{"leased", background, 0, backends.ErrLeased, succeeded, "a kind of miss"},
		{"held off", background, 0, backends.ErrHeldOff, succeeded, "a kind of miss"},
		{"exists", background, 0, backends.ErrExists, succeeded, "an answer"},
		{"conflict", background, 0, backends.ErrConflict, succeeded, "an answer"},
		{"lease lost", background, 0, backends.ErrLeaseLost, succeeded, "an answer"},
		{"older", background, 0, fmt.Errorf("set: %w", backends.ErrOlder), succeeded, "an answer, wrapped"},
		{"wrong type", background, 0, backends.ErrWrongType, succeeded, "the server is fine"},
		{"empty key", background, 0, backends.ErrEmptyKey, ignored, "nothing was sent"},
		{"out of memory", background, 0, backends.ErrFull, succeeded, "it refuses writes and answers reads"},
		{"one server of several", background, 0, backends.ErrOneServer, ignored, "the others may be fine"},
		{"too large", background, 0, backends.ErrTooLarge, ignored, "nothing was sent"},
		{"unsupported", background, 0, backends.ErrUnsupported, ignored, "nothing was sent"},
		{"closed", background, 0, backends.ErrClosed, ignored, "our own end"},
		{"canceled", background, 0, context.Canceled, ignored, "somebody gave up"},
		{"down", background, 0, errDown, failed, ""},
		{"unavailable", background, 0, backends.ErrUnavailable, failed, ""},
		{"unknown", background, 0, backends.ErrUnknown, failed, "the answer was lost"},
		{"deadline", background, 0, context.DeadlineExceeded, timedOut, ""},
		{"i/o timeout", background, 0, fmt.Errorf("read: %w", os.ErrDeadlineExceeded), timedOut, ""},
		{"error after a cancel", canceled, time.Hour, errDown, ignored, "the cancel may be the cause"},
		{"answer after a cancel", canceled, 0, backends.ErrMiss, succeeded, "an answer is an answer"},
		{"caller's short deadline", expired, short, context.DeadlineExceeded, ignored, "the store had no chance"},
		{"caller's fair deadline", expired, fair, context.DeadlineExceeded, timedOut, "it had one"},
	} {
		g := newGuard(t, Config{})
		if got, _ := g.judge(row.ctx, row.took, row.err); got != row.want {
			t.Errorf("%s: outcome %d, want %d: %s", row.name, got, row.want, row.why)
		}
	}
}

func TestCall_ShortDeadlinesDoNotOpenTheBreaker(t *testing.T) {
	for _, row := range []struct {
		deadline time.Duration
		want     State
	}{{10 * time.Millisecond, Closed}, {100 * time.Millisecond, Open}} {
		synctest.Test(t, func(t *testing.T) {
			g := newGuard(t, Config{})
			for range 5 {
				ctx, cancel := context.WithTimeout(t.Context(), row.deadline)
				_, _ = Call(ctx, g, false, deaf)
				cancel()
			}
			if g.State() != row.want {
				t.Errorf("callers with %v each: %v, want %v", row.deadline, g.State(), row.want)
			}
			time.Sleep(2 * time.Second)
		})
	}
}

func TestCall_SlowAnswersCanCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, Config{Breaker: BreakerConfig{MinCalls: 2, SlowCall: 10 * time.Millisecond}})
		for range 2 {
			_, err := Call(t.Context(), g, true, func(context.Context) (int, error) {
				time.Sleep(11 * time.Millisecond)
				return 0, backends.ErrMiss
			})
			if err != backends.ErrMiss {
				t.Errorf("got %v", err)
			}
		}
		if g.State() != Open || g.LastError() != errSlow {
			t.Errorf("%v because of %v", g.State(), g.LastError())
		}
	})
}

func TestGuard_RecoversByProbesAndTellsEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		var g *Guard
		g = newGuard(t, Config{OnStateChange: func(from, to State, cause error) {
			told = append(told, fmt.Sprint(from, ">", to, " ", cause))
			g.Stats() // callbacks may ask
		}})
		for range 5 {
			_, _ = Call(t.Context(), g, false, prompt)
		}
		if _, err := Call(t.Context(), g, true, answer); err != ErrOpen || !errors.Is(err, backends.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		if g.Ready() || g.RetryIn() != DefaultOpenFor {
			t.Errorf("ready %t, retry in %v", g.Ready(), g.RetryIn())
		}
		time.Sleep(DefaultOpenFor)
		if !g.Ready() || g.State() != Open {
			t.Errorf("ready %t, %v", g.Ready(), g.State())
		}
		_, _ = Call(t.Context(), g, true, fails)
		time.Sleep(2 * DefaultOpenFor)
		for range DefaultHalfOpenProbes {
			if _, err := Call(t.Context(), g, true, answer); err != nil {
				t.Errorf("a probe got %v", err)
			}
		}
		want := []string{
			"closed>open cache: no answer from redis within 250ms", "open>half-open <nil>",
			"half-open>open down", "open>half-open <nil>", "half-open>closed <nil>",
		}
		for i := range told {
			told[i] = strings.ReplaceAll(told[i], "i/o timeout", "cache: no answer from redis within 250ms")
		}
		if fmt.Sprint(told) != fmt.Sprint(want) {
			t.Errorf("told\n%q, want\n%q", told, want)
		}
	})
}

func TestGuard_AbandonedProbeGivesItsPlaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, Config{Breaker: BreakerConfig{MinCalls: 1, HalfOpenProbes: 1}})
		_, _ = Call(t.Context(), g, true, fails)
		time.Sleep(DefaultOpenFor)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		_, _ = Call(ctx, g, false, deaf)
		if _, err := Call(t.Context(), g, true, answer); err != nil || g.State() != Closed {
			t.Errorf("%v, %v after a probe that was cancelled", err, g.State())
		}
		time.Sleep(2 * time.Second)
	})
}

func TestGuard_DisabledBreakerNeverOpens(t *testing.T) {
	g := newGuard(t, Config{Breaker: BreakerConfig{Disabled: true}})
	for range 100 {
		if _, err := Call(t.Context(), g, true, fails); err != errDown {
			t.Fatalf("got %v", err)
		}
	}
	if g.State() != Closed || !g.Ready() || g.RetryIn() != 0 || g.LastError() != nil {
		t.Errorf("%+v", g.Stats())
	}
}

func TestCall_AllocationsOnTheRefusingPath(t *testing.T) {
	g := newGuard(t, Config{Breaker: BreakerConfig{MinCalls: 1, OpenFor: time.Hour}})
	_, _ = Call(t.Context(), g, true, fails)
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := Call(ctx, g, false, answer); err != ErrOpen {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("an open breaker costs %v allocations", n)
	}
	untimed := newGuard(t, Config{Timeout: -1})
	if n := testing.AllocsPerRun(1000, func() { _, _ = Call(context.Background(), untimed, true, answer) }); n != 0 {
		t.Errorf("an untimed call in the caller's goroutine costs %v allocations", n)
	}
}

func TestGuard_WorksOnACoarseClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clk := clock.New()
		defer clk.Stop()
		g := newGuard(t, Config{Clock: clk, Breaker: BreakerConfig{MinCalls: 1, HalfOpenProbes: 1}})
		_, _ = Call(t.Context(), g, true, fails)
		time.Sleep(DefaultOpenFor - 2*clock.Tick)
		if _, err := Call(t.Context(), g, true, answer); err != ErrOpen {
			t.Errorf("got %v", err)
		}
		time.Sleep(4 * clock.Tick)
		if _, err := Call(t.Context(), g, true, answer); err != nil || g.State() != Closed {
			t.Errorf("%v, %v", err, g.State())
		}
	})
}

func TestNew_RefusesWhatMakesNoSense(t *testing.T) {
	for _, row := range []struct {
		name string
		cfg  Config
	}{
		{"DrainTimeout", Config{DrainTimeout: -1}},
		{"Window", Config{Breaker: BreakerConfig{Window: -1}}},
		{"MinCalls", Config{Breaker: BreakerConfig{MinCalls: -1}}},
		{"FailureRatio", Config{Breaker: BreakerConfig{FailureRatio: 1.5}}},
		{"OpenFor", Config{Breaker: BreakerConfig{OpenFor: -1}}},
		{"MaxOpenFor", Config{Breaker: BreakerConfig{OpenFor: time.Second, MaxOpenFor: time.Millisecond}}},
		{"HalfOpenProbes", Config{Breaker: BreakerConfig{HalfOpenProbes: -1}}},
		{"SlowCall", Config{Breaker: BreakerConfig{SlowCall: time.Second}}},
	} {
		if _, err := New(row.cfg); err == nil || !strings.Contains(err.Error(), row.name) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	if _, err := New(Config{Breaker: BreakerConfig{OpenFor: time.Hour}}); err != nil {
		t.Errorf("a long OpenFor alone: %v", err)
	}
}
