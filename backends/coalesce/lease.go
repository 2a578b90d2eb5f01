package coalesce

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// request is one Acquire.
type request struct {
	key  string
	hold time.Duration
}

// fill is one Fill.
type fill struct {
	lease backends.Lease // of the store below
	item  backends.Item
}

// lease sets up what is gathered of leases.
func (s *Store) lease(can backends.Caps) {
	many := can.BatchLeaser
	s.acquires = &queue[request, backends.LeaseResult]{
		conf: &s.conf,
		one: func(ctx context.Context, r request) (out backends.LeaseResult) {
			out.Lease, out.Item, out.Err = can.Leaser.Acquire(ctx, r.key, r.hold)
			return out
		},
		many: func(ctx context.Context, rs []request, out []backends.LeaseResult) { acquire(ctx, many, rs, out) },
		fail: func(err error, _ bool) backends.LeaseResult { return backends.LeaseResult{Err: err} },
		drop: func(rs []backends.LeaseResult) { s.giveBack(many, rs) },
	}
	s.fills = &queue[fill, error]{
		conf: &s.conf,
		one:  func(ctx context.Context, f fill) error { return f.lease.Fill(ctx, f.item) },
		many: func(ctx context.Context, fs []fill, out []error) {
			leases, items := make([]backends.Lease, len(fs)), make([]backends.Item, len(fs))
			for i, f := range fs {
				leases[i], items[i] = f.lease, f.item
			}
			spread(out, many.FillMany(ctx, leases, items))
		},
		fail: ambiguous,
	}
	s.releases = &queue[backends.Lease, error]{
		conf: &s.conf,
		one:  func(ctx context.Context, l backends.Lease) error { return l.Release(ctx) },
		many: func(ctx context.Context, ls []backends.Lease, out []error) {
			spread(out, many.ReleaseMany(ctx, slices.Clone(ls)))
		},
		fail: plain,
	}
	s.caps.Leaser, s.caps.BatchLeaser = leaser{s}, batchLeaser{s, many}
}

// acquire asks for leases of every hold among rs in one request each; mostly there is one.
func acquire(ctx context.Context, b backends.BatchLeaser, rs []request, out []backends.LeaseResult) {
	asked := make([]bool, len(rs))
	for first := range rs {
		if asked[first] {
			continue
		}
		var keys []string
		var at []int
		for i := first; i < len(rs); i++ {
			if !asked[i] && rs[i].hold == rs[first].hold {
				asked[i] = true
				keys, at = append(keys, rs[i].key), append(at, i)
			}
		}
		got := b.AcquireMany(ctx, keys, rs[first].hold)
		for j, i := range at {
			if j >= len(got) {
				out[i].Err = errShort
				continue
			}
			out[i] = got[j]
		}
	}
}

// giveBack releases the leases that were granted to callers that have left, in one request, so that
// the next ones need not wait until they run out.
func (s *Store) giveBack(b backends.BatchLeaser, rs []backends.LeaseResult) {
	var leases []backends.Lease
	for _, r := range rs {
		if r.Lease != nil {
			leases = append(leases, r.Lease)
		}
	}
	if len(leases) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.conf.Timeout)
	defer cancel()
	b.ReleaseMany(ctx, leases) // if this fails, they run out
}

// ambiguous is the failure of a call that must not be made again blindly.
func ambiguous(err error, sent bool) error {
	if sent {
		return fmt.Errorf("coalesce: %w: %w", backends.ErrUnknown, err)
	}
	return fmt.Errorf("coalesce: %w: %w", backends.ErrUnavailable, err)
}

// lease is a lease of the store below whose end is gathered with that of others.
type lease struct {
	s     *Store
	inner backends.Lease
}

// Fill implements [backends.Lease].
func (l *lease) Fill(ctx context.Context, it backends.Item) error {
	return l.s.fills.do(ctx, fill{l.inner, it}, len(it.Value))
}

// Release implements [backends.Lease].
func (l *lease) Release(ctx context.Context) error { return l.s.releases.do(ctx, l.inner, 0) }

type leaser struct{ s *Store }

func (l leaser) Acquire(ctx context.Context, key string, hold time.Duration) (backends.Lease, backends.Item, error) {
	return l.s.wrap(l.s.acquires.do(ctx, request{key, hold}, 0))
}

// wrap hands a granted lease to the caller.
func (s *Store) wrap(r backends.LeaseResult) (backends.Lease, backends.Item, error) {
	if r.Lease == nil {
		return nil, r.Item, r.Err
	}
	return &lease{s, r.Lease}, r.Item, r.Err
}

// batchLeaser is that of the store below, for leases of this one.
type batchLeaser struct {
	s     *Store
	inner backends.BatchLeaser
}

func (b batchLeaser) AcquireMany(ctx context.Context, keys []string, hold time.Duration) []backends.LeaseResult {
	rs := b.inner.AcquireMany(ctx, keys, hold)
	for i := range rs {
		rs[i].Lease, rs[i].Item, rs[i].Err = b.s.wrap(rs[i])
	}
	return rs
}

func (b batchLeaser) FillMany(ctx context.Context, leases []backends.Lease, items []backends.Item) []error {
	return b.inner.FillMany(ctx, b.below(leases), items)
}

func (b batchLeaser) ReleaseMany(ctx context.Context, leases []backends.Lease) []error {
	return b.inner.ReleaseMany(ctx, b.below(leases))
}

// below returns what the store below knows leases as. It refuses those that are not its own.
func (b batchLeaser) below(leases []backends.Lease) []backends.Lease {
	own := make([]backends.Lease, len(leases))
	for i, l := range leases {
		own[i] = l // of Seize or AcquireRefresh, or another store's
		if mine, ok := l.(*lease); ok && mine.s == b.s {
			own[i] = mine.inner
		}
	}
	return own
}
