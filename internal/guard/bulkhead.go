package guard

import (
	"context"
	"time"
)

// takePlace takes a place in the bulkhead and takes the time it waited off p.
func (g *Guard) takePlace(ctx context.Context, p *pass) error {
	if g.places == nil {
		g.inFlight.Add(1)
		return nil
	}
	select {
	case g.places <- struct{}{}:
		return nil
	default:
	}
	wait := g.cfg.MaxWait
	if wait == 0 || wait > p.timeout && p.timeout > 0 {
		wait = p.timeout
	}
	if g.cfg.MaxWait < 0 {
		g.counts.Inc(countBusy)
		return ErrBusy
	}
	var late <-chan time.Time // never, without any limit but ctx
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case g.places <- struct{}{}:
	case <-late:
		g.counts.Inc(countBusy)
		return ErrBusy
	case <-ctx.Done():
		g.counts.Inc(countBusy)
		return ctx.Err()
	}
	now := g.now()
	if p.timeout > 0 {
		p.timeout = max(p.timeout-time.Duration(now-p.began), time.Nanosecond)
	}
	p.began = now
	return nil
}

func (g *Guard) leavePlace() {
	if g.places == nil {
		g.inFlight.Add(-1)
		return
	}
	<-g.places
}
