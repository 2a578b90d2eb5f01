package backendtest

import (
	"context"
	"errors"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// failsWith wants what a call does whose ctx has ended: it gives no answer and says why.
func (e *env) failsWith(cause error, err error, what string) {
	e.Helper()
	switch {
	case err == nil:
		e.Errorf("%s with an ended ctx succeeded", what)
	case backends.IsAnswer(err):
		e.Errorf("%s with an ended ctx answered %v", what, err)
	case !errors.Is(err, cause):
		e.Errorf("%s with an ended ctx: %v, want %v", what, err, cause)
	}
}

// withEndedCtx makes every call of ended with an ended ctx.
func (e *env) withEndedCtx(ctx context.Context, cause error) {
	e.Helper()
	k, none := e.key("k"), e.key("none")
	e.set(k, "1")
	tok := e.get(k).Token
	start := time.Now()

	_, err := e.Store.Get(ctx, k)
	e.failsWith(cause, err, "get")
	_, err = e.Store.Get(ctx, none)
	e.failsWith(cause, err, "get of an absent key")
	e.failsWith(cause, e.Store.Set(ctx, k, item("2")), "set")
	e.failsWith(cause, e.Store.Delete(ctx, k), "delete")
	ended := *e
	ended.ctx = ctx
	for name, call := range ended.calls(k, tok) {
		if name != "Warner" && name != "Invalidator" {
			e.failsWith(cause, call(), name)
		}
	}
	if e.caps.Batcher != nil {
		for _, r := range e.caps.Batcher.GetMany(ctx, []string{k, none}) {
			e.failsWith(cause, r.Err, "getmany")
		}
		errs := e.caps.Batcher.SetMany(ctx, []backends.KeyItem{{Key: k, Item: item("2")}})
		errs = append(errs, e.caps.Batcher.DeleteMany(ctx, []string{k})...)
		if len(errs) != 2 {
			e.Fatalf("setmany and deletemany with an ended ctx: %d outcomes, want 2", len(errs))
		}
		e.failsWith(cause, errs[0], "setmany")
		e.failsWith(cause, errs[1], "deletemany")
	}
	if took := time.Since(start); took > 2*time.Second {
		e.Errorf("calls with an ended ctx took %v", took)
	}
	e.holds(k, "1")
}

var ctxCases = []Case{
	{
		Name: "ctx/CancelledIsNoAnswer",
		Why:  "a caller that left must not read as a miss (a load for nobody), nor cost a round trip",
		run: func(e *env) {
			ctx, cancel := context.WithCancel(e.ctx)
			cancel()
			e.withEndedCtx(ctx, context.Canceled)
		},
	},
	{
		Name: "ctx/DeadlinePassedIsNoAnswer",
		Why:  "a deadline that is not looked at is a request that hangs",
		run: func(e *env) {
			ctx, cancel := context.WithDeadline(e.ctx, time.Now().Add(-time.Second))
			defer cancel()
			e.withEndedCtx(ctx, context.DeadlineExceeded)
		},
	},
	{
		Name:  "ctx/CancelledFillIsNoLoss",
		Why:   "ErrLeaseLost for a fill that was never sent would count races that were none",
		needs: needLeaser,
		run: func(e *env) {
			k := e.key("k")
			l := e.acquire(k, hour)
			ctx, cancel := context.WithCancel(e.ctx)
			cancel()
			e.failsWith(context.Canceled, l.Fill(ctx, item("v")), "fill")
			e.getErr(k, backends.ErrLeased)
			e.ok(l.Release(e.ctx), "release")
			e.absent(k)
		},
	},
}
