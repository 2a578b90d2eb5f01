package guard

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var errDown = errors.New("down")

const ms = int64(time.Millisecond)

// machine is a breaker with its time in the test's hand and no jitter.
type machine struct {
	*breaker
	now int64
}

func newMachine(t testing.TB, cfg BreakerConfig) *machine {
	t.Helper()
	full, err := Config{Breaker: cfg}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{breaker: newBreaker(full.Breaker), now: ms}
	m.random = func() float64 { return 0 }
	return m
}

// call sends one call through, if it may pass, and reports whether it did.
func (m *machine) call(o outcome) bool {
	t, ok := m.take(m.now)
	if ok && m.report(t, o, m.now, errDown) {
		m.settle(t, m.now, nil)
	}
	return ok
}

func (m *machine) after(d time.Duration) { m.now += int64(d) }

func TestBreaker_OpensAtTheRatio(t *testing.T) {
	for _, row := range []struct {
		name      string
		good, bad int
		want      State
		why       string
	}{
		{"too few calls", 0, 19, Closed, "below MinCalls a ratio means nothing"},
		{"all bad", 0, 20, Open, "MinCalls reached"},
		{"half bad", 10, 10, Open, "the ratio is inclusive"},
		{"just below half", 11, 10, Closed, "10 of 21"},
		{"all good", 1000, 0, Closed, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t, BreakerConfig{})
			for range row.good {
				m.call(succeeded)
			}
			for range row.bad {
				m.call(failed)
			}
			if got := m.state(); got != row.want {
				t.Errorf("%v, want %v: %s", got, row.want, row.why)
			}
		})
	}
}

func TestBreaker_ForgetsWhatIsOlderThanTheWindow(t *testing.T) {
	m := newMachine(t, BreakerConfig{})
	for range 19 {
		m.call(failed)
	}
	m.after(DefaultWindow)
	m.call(failed)
	if m.state() != Closed {
		t.Error("failures from before the window opened it")
	}
	m.after(DefaultWindow / 2)
	for range 18 {
		m.call(failed)
	}
	if m.state() != Closed {
		t.Fatal("19 within the window opened it")
	}
	m.call(failed)
	if m.state() != Open {
		t.Error("20 within the window, and still closed")
	}
}

func TestBreaker_OpensAfterTimeoutsInARow(t *testing.T) {
	m := newMachine(t, BreakerConfig{})
	for range 4 {
		m.call(timedOut)
	}
	m.call(succeeded)
	for range 4 {
		m.call(timedOut)
	}
	m.call(ignored)
	if m.state() != Closed {
		t.Fatal("open, although a success came between")
	}
	m.call(timedOut)
	if m.state() != Open {
		t.Error("closed after five timeouts in a row")
	}
	off := newMachine(t, BreakerConfig{ConsecutiveTimeouts: -1})
	for range 19 {
		off.call(timedOut)
	}
	if off.state() != Closed {
		t.Error("negative ConsecutiveTimeouts is not off")
	}
}

func TestBreaker_OpenRefusesUntilItsTimeAndDoubles(t *testing.T) {
	m := newMachine(t, BreakerConfig{MinCalls: 1})
	m.call(failed)
	for _, want := range []time.Duration{500, 1000, 2000, 4000, 8000, 16000, 30000, 30000} {
		want *= time.Millisecond
		if got := m.retryIn(m.now); got != want {
			t.Fatalf("open for %v, want %v", got, want)
		}
		m.after(want - 1)
		if m.ready(m.now) || m.call(succeeded) {
			t.Fatalf("a call passed 1 ns early")
		}
		m.after(1)
		if !m.ready(m.now) || !m.call(failed) {
			t.Fatal("no probe when its time was over")
		}
	}
}

