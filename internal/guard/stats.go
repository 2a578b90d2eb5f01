package guard

import "time"

const (
	countIgnored = iota // in the order of outcome
	countSucceeded
	countFailed
	countTimedOut
	countRejected
	countBusy
	countAbandoned
	numCounts
)

var countOf = [...]int{ignored: countIgnored, succeeded: countSucceeded, failed: countFailed, timedOut: countTimedOut}

// Stats is what a guard has seen since New, and how it stands now.
type Stats struct {
	Successes int64 // the store answered
	Failures  int64 // it did not, timeouts included
	Timeouts  int64 // it did not in time
	Ignored   int64 // calls that say nothing about the store
	Rejected  int64 // calls refused with ErrOpen
	Busy      int64 // calls that got no place in the bulkhead
	Abandoned int64 // calls left behind by their caller
	InFlight  int   // calls in progress, abandoned ones included

	State     State
	RetryIn   time.Duration // open: until a call may try again
	LastError error         // the last failure; nil = none so far
}

// Stats returns a snapshot; its numbers may be some calls apart.
func (g *Guard) Stats() Stats {
	s := Stats{
		Successes: g.counts.Load(countSucceeded),
		Timeouts:  g.counts.Load(countTimedOut),
		Ignored:   g.counts.Load(countIgnored),
		Rejected:  g.counts.Load(countRejected),
		Busy:      g.counts.Load(countBusy),
		Abandoned: g.counts.Load(countAbandoned),
		InFlight:  g.InFlight(),
		State:     g.State(),
		RetryIn:   g.RetryIn(),
		LastError: g.LastError(),
	}
	s.Failures = g.counts.Load(countFailed) + s.Timeouts
	return s
}

// State returns the breaker's state; [Closed] if it is disabled. An open breaker whose time is
// over stays [Open] until a call tries.
func (g *Guard) State() State {
	if g.breaker == nil {
		return Closed
	}
	return g.breaker.state()
}

// Ready reports whether a call made now would be let through by the breaker.
func (g *Guard) Ready() bool { return g.breaker == nil || g.breaker.ready(g.now()) }

// RetryIn returns how long an open breaker refuses calls yet; 0 if it lets one try.
func (g *Guard) RetryIn() time.Duration {
	if g.breaker == nil {
		return 0
	}
	return g.breaker.retryIn(g.now())
}

// LastError returns the last failure the breaker counted; nil if there was none or the breaker
// is disabled.
func (g *Guard) LastError() error {
	if g.breaker == nil {
		return nil
	}
	g.breaker.mu.Lock()
	defer g.breaker.mu.Unlock()
	return g.breaker.lastErr
}

// InFlight returns how many calls are in progress, abandoned ones included.
func (g *Guard) InFlight() int {
	if g.places != nil {
		return len(g.places)
	}
	return int(g.inFlight.Load())
}
