package guard

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// State is the state of a breaker.
type State uint8

// The states.
const (
	Closed   State = iota // calls pass
	Open                  // calls are refused until a time
	HalfOpen              // a few calls pass, to find out
)

// String returns "closed", "open" or "half-open".
func (s State) String() string { return [...]string{"closed", "open", "half-open"}[s] }

// breaker decides whether calls may pass, from how earlier ones ended. It is a state machine and
// nothing else: time comes in as an argument, what is to be done about a change goes out as a
// result or an entry in changes.
//
// The states and what is counted follow gobreaker and failsafe-go; by hand, because those cost
// 235 ns and 1.6 us a call.
type breaker struct {
	cfg    BreakerConfig
	random func() float64 // in [0, 1)

	word      atomic.Uint64 // how often the state changed << 2 | State
	openUntil atomic.Int64  // when an open breaker lets a probe through
	probing   atomic.Int32  // half-open: probes in progress or passed; changed under mu
	timeouts  atomic.Int32  // closed: in a row
	window    *window

	mu       sync.Mutex // all changes of state
	passed   int        // half-open: probes that succeeded
	opens    int        // how often it opened without having been closed for a Window
	closedAt int64
	lastErr  error    // of the last failure
	changes  []change // not told yet
	telling  bool

	untold atomic.Bool // changes is not empty, or is being told
}

type change struct {
	from, to State
	cause    error
}

// ticket is the permission for one call. Its outcome counts only for the state it was given in.
type ticket struct {
	word   uint64
	exempt bool // passed beside the breaker, does not count
}

// outcome is how a call ended, as far as the breaker cares.
type outcome uint8

const (
	ignored outcome = iota
	succeeded
	failed
	timedOut // also a failure
)

func newBreaker(cfg BreakerConfig) *breaker {
	return &breaker{cfg: cfg, random: rand.Float64, window: newWindow(cfg.Window)}
}

func stateOf(word uint64) State { return State(word & 3) }

func (b *breaker) state() State { return stateOf(b.word.Load()) }

// ready reports whether take would probably succeed. It changes nothing.
func (b *breaker) ready(now int64) bool {
	switch b.state() {
	case Closed:
		return true
	case Open:
		return now >= b.openUntil.Load()
	}
	return int(b.probing.Load()) < b.cfg.HalfOpenProbes
}

// take lets a call pass, or not. Whoever got a ticket calls report with it, once.
func (b *breaker) take(now int64) (ticket, bool) {
	word := b.word.Load()
	if stateOf(word) == Closed {
		return ticket{word: word}, true
	}
	return b.takeProbe(now)
}

func (b *breaker) takeProbe(now int64) (ticket, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state() {
	case Closed:
		return ticket{word: b.word.Load()}, true
	case Open:
		if now < b.openUntil.Load() {
			return ticket{}, false
		}
		b.become(HalfOpen, nil)
	}
	if int(b.probing.Load()) >= b.cfg.HalfOpenProbes {
		return ticket{}, false
	}
	b.probing.Add(1)
	return ticket{word: b.word.Load()}, true
}

// report tells how the call of t ended. mayClose is true for the one report after which a
// half-open breaker has seen enough: the caller then calls settle with the same ticket.
func (b *breaker) report(t ticket, o outcome, now int64, err error) (mayClose bool) {
	if t.exempt {
		return false
	}
	if stateOf(t.word) == Closed && o == succeeded && b.word.Load() == t.word {
		if b.timeouts.Load() != 0 {
			b.timeouts.Store(0)
		}
		b.window.at(now).good.Add(1)
		return false
	}
	if stateOf(t.word) == Closed && o == ignored {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.word.Load() != t.word {
		return false // it began under another state: old news
	}
	if o == failed || o == timedOut {
		b.lastErr = err
	}
	if stateOf(t.word) == Closed {
		b.countFailure(o, now, err)
		return false
	}
	switch o {
	case ignored:
		b.probing.Add(-1)
	case succeeded:
		b.passed++
		return b.passed >= b.cfg.HalfOpenProbes
	default:
		b.open(now, err)
	}
	return false
}

// countFailure counts a failure of a closed breaker and opens it if that was enough.
func (b *breaker) countFailure(o outcome, now int64, err error) {
	b.window.at(now).bad.Add(1)
	if o == timedOut && b.cfg.ConsecutiveTimeouts > 0 && int(b.timeouts.Add(1)) >= b.cfg.ConsecutiveTimeouts {
		b.open(now, err)
		return
	}
	good, bad := b.window.sum(now)
	if total := good + bad; total >= int64(b.cfg.MinCalls) && float64(bad) >= b.cfg.FailureRatio*float64(total) {
		b.open(now, err)
	}
}

// settle closes the half-open breaker that t belongs to if err is nil, else opens it again.
func (b *breaker) settle(t ticket, now int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.word.Load() != t.word {
		return
	}
	if err != nil {
		b.lastErr = err
		b.open(now, err)
		return
	}
	b.closedAt = now
	b.window.reset()
	b.timeouts.Store(0)
	b.become(Closed, nil)
}

// open opens the breaker, longer each time in a row.
func (b *breaker) open(now int64, cause error) {
	if b.state() == Closed && now-b.closedAt >= int64(b.cfg.Window) {
		b.opens = 0
	}
	d := b.cfg.MaxOpenFor
	if longer := b.cfg.OpenFor << min(b.opens, 30); longer > 0 && longer>>min(b.opens, 30) == b.cfg.OpenFor {
		d = min(d, longer)
	}
	b.opens++
	d -= time.Duration(b.random() * float64(d) / 5)
	b.openUntil.Store(now + int64(d))
	b.become(Open, cause)
}

// become changes the state. mu is held.
func (b *breaker) become(to State, cause error) {
	word := b.word.Load()
	b.passed = 0
	b.probing.Store(0)
	b.word.Store((word>>2+1)<<2 | uint64(to))
	b.changes = append(b.changes, change{stateOf(word), to, cause})
	b.untold.Store(true)
}

// retryIn returns how long an open breaker refuses yet, 0 if it does not.
func (b *breaker) retryIn(now int64) time.Duration {
	if b.state() != Open {
		return 0
	}
	return time.Duration(max(0, b.openUntil.Load()-now))
}