func TestBreaker_FlappingGoesOnDoubling(t *testing.T) {
	for _, row := range []struct {
		closedFor, want time.Duration
	}{
		{DefaultWindow - 1, 2 * DefaultOpenFor},
		{DefaultWindow, DefaultOpenFor},
	} {
		m := newMachine(t, BreakerConfig{MinCalls: 1, HalfOpenProbes: 1})
		m.call(failed)
		m.after(DefaultOpenFor)
		m.call(succeeded)
		if m.state() != Closed {
			t.Fatal("not closed")
		}
		m.after(row.closedFor)
		m.call(failed)
		if got := m.retryIn(m.now); got != row.want {
			t.Errorf("closed for %v, then open for %v, want %v", row.closedFor, got, row.want)
		}
	}
}

func TestBreaker_JitterOnlyShortens(t *testing.T) {
	m := newMachine(t, BreakerConfig{MinCalls: 1})
	m.random = func() float64 { return 0.999999 }
	m.call(failed)
	if got := m.retryIn(m.now); got <= DefaultOpenFor*4/5-time.Millisecond || got > DefaultOpenFor*4/5+time.Millisecond {
		t.Errorf("open for %v, want four fifths of %v", got, DefaultOpenFor)
	}
}

func TestBreaker_HalfOpenLetsOnlyProbesThrough(t *testing.T) {
	m := newMachine(t, BreakerConfig{MinCalls: 1, HalfOpenProbes: 3})
	m.call(failed)
	m.after(DefaultOpenFor)
	var probes []ticket
	for range 3 {
		p, ok := m.take(m.now)
		if !ok {
			t.Fatal("no probe")
		}
		probes = append(probes, p)
	}
	if _, ok := m.take(m.now); ok || m.ready(m.now) {
		t.Error("a fourth probe")
	}
	m.report(probes[0], ignored, m.now, nil)
	replacement, ok := m.take(m.now)
	if !ok {
		t.Error("a probe that said nothing keeps its place")
	}
	m.report(probes[1], succeeded, m.now, nil)
	if _, ok := m.take(m.now); ok {
		t.Error("more probes than can be needed")
	}
	m.report(probes[2], succeeded, m.now, nil)
	if m.state() != HalfOpen {
		t.Error("closed after two of three")
	}
	if !m.report(replacement, succeeded, m.now, nil) {
		t.Error("three successes, and it may not close")
	}
	if m.call(succeeded) {
		t.Error("a call passed between the last probe and closing")
	}
	m.settle(replacement, m.now, nil)
	if m.state() != Closed {
		t.Error("not closed")
	}
	m.call(failed) // MinCalls is 1: the window must be empty for this to be 1 of 1
	if m.state() != Open {
		t.Error("not open")
	}
}

func TestBreaker_LateOutcomesOfAnEarlierStateDoNotCount(t *testing.T) {
	m := newMachine(t, BreakerConfig{MinCalls: 1, HalfOpenProbes: 1})
	early, _ := m.take(m.now)
	m.call(failed)
	m.after(DefaultOpenFor)
	probe, _ := m.take(m.now)
	m.report(early, failed, m.now, errDown)
	if m.state() != HalfOpen {
		t.Fatal("a call from before opened it again")
	}
	if m.report(early, succeeded, m.now, nil) {
		t.Fatal("a call from before counted as a probe")
	}
	if m.report(probe, succeeded, m.now, nil) {
		m.settle(probe, m.now, nil)
	}
	m.report(early, failed, m.now, errDown)
	m.report(probe, failed, m.now, errDown)
	if m.state() != Closed {
		t.Error("calls from before opened the closed breaker")
	}
}

func TestBreaker_SettleWithAnErrorOpensAgain(t *testing.T) {
	m := newMachine(t, BreakerConfig{MinCalls: 1, HalfOpenProbes: 1})
	m.call(failed)
	m.after(DefaultOpenFor)
	probe, _ := m.take(m.now)
	if !m.report(probe, succeeded, m.now, nil) {
		t.Fatal("may not close")
	}
	cause := errors.New("outbox is not empty")
	m.settle(probe, m.now, cause)
	if m.state() != Open || m.lastErr != cause || m.retryIn(m.now) != 2*DefaultOpenFor {
		t.Errorf("%v because of %v for %v", m.state(), m.lastErr, m.retryIn(m.now))
	}
	m.settle(probe, m.now, nil)
	if m.state() != Open {
		t.Error("settled twice")
	}
}

