package backendtest

import (
	"context"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// Get implements [backends.Store].
func (f *Faulty) Get(ctx context.Context, key string) (backends.Item, error) {
	return f.read(ctx, OpGet, key, f.inner.Get)
}

// Set implements [backends.Store].
func (f *Faulty) Set(ctx context.Context, key string, it backends.Item) error {
	return f.do(ctx, OpSet, key, func() error { return f.inner.Set(ctx, key, it) })
}

// Delete implements [backends.Store].
func (f *Faulty) Delete(ctx context.Context, key string) error {
	return f.do(ctx, OpDelete, key, func() error { return f.inner.Delete(ctx, key) })
}

// able has the capabilities of a Faulty. It is a type of its own so that a Faulty does not seem
// to have those that the store below lacks.
type able struct{ f *Faulty }

func (f *Faulty) mirror() backends.Caps {
	a, can := able{f}, f.can
	c := can // Warner and the limits are the store's own
	if can.Batcher != nil {
		c.Batcher = a
	}
	if can.CASer != nil {
		c.CASer = a
	}
	if can.Leaser != nil {
		c.Leaser = a
	}
	if can.BatchLeaser != nil {
		c.BatchLeaser = a
	}
	if can.Refresher != nil {
		c.Refresher = a
	}
	if can.Fencer != nil {
		c.Fencer = a
	}
	if can.Versioner != nil {
		c.Versioner = a
	}
	if can.Tombstoner != nil {
		c.Tombstoner = a
	}
	if can.Toucher != nil {
		c.Toucher = a
	}
	if can.Incrementer != nil {
		c.Incrementer = a
	}
	if can.TTLer != nil {
		c.TTLer = a
	}
	if can.Pinger != nil {
		c.Pinger = a
	}
	if can.Scanner != nil {
		c.Scanner = a
	}
	if can.Invalidator != nil {
		c.Invalidator = a
	}
	return c
}

func (f *Faulty) do(ctx context.Context, op Op, key string, do func() error) error {
	_, err := f.call(ctx, op, key, do)
	return err
}

func (f *Faulty) read(ctx context.Context, op Op, key string, get func(context.Context, string) (backends.Item, error)) (it backends.Item, err error) {
	corrupt, err := f.call(ctx, op, key, func() error {
		it, err = get(ctx, key)
		return err
	})
	if err != nil {
		return backends.Item{}, err
	}
	if corrupt {
		it.Value = flipped(it.Value)
	}
	return it, nil
}

func (f *Faulty) readMany(ctx context.Context, op Op, keys []string, get func(context.Context, []string) []backends.Result) []backends.Result {
	rs := make([]backends.Result, len(keys))
	f.batch(ctx, op, keys,
		func(at []int) {
			for j, r := range get(ctx, pick(keys, at)) {
				rs[at[j]] = r
			}
		},
		func(i int, err error) { rs[i] = backends.Result{Err: err} },
		func(i int) {
			if rs[i].Err == nil {
				rs[i].Item.Value = flipped(rs[i].Item.Value)
			}
		})
	return rs
}

func (f *Faulty) doMany(ctx context.Context, op Op, keys []string, do func(at []int) []error) []error {
	var errs []error
	fail := func(i int, err error) {
		if errs == nil {
			errs = make([]error, len(keys))
		}
		errs[i] = err
	}
	f.batch(ctx, op, keys,
		func(at []int) {
			for j, err := range do(at) {
				if err != nil {
					fail(at[j], err)
				}
			}
		}, fail, func(int) {})
	return errs
}

func pick[E any](all []E, at []int) []E {
	some := make([]E, len(at))
	for j, i := range at {
		some[j] = all[i]
	}
	return some
}

func (a able) GetMany(ctx context.Context, keys []string) []backends.Result {
	return a.f.readMany(ctx, OpGetMany, keys, a.f.can.Batcher.GetMany)
}

func (a able) SetMany(ctx context.Context, entries []backends.KeyItem) []error {
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.Key
	}
	return a.f.doMany(ctx, OpSetMany, keys, func(at []int) []error {
		return a.f.can.Batcher.SetMany(ctx, pick(entries, at))
	})
}

func (a able) DeleteMany(ctx context.Context, keys []string) []error {
	return a.f.doMany(ctx, OpDeleteMany, keys, func(at []int) []error {
		return a.f.can.Batcher.DeleteMany(ctx, pick(keys, at))
	})
}

func (a able) Add(ctx context.Context, key string, it backends.Item) error {
	return a.f.do(ctx, OpAdd, key, func() error { return a.f.can.CASer.Add(ctx, key, it) })
}

func (a able) CompareAndSwap(ctx context.Context, key string, tok backends.Token, it backends.Item) error {
	return a.f.do(ctx, OpCompareAndSwap, key, func() error { return a.f.can.CASer.CompareAndSwap(ctx, key, tok, it) })
}

func (a able) CompareAndDelete(ctx context.Context, key string, tok backends.Token) error {
	return a.f.do(ctx, OpCompareAndDelete, key, func() error { return a.f.can.CASer.CompareAndDelete(ctx, key, tok) })
}

func (a able) SetNewer(ctx context.Context, key string, it backends.Item) error {
	return a.f.do(ctx, OpSetNewer, key, func() error { return a.f.can.Versioner.SetNewer(ctx, key, it) })
}

func (a able) DeleteHold(ctx context.Context, key string, hold time.Duration, version uint64) error {
	return a.f.do(ctx, OpDeleteHold, key, func() error { return a.f.can.Tombstoner.DeleteHold(ctx, key, hold, version) })
}

func (a able) Touch(ctx context.Context, key string, ttl time.Duration) error {
	return a.f.do(ctx, OpTouch, key, func() error { return a.f.can.Toucher.Touch(ctx, key, ttl) })
}

func (a able) Increment(ctx context.Context, key string, delta, initial int64, ttl time.Duration) (n int64, err error) {
	err = a.f.do(ctx, OpIncrement, key, func() error {
		n, err = a.f.can.Incrementer.Increment(ctx, key, delta, initial, ttl)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (a able) GetTTL(ctx context.Context, key string) (backends.Item, error) {
	return a.f.read(ctx, OpGetTTL, key, a.f.can.TTLer.GetTTL)
}

func (a able) GetTTLMany(ctx context.Context, keys []string) []backends.Result {
	return a.f.readMany(ctx, OpGetTTLMany, keys, a.f.can.TTLer.GetTTLMany)
}

func (a able) Ping(ctx context.Context) error {
	return a.f.do(ctx, OpPing, "", func() error { return a.f.can.Pinger.Ping(ctx) })
}

func (a able) Scan(ctx context.Context, cursor string, yield func(keys []string, next string) error) error {
	return a.f.do(ctx, OpScan, "", func() error { return a.f.can.Scanner.Scan(ctx, cursor, yield) })
}

func (a able) Watch(ctx context.Context, to backends.Sink) error {
	return a.f.do(ctx, OpWatch, "", func() error { return a.f.can.Invalidator.Watch(ctx, to) })
}

func (a able) Publish(ctx context.Context, keys []string) error {
	return a.f.do(ctx, OpPublish, "", func() error { return a.f.can.Invalidator.Publish(ctx, keys) })
}

func (a able) PublishFlush(ctx context.Context) error {
	return a.f.do(ctx, OpPublishFlush, "", func() error { return a.f.can.Invalidator.PublishFlush(ctx) })
}
