package guard

import (
	"context"
	"errors"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// Verdict is what the outcome of a call says about the store's health.
type Verdict uint8

// The verdicts.
const (
	Success Verdict = iota // it answered
	Failure                // it did not
	Ignore                 // nothing can be said
)

// Classify is the verdict on an error of a store: answers are a Success, refusals and
// context.Canceled are to be Ignored, and so is what concerns one server of several; anything else
// is a Failure, timeouts included. A server that has no room for a write has answered.
func Classify(err error) Verdict {
	switch {
	case backends.IsAnswer(err), errors.Is(err, backends.ErrFull):
		return Success
	case backends.IsRefusal(err), errors.Is(err, context.Canceled), errors.Is(err, backends.ErrOneServer):
		return Ignore
	}
	return Failure
}

// judge turns the end of a call into an outcome and its cause. ctx is the caller's.
func (g *Guard) judge(ctx context.Context, took time.Duration, err error) (outcome, error) {
	switch g.cfg.Classify(err) {
	case Success:
		if slow := g.cfg.Breaker.SlowCall; slow > 0 && took > slow {
			return failed, errSlow
		}
		return succeeded, nil
	case Ignore:
		return ignored, nil
	}
	if callers := ctx.Err(); callers != nil && !g.countsAgainst(callers, took) {
		return ignored, nil
	}
	if isTimeout(err) {
		return timedOut, err
	}
	return failed, err
}

// countsAgainst reports whether a call without an answer that ended with the caller's context is
// the store's failure. A cancel never is. A deadline is, if the store had a fair chance: a
// quarter of what it may take at most. If all counted, callers with short deadlines would open
// the breaker for everybody; if none did, a dead store would cost callers with deadlines below
// Timeout all of their time, for ever.
func (g *Guard) countsAgainst(callers error, took time.Duration) bool {
	fair := g.cfg.Timeout / 4
	if g.cfg.Timeout < 0 {
		fair = DefaultTimeout / 4
	}
	return errors.Is(callers, context.DeadlineExceeded) && took >= fair
}

// isTimeout reports whether err says that time ran out, the context's or a connection's.
func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
