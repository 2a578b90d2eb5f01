package tier

import (
	"context"
	"errors"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// acquireMany is acquire for many keys: one round trip per level that can.
func (c *Cache[V]) acquireMany(ctx context.Context, keys []string) []acquired[V] {
	out := make([]acquired[V], len(keys))
	n := len(c.levels)
	leases := make([]backends.Lease, len(keys)*n)
	open := make([]int, len(keys)) // the keys that are still asked for
	for i := range out {
		out[i].right.leases = leases[i*n : (i+1)*n : (i+1)*n]
		open[i] = i
	}
	for i := n - 1; i >= 0 && len(open) > 0; i-- {
		open = c.acquireAt(ctx, c.levels[i], keys, open, out)
	}
	return out
}

// acquireAt asks lv for the open ones of keys and returns those to ask the nearer levels for, in
// open's memory.
func (c *Cache[V]) acquireAt(ctx context.Context, lv *level, keys []string, open []int, out []acquired[V]) (left []int) {
	if lv.caps.Leaser == nil {
		for _, i := range open {
			out[i].unfenced(lv, keys[i])
		}
		return open
	}
	ask := keys
	if len(open) < len(keys) {
		ask = make([]string, len(open))
		for j, i := range open {
			ask[j] = keys[i]
		}
	}
	left = open[:0]
	for j, r := range lv.acquireMany(ctx, ask, c.hold()) {
		i := open[j]
		if c.answered(ctx, lv, keys[i], r.Lease, r.Item, r.Err, &out[i]) {
			left = append(left, i)
		}
	}
	return left
}

// releaseMany gives the leases of all back, one round trip per level that can. It runs even when
// ctx has ended.
func (c *Cache[V]) releaseMany(ctx context.Context, all []*loading[V]) {
	if len(all) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	for i, lv := range c.levels {
		var leases []backends.Lease
		for _, l := range all {
			if lease := l.right.leases[i]; lease != nil {
				leases = append(leases, lease)
			}
		}
		lv.releaseMany(nobodys{ctx}, leases)
	}
}

// acquireMany leases keys, in one round trip where the store can. Keys that are owed an
// invalidation are not asked for.
func (l *level) acquireMany(ctx context.Context, keys []string, hold time.Duration) []backends.LeaseResult {
	out := make([]backends.LeaseResult, len(keys))
	if l.caps.BatchLeaser == nil {
		for i, k := range keys {
			out[i].Lease, out[i].Item, out[i].Err = l.acquire(ctx, k, hold)
		}
		return out
	}
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
	var back []backends.Lease
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
				back = append(back, leases[i])
			}
		}
	}
	l.releaseMany(ctx, back)
}

// releaseMany gives leases back, in one round trip where the store can.
func (l *level) releaseMany(ctx context.Context, leases []backends.Lease) {
	switch {
	case len(leases) == 0:
		return
	case l.caps.BatchLeaser == nil:
		for _, lease := range leases {
			l.release(ctx, "", lease)
		}
		return
	}
	errs, err := call(ctx, l, func(ctx context.Context) ([]error, error) {
		errs := l.caps.BatchLeaser.ReleaseMany(ctx, leases)
		return errs, firstFailure(len(errs), func(i int) error { return errs[i] })
	})
	for i := range leases {
		e := err
		if errs != nil {
			e = errs[i]
		}
		_ = l.wrap("release", "", e) // counted; the lease runs out by itself
	}
}
