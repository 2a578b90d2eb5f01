package guard

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/internal/counter"
)

// Guard stands before one store. Make one with [New] and pass calls through [Call]. Safe for
// concurrent use.
type Guard struct {
	cfg      Config
	breaker  *breaker // nil = disabled
	places   chan struct{}
	inFlight atomic.Int64 // with places == nil
	counts   *counter.Striped
	start    time.Time

	drains  sync.WaitGroup
	drainMu sync.Mutex
	closed  bool
	drain   context.CancelFunc // ends the BeforeClose in progress

	unraced bool // tests only: trust every call to end with its context
}

// New returns a guard, or what is wrong with cfg.
func New(cfg Config) (*Guard, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	g := &Guard{cfg: cfg, counts: counter.New(numCounts), start: time.Now()}
	if !cfg.Breaker.Disabled {
		g.breaker = newBreaker(cfg.Breaker)
	}
	if cfg.MaxConcurrent > 0 {
		g.places = make(chan struct{}, cfg.MaxConcurrent)
	}
	return g, nil
}

// Close ends a BeforeClose in progress and waits for it; the breaker then stays open. Calls are
// not affected.
func (g *Guard) Close() {
	g.drainMu.Lock()
	g.closed = true
	if g.drain != nil {
		g.drain()
	}
	g.drainMu.Unlock()
	g.drains.Wait()
}

func (g *Guard) now() int64 {
	if g.cfg.Clock != nil {
		return g.cfg.Clock.Now()
	}
	return int64(time.Since(g.start)) + 1
}

// pass is the permission for one call.
type pass struct {
	ticket  ticket
	began   int64
	timeout time.Duration // what is left of it; <= 0 = none
}

// enter asks the breaker and takes a place in the bulkhead.
func (g *Guard) enter(ctx context.Context) (pass, error) {
	if err := ctx.Err(); err != nil {
		return pass{}, err
	}
	p := pass{began: g.now(), timeout: g.cfg.Timeout}
	exempt := false
	if g.breaker != nil && !g.breaker.ready(p.began) {
		if exempt = ctx.Value(exemptKey{}) == g; !exempt {
			g.counts.Inc(countRejected)
			return pass{}, ErrOpen
		}
	}
	if err := g.takePlace(ctx, &p); err != nil {
		return pass{}, err
	}
	if g.breaker == nil {
		return p, nil
	}
	if exempt = exempt || g.breaker.state() != Closed && ctx.Value(exemptKey{}) == g; exempt {
		p.ticket.exempt = true
		return p, nil
	}
	t, ok := g.breaker.take(p.began)
	g.tell()
	if !ok { // it opened while we waited for a place
		g.leavePlace()
		g.counts.Inc(countRejected)
		return pass{}, ErrOpen
	}
	p.ticket = t
	return p, nil
}

// ended reports a call that returned err.
func (g *Guard) ended(ctx context.Context, p pass, err error) {
	o, cause := g.judge(ctx, g.since(p.began), err)
	g.report(p.ticket, o, cause)
}

// report counts the end of a call.
func (g *Guard) report(t ticket, o outcome, err error) {
	g.counts.Inc(countOf[o])
	if g.breaker == nil {
		return
	}
	if g.breaker.report(t, o, g.now(), err) {
		g.finishProbing(t)
	}
	g.tell()
}