// Whatever happens: an open breaker lets nothing pass before its time, a half-open one never
// more than its probes, and it closes only on as many successes.
func TestBreaker_KeepsItsPromisesInAnyOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		probes := rapid.IntRange(1, 4).Draw(rt, "probes")
		m := newMachine(t, BreakerConfig{MinCalls: 3, HalfOpenProbes: probes, MaxOpenFor: 5 * time.Second})
		var held []ticket
		halfOpenHeld, passed := 0, 0
		var gen uint64
		fresh := func() { // a new state starts new counts
			if w := m.word.Load(); w != gen {
				gen, halfOpenHeld, passed = w, 0, 0
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"take": func(rt *rapid.T) {
				before, until := m.state(), m.openUntil.Load()
				tk, ok := m.take(m.now)
				fresh()
				if before == Open && ok != (m.now >= until) {
					rt.Fatalf("open until %d, passed at %d: %t", until, m.now, ok)
				}
				if !ok {
					return
				}
				held = append(held, tk)
				if stateOf(tk.word) == HalfOpen {
					if halfOpenHeld++; halfOpenHeld+passed > probes {
						rt.Fatalf("%d probes at once, %d passed, of %d", halfOpenHeld, passed, probes)
					}
				}
			},
			"report": func(rt *rapid.T) {
				if len(held) == 0 {
					rt.Skip("nothing in progress")
				}
				i := rapid.IntRange(0, len(held)-1).Draw(rt, "which")
				tk := held[i]
				held = append(held[:i], held[i+1:]...)
				o := outcome(rapid.IntRange(0, 3).Draw(rt, "outcome"))
				current := tk.word == m.word.Load()
				if current && stateOf(tk.word) == HalfOpen {
					halfOpenHeld--
					if o == succeeded {
						passed++
					}
				}
				enough := passed >= probes
				mayClose := m.report(tk, o, m.now, errDown)
				if mayClose != (current && stateOf(tk.word) == HalfOpen && o == succeeded && enough) {
					rt.Fatalf("mayClose %t after %d of %d", mayClose, passed, probes)
				}
				if mayClose {
					m.settle(tk, m.now, nil)
					if m.state() != Closed {
						rt.Fatalf("%v after settling", m.state())
					}
				}
				fresh()
			},
			"time passes": func(rt *rapid.T) {
				m.after(time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(rt, "ns")))
			},
		})
	})
}

func TestWindow_SumsTheLastTenBuckets(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWindow(time.Second)
		type event struct{ epoch, good, bad int64 }
		var all []event
		now := int64(0)
		for range rapid.IntRange(1, 200).Draw(rt, "events") {
			now += rapid.Int64Range(0, 400*ms).Draw(rt, "gap")
			e := event{epoch: now / w.length}
			if rapid.Bool().Draw(rt, "good") {
				e.good = 1
				w.at(now).good.Add(1)
			} else {
				e.bad = 1
				w.at(now).bad.Add(1)
			}
			all = append(all, e)
			var good, bad int64
			for _, e := range all {
				if e.epoch > now/w.length-buckets {
					good, bad = good+e.good, bad+e.bad
				}
			}
			if g, b := w.sum(now); g != good || b != bad {
				rt.Fatalf("sum = %d, %d, want %d, %d", g, b, good, bad)
			}
		}
		w.reset()
		if g, b := w.sum(now); g != 0 || b != 0 {
			rt.Fatalf("sum = %d, %d after reset", g, b)
		}
	})
}

func TestState_HasNames(t *testing.T) {
	if got := fmt.Sprint(Closed, Open, HalfOpen); got != "closed open half-open" {
		t.Error(got)
	}
}
