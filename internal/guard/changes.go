package guard

import (
	"context"

	"github.com/hearthcache/hearth/internal/flight"
)

// finishProbing closes the breaker, after BeforeClose.
func (g *Guard) finishProbing(t ticket) {
	if g.cfg.BeforeClose == nil {
		g.breaker.settle(t, g.now(), nil)
		return
	}
	g.drainMu.Lock()
	defer g.drainMu.Unlock()
	if g.closed {
		g.breaker.settle(t, g.now(), ErrOpen)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), exemptKey{}, g), g.cfg.DrainTimeout)
	g.drain = cancel
	g.drains.Go(func() {
		defer cancel()
		err := flight.ErrGoexit
		defer func() {
			if p := recover(); p != nil {
				err = flight.NewPanicError(p)
			}
			g.breaker.settle(t, g.now(), err)
			g.tell()
		}()
		err = g.cfg.BeforeClose(ctx)
	})
}

// exemptKey marks the context of BeforeClose with its guard: its calls pass the breaker.
type exemptKey struct{}

// tell reports changes of state in the order in which they happened, outside the breaker's lock.
// Whoever finds somebody else at it leaves it to them.
func (g *Guard) tell() {
	b := g.breaker
	if !b.untold.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.telling {
		return
	}
	b.telling = true
	defer func() { b.telling = false }()
	for len(b.changes) > 0 {
		c := b.changes[0]
		b.changes = b.changes[1:]
		g.tellOne(c)
	}
	b.untold.Store(false)
}

// tellOne calls OnStateChange without the breaker's lock, which is held before and after.
func (g *Guard) tellOne(c change) {
	if g.cfg.OnStateChange == nil {
		return
	}
	g.breaker.mu.Unlock()
	defer g.breaker.mu.Lock()
	g.cfg.OnStateChange(c.from, c.to, c.cause)
}
