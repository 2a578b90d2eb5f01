package backendtest

import (
	"context"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// faultyLease is a lease of the store below whose Fill and Release are operations too.
type faultyLease struct {
	f     *Faulty
	key   string
	inner backends.Lease
}

// Fill implements [backends.Lease].
func (l *faultyLease) Fill(ctx context.Context, it backends.Item) error {
	return l.f.do(ctx, OpFill, l.key, func() error { return l.inner.Fill(ctx, it) })
}

// Release implements [backends.Lease].
func (l *faultyLease) Release(ctx context.Context) error {
	return l.f.do(ctx, OpRelease, l.key, func() error { return l.inner.Release(ctx) })
}

func (f *Faulty) wrap(key string, l backends.Lease) backends.Lease {
	if l == nil {
		return nil
	}
	return &faultyLease{f: f, key: key, inner: l}
}

// unwrap returns the store's own leases and their keys; those of others stay as they are, for
// the store to refuse.
func (f *Faulty) unwrap(leases []backends.Lease) (inner []backends.Lease, keys []string) {
	inner, keys = append(inner, leases...), make([]string, len(leases))
	for i, l := range leases {
		if own, ok := l.(*faultyLease); ok && own.f == f {
			inner[i], keys[i] = own.inner, own.key
		}
	}
	return inner, keys
}

func (a able) Acquire(ctx context.Context, key string, hold time.Duration) (l backends.Lease, it backends.Item, err error) {
	corrupt, err := a.f.call(ctx, OpAcquire, key, func() error {
		l, it, err = a.f.can.Leaser.Acquire(ctx, key, hold)
		return err
	})
	if err != nil {
		return nil, backends.Item{}, err
	}
	if corrupt && l == nil {
		it.Value = flipped(it.Value)
	}
	return a.f.wrap(key, l), it, nil
}

func (a able) AcquireMany(ctx context.Context, keys []string, hold time.Duration) []backends.LeaseResult {
	rs := make([]backends.LeaseResult, len(keys))
	a.f.batch(ctx, OpAcquireMany, keys,
		func(at []int) {
			for j, r := range a.f.can.BatchLeaser.AcquireMany(ctx, pick(keys, at), hold) {
				r.Lease = a.f.wrap(keys[at[j]], r.Lease)
				rs[at[j]] = r
			}
		},
		func(i int, err error) { rs[i] = backends.LeaseResult{Err: err} },
		func(i int) {
			if rs[i].Err == nil && rs[i].Lease == nil {
				rs[i].Item.Value = flipped(rs[i].Item.Value)
			}
		})
	return rs
}

func (a able) FillMany(ctx context.Context, leases []backends.Lease, items []backends.Item) []error {
	inner, keys := a.f.unwrap(leases)
	return a.f.doMany(ctx, OpFillMany, keys, func(at []int) []error {
		return a.f.can.BatchLeaser.FillMany(ctx, pick(inner, at), pick(items, at))
	})
}

func (a able) ReleaseMany(ctx context.Context, leases []backends.Lease) []error {
	inner, keys := a.f.unwrap(leases)
	return a.f.doMany(ctx, OpReleaseMany, keys, func(at []int) []error {
		return a.f.can.BatchLeaser.ReleaseMany(ctx, pick(inner, at))
	})
}

func (a able) AcquireRefresh(ctx context.Context, key string, tok backends.Token, hold time.Duration) (l backends.Lease, err error) {
	err = a.f.do(ctx, OpAcquireRefresh, key, func() error {
		l, err = a.f.can.Refresher.AcquireRefresh(ctx, key, tok, hold)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a.f.wrap(key, l), nil
}

func (a able) Seize(ctx context.Context, key string, hold time.Duration) (l backends.Lease, err error) {
	err = a.f.do(ctx, OpSeize, key, func() error {
		l, err = a.f.can.Fencer.Seize(ctx, key, hold)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a.f.wrap(key, l), nil
}
