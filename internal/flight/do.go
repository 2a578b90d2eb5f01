package flight

import (
	"context"
	"fmt"
	"time"
)

// Do returns what fn returns for key, running it only if no call for key is in progress. shared
// tells that it was somebody else's call. ctx bounds how long this caller waits, not the work:
// fn gets a context with ctx's values that ends after timeout (0 = never) or when everybody who
// waited has left (unless KeepGoing). Work that does not return although its time is over holds
// nobody up: a quarter of timeout later everybody gets an error that is
// [context.DeadlineExceeded], and the key is free again.
//
// fn runs in a goroutine of its own, or in the caller's if ctx can never end.
func (g *Group[T]) Do(ctx context.Context, key string, timeout time.Duration, fn func(context.Context) (T, error)) (v T, shared bool, err error) {
	if err := ctx.Err(); err != nil {
		return v, false, err // its work would be cancelled at once, for followers too
	}
	c, leader := g.Join(key)
	if !leader {
		v, err = c.Wait(ctx)
		return v, true, err
	}
	work, cancel := limit(ctx, timeout)
	if ctx.Done() == nil {
		c.work(work, cancel, timeout, fn)
	} else {
		c.OnAbandon(cancel)
		go c.work(work, cancel, timeout, fn)
	}
	v, err = c.Wait(ctx)
	return v, false, err
}

// limit returns the context of the work: ctx without its end, but with one after timeout.
func limit(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	switch {
	case timeout > 0:
		return context.WithTimeout(context.WithoutCancel(ctx), timeout)
	case ctx.Done() == nil: // the leader works itself and cannot leave: nobody will cancel
		return ctx, func() {}
	}
	return context.WithCancel(context.WithoutCancel(ctx))
}

// work runs fn and finishes c, come what may.
func (c *Call[T]) work(ctx context.Context, cancel context.CancelFunc, timeout time.Duration, fn func(context.Context) (T, error)) {
	defer cancel()
	var v T
	err := ErrGoexit
	defer func() {
		if p := recover(); p != nil {
			err = NewPanicError(p)
		}
		c.Settle(v, err)
	}()
	if timeout > 0 {
		defer c.giveUpAfter(timeout).Stop()
	}
	v, err = fn(ctx)
}

// giveUpAfter finishes c with a timeout if its work ignores the end of its context. The quarter
// is for work that does not: its own error, or what it falls back on, is better.
func (c *Call[T]) giveUpAfter(timeout time.Duration) *time.Timer {
	return time.AfterFunc(timeout+timeout/4, func() {
		var zero T
		c.Settle(zero, fmt.Errorf("flight: no result %v after its deadline: %w", timeout/4, context.DeadlineExceeded))
	})
}
