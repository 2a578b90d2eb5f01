package guard

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/internal/flight"
)

// Call runs fn under the guard and returns what it returns. fn's context ends with ctx and at
// the guard's Timeout, whichever is first.
//
// Call itself returns by then too, with an [*AbandonedError] if fn has not: fn then runs on, and
// what it returns is dropped. prompt promises that fn returns by the deadline of its context on
// its own (cancelling may go unnoticed). If ctx cannot be cancelled a prompt fn needs no race,
// and runs in the caller's goroutine; all others cost a goroutine, some microseconds.
//
// [ErrOpen] and [ErrBusy] mean that fn did not run. A panic of fn is a [*flight.PanicError].
func Call[T any](ctx context.Context, g *Guard, prompt bool, fn func(context.Context) (T, error)) (T, error) {
	p, err := g.enter(ctx)
	if err != nil {
		var zero T
		return zero, err
	}
	if prompt && ctx.Done() == nil || g.unraced {
		return inline(ctx, g, p, fn)
	}
	return raced(ctx, g, p, fn)
}

// Inline is [Call] for a fn that returns by the end of its context on its own, cancel included, or
// for a caller that is nobody's and can wait for the deadline: fn always runs in the caller's
// goroutine, which is some microseconds cheaper.
func Inline[T any](ctx context.Context, g *Guard, fn func(context.Context) (T, error)) (T, error) {
	p, err := g.enter(ctx)
	if err != nil {
		var zero T
		return zero, err
	}
	return inline(ctx, g, p, fn)
}

// Do is [Call] for a call that returns nothing but an error.
func (g *Guard) Do(ctx context.Context, prompt bool, fn func(context.Context) error) error {
	_, err := Call(ctx, g, prompt, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
	return err
}

func inline[T any](ctx context.Context, g *Guard, p pass, fn func(context.Context) (T, error)) (v T, err error) {
	limited := ctx
	if p.timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, p.timeout)
		defer cancel()
	}
	err = flight.ErrGoexit
	defer g.leavePlace() // after the report, so that whoever waits for it finds the breaker open
	defer func() {
		if r := recover(); r != nil {
			err = flight.NewPanicError(r)
		}
		g.ended(ctx, p, err)
	}()
	return fn(limited)
}

// race is what the caller and the goroutine of a raced call share.
type race[T any] struct {
	result  chan result[T]
	settled atomic.Bool // the outcome has been reported
}

type result[T any] struct {
	v   T
	err error
}

func raced[T any](ctx context.Context, g *Guard, p pass, fn func(context.Context) (T, error)) (T, error) {
	limited, cancel := p.limit(ctx)
	r := &race[T]{result: make(chan result[T], 1)}
	go func() {
		defer cancel()
		out := result[T]{err: flight.ErrGoexit}
		defer func() {
			if v := recover(); v != nil {
				out.err = flight.NewPanicError(v)
			}
			if r.settled.CompareAndSwap(false, true) {
				g.ended(ctx, p, out.err)
			}
			g.leavePlace()
			r.result <- out
		}()
		out.v, out.err = fn(limited)
	}()
	select {
	case out := <-r.result:
		return out.v, out.err
	case <-limited.Done():
	}
	if !r.settled.CompareAndSwap(false, true) { // it has just returned
		out := <-r.result
		return out.v, out.err
	}
	var zero T
	return zero, g.abandon(ctx, p)
}

// abandon reports a call that the caller leaves behind, and returns the caller's error.
func (g *Guard) abandon(ctx context.Context, p pass) error {
	g.counts.Inc(countAbandoned)
	err := &AbandonedError{Name: g.cfg.Name, Err: ctx.Err()}
	if err.Err == nil {
		err.Err, err.Timeout = context.DeadlineExceeded, g.cfg.Timeout
	}
	o := ignored
	if err.Timeout > 0 || g.countsAgainst(err.Err, g.since(p.began)) {
		o = timedOut
	}
	g.report(p.ticket, o, err)
	return err
}

// limit returns ctx with what is left of the guard's timeout.
func (p pass) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, p.timeout)
}

func (g *Guard) since(began int64) time.Duration { return time.Duration(g.now() - began) }
