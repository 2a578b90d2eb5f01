package tier

import (
	"context"
	"errors"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// acquired is the outcome of acquire for one key of a batch.
type acquired[V any] struct {
	right right
	found *found[V]
	busy  bool
}

// acquireMany is acquire for the keys of leads, in one round trip where the authority can.
func (c *Cache[V]) acquireMany(ctx context.Context, leads []*lead[V]) []acquired[V] {
	out := make([]acquired[V], len(leads))
	far := len(c.levels) - 1
	if far != 0 || c.levels[far].caps.BatchLeaser == nil {
		for i, l := range leads {
			r, f, err := c.acquire(ctx, l.key)
			out[i] = acquired[V]{right: r, found: f, busy: errors.Is(err, errBusy)}
		}
		return out
	}
	lv := c.levels[far]
	keys := make([]string, len(leads))
	for i, l := range leads {
		keys[i] = l.key
	}
	for i, res := range lv.acquireMany(ctx, keys, c.hold()) {
		a := &out[i]
		a.right = right{leases: []backends.Lease{res.Lease}, fill: res.Lease != nil}
		switch {
		case errors.Is(res.Err, backends.ErrHeldOff):
			c.count.Inc(int(countHeldOff))
			a.right.held = true
		case errors.Is(res.Err, backends.ErrLeased):
			a.busy = true
		case res.Err == nil && res.Lease == nil:
			if e, err := c.accept(ctx, lv, keys[i], res.Item); err == nil {
				a.found = &found[V]{e: e, item: res.Item, at: far}
			}
		}
	}
	return out
}

// acquireMany leases keys in one round trip. Keys that are owed an invalidation are not asked for.
func (l *level) acquireMany(ctx context.Context, keys []string, hold time.Duration) []backends.LeaseResult {
	out := make([]backends.LeaseResult, len(keys))
	barred := l.barredMany(keys)
	var open []string
	var at []int // where the open keys are among keys
	for i, k := range keys {
		if barred != nil && barred[i] != nil {
			out[i].Err = barred[i]
			continue
		}
		open, at = append(open, l.key(k)), append(at, i)
	}
	if len(open) == 0 {
		return out
	}
	got, err := call(ctx, l, func(ctx context.Context) ([]backends.LeaseResult, error) {
		rs := l.caps.BatchLeaser.AcquireMany(ctx, open, hold)
		return rs, firstFailure(len(rs), func(i int) error { return rs[i].Err })
	})
	for j, i := range at {
		if len(got) == len(open) {
			out[i], err = got[j], got[j].Err
		}
		out[i].Err = l.wrap("lease", keys[i], err)
		if out[i].Lease != nil {
			l.count(levelLeases)
		} else if err := l.barred(keys[i]); err != nil { // owed since the call began
			out[i] = backends.LeaseResult{Err: err}
		}
	}
	return out
}

// fillMany fills leases with items, in one round trip where the store can.
func (l *level) fillMany(ctx context.Context, leases []backends.Lease, items []backends.Item) {
	switch {
	case len(leases) == 0:
		return
	case l.caps.BatchLeaser == nil:
		for i, lease := range leases {
			l.fill(ctx, "", lease, items[i])
		}
		return
	}
	errs, err := call(ctx, l, func(ctx context.Context) ([]error, error) {
		errs := l.caps.BatchLeaser.FillMany(ctx, leases, items)
		return errs, firstFailure(len(errs), func(i int) error { return errs[i] })
	})
	for i := range leases {
		e := err
		if errs != nil {
			e = errs[i]
		}
		switch {
		case e == nil:
			l.count(levelFills)
		case errors.Is(e, backends.ErrLeaseLost), errors.Is(e, backends.ErrConflict), errors.Is(e, ErrMiss):
			l.count(levelFillsLost)
		default:
			_ = l.wrap("fill", "", e)
			l.count(levelFillsFailed)
			if backends.IsRefusal(e) || errors.Is(e, backends.ErrFull) { // else readers would wait for it
				l.release(ctx, "", leases[i])
			}
		}
	}
}
