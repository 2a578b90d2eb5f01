package tier

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/ristretto"
	"github.com/hearthcache/hearth/internal/flight"
)

// ManyError carries what went wrong with single keys of a batch read. The keys that are neither
// in the map of values nor in Errs do not exist.
type ManyError struct {
	Errs map[string]error
}

// Error implements error with the count and one of the failures.
func (e *ManyError) Error() string {
	for k, err := range e.Errs {
		return fmt.Sprintf("cache: %d keys failed, among them %q: %v", len(e.Errs), k, err)
	}
	return "cache: no key failed"
}

// Unwrap returns the failures, for errors.Is and errors.As.
func (e *ManyError) Unwrap() []error {
	out := make([]error, 0, len(e.Errs))
	for _, err := range e.Errs {
		out = append(out, err)
	}
	return out
}

// GetMany returns the values of keys, as [Cache.Get] would for each: one round trip per remote
// tier at most, one LoadMany for what is in no tier, and keys that somebody else is loading
// already are waited for, not loaded again. Keys that do not exist are left out of the map.
//
// Where single keys failed, the error is a [*ManyError] that names them, beside the values of
// the others. Duplicate keys are fine.
func (c *Cache[V]) GetMany(ctx context.Context, keys []string) (map[string]V, error) {
	return c.getMany(ctx, keys, manyOf(c.cfg.Loader), c.load)
}

// GetOrLoadMany is [Cache.GetMany] with load in place of the configured Loader. load gets the
// keys that are in no tier and returns the records that exist.
func (c *Cache[V]) GetOrLoadMany(ctx context.Context, keys []string, load func(ctx context.Context, keys []string) (map[string]V, error)) (map[string]V, error) {
	if load == nil {
		return nil, errNilLoad
	}
	return c.getMany(ctx, keys, load, singly(load))
}

// manyFunc is what loads many keys; nil = one at a time.
type manyFunc[V any] func(ctx context.Context, keys []string) (map[string]V, error)

// manyOf returns l's LoadMany; nil if it has none.
func manyOf[V any](l Loader[V]) manyFunc[V] {
	if m, ok := l.(ManyLoader[V]); ok {
		return m.LoadMany
	}
	return nil
}

// singly loads one key by a manyFunc.
func singly[V any](many manyFunc[V]) loadFunc[V] {
	return func(ctx context.Context, key string, _ Old[V]) (l Loaded[V], err error) {
		m, err := many(ctx, []string{key})
		if err != nil {
			return l, err
		}
		v, ok := m[key]
		if !ok {
			return l, ErrMiss
		}
		return Loaded[V]{Value: v}, nil
	}
}

// batch is one GetMany under way.
type batch[V any] struct {
	c     *Cache[V]
	many  manyFunc[V]
	load  loadFunc[V]
	calls map[string]*flight.Call[*entry[V]] // keys of this batch that are in flight, led or joined
	later map[string]bool                    // of these, those that were in flight before
}

// lead is a key whose flight this batch leads.
type lead[V any] struct {
	key   string
	call  *flight.Call[*entry[V]]
	stamp ristretto.Stamp
	done  bool
}

func (c *Cache[V]) getMany(ctx context.Context, keys []string, many manyFunc[V], load loadFunc[V]) (map[string]V, error) {
	out := make(map[string]V, len(keys))
	var bad *ManyError
	again, err := c.getManyOnce(ctx, keys, many, load, out, false)
	switch some := errors.As(err, &bad); {
	case err != nil && !some:
		return nil, err
	case len(again) == 0:
		return out, err
	}
	_, err = c.getManyOnce(ctx, again, many, load, out, true)
	if bad != nil {
		err = bad.with(err)
	}
	return out, err
}

// getManyOnce is one pass of getMany. Unless last, it leaves out the keys that have to be looked
// at again, as [Cache.mustLookAgain] has it, and returns them.
func (c *Cache[V]) getManyOnce(ctx context.Context, keys []string, many manyFunc[V], load loadFunc[V], out map[string]V, last bool) (again []string, err error) {
	b := &batch[V]{c: c, many: many, load: load, calls: make(map[string]*flight.Call[*entry[V]])}
	group := &c.lookups
	if load != nil {
		group = &c.loads
	}
	var leads []*lead[V]
	for _, key := range keys {
		if err := c.check("get", key); err != nil {
			b.abandon(leads, err)
			return nil, err
		}
		if _, ok := out[key]; ok || b.calls[key] != nil {
			continue
		}
		if e, ok := b.atHand(ctx, key); ok {
			if !e.absent {
				out[key] = c.out(e.value)
			}
			continue
		}
		stamp := c.stamp(key)
		call, leader := group.Join(key)
		b.calls[key] = call
		if leader {
			leads = append(leads, &lead[V]{key: key, call: call, stamp: stamp})
		} else if !last {
			if b.later == nil {
				b.later = make(map[string]bool)
			}
			b.later[key] = true
		}
	}
	if len(leads) > 0 {
		detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.flightTime(load))
		c.spawn(ctx, load, func() {
			defer cancel()
			if !c.begin() {
				b.abandon(leads, ErrClosed)
				return
			}
			defer c.tasks.Done()
			b.run(nobodys{detached}, leads)
		})
	}
	return b.collect(ctx, out)
}

// spawn runs fn beside the caller if the caller can leave early, else in place.
func (c *Cache[V]) spawn(ctx context.Context, load loadFunc[V], fn func()) {
	if ctx.Done() == nil && (load == nil || c.cfg.Load.HardTimeout == 0) {
		fn()
		return
	}
	go fn()
}

// atHand answers a key without a round trip: from L1 (a stale value starts its refresh) or from
// the Writer's pending mutations.
func (b *batch[V]) atHand(ctx context.Context, key string) (*entry[V], bool) {
	c := b.c
	e, s := c.fromL1(key)
	switch s {
	case ristretto.Fresh:
		return e, true
	case ristretto.Stale:
		if b.load != nil {
			if e.staleAt(c.clock.Wall()) {
				c.count.Inc(int(countServedStale))
			}
			c.refresh(ctx, key, e, b.load)
		}
		return e, true
	}
	if p := c.fromPending(key); p != nil {
		return p, true
	}
	return nil, false
}

// abandon finishes what was led when the batch cannot go on.
func (b *batch[V]) abandon(leads []*lead[V], err error) {
	for _, l := range leads {
		l.call.Finish(nil, err)
	}
}

// collect waits for every call and sorts the results into values, errors and keys that have to
// be looked at again.
func (b *batch[V]) collect(ctx context.Context, out map[string]V) (again []string, err error) {
	var bad *ManyError
	ctx, hard := b.c.patience(ctx, b.load)
	defer hard()
	for key, call := range b.calls {
		e, err := call.Wait(ctx)
		if err != nil && context.Cause(ctx) == ErrLoadTimeout {
			err = ErrLoadTimeout
		}
		switch {
		case err == nil && b.later[key] && b.c.mustLookAgain(e):
			again = append(again, key)
		case err == nil && !e.absent:
			out[key] = b.c.out(e.value)
		case err != nil && !errors.Is(err, ErrMiss):
			bad = bad.with(&ManyError{Errs: map[string]error{key: err}})
		}
	}
	if bad != nil {
		return again, bad
	}
	return again, nil
}

// with is e and what other names, if that is a ManyError.
func (e *ManyError) with(other error) *ManyError {
	var o *ManyError
	switch {
	case !errors.As(other, &o):
		return e
	case e == nil:
		return o
	}
	maps.Copy(e.Errs, o.Errs)
	return e
}

func (l *lead[V]) finish(e *entry[V], err error) {
	l.done = true
	l.call.Finish(e, err)
}

// run brings every led call to its end: the remote tiers near to far, one round trip each, then
// the loader for the rest.
func (b *batch[V]) run(ctx context.Context, leads []*lead[V]) {
	errs := make(map[string][]error)
	rest := leads
	for _, lv := range b.c.levels {
		if len(rest) == 0 {
			return
		}
		rest = b.readLevel(ctx, lv, rest, errs)
	}
	if b.load == nil {
		for _, l := range rest {
			if failed := errs[l.key]; failed != nil {
				l.finish(nil, errors.Join(failed...))
			} else {
				l.finish(nil, ErrMiss)
			}
		}
		return
	}
	b.loadRest(ctx, rest)
}

// readLevel asks lv for the keys of rest and returns those it could not answer.
func (b *batch[V]) readLevel(ctx context.Context, lv *level, rest []*lead[V], errs map[string][]error) (left []*lead[V]) {
	c := b.c
	keys := make([]string, len(rest))
	for i, l := range rest {
		keys[i] = l.key
	}
	for i, r := range lv.getMany(ctx, keys) {
		l, err := rest[i], r.Err
		if err == nil {
			var e *entry[V]
			if e, err = c.accept(ctx, lv, l.key, r.Item); err == nil {
				lv.count(levelHits)
				c.keep(l.key, l.stamp, found[V]{e: e, item: r.Item, at: lv.index})
				l.finish(e, nil)
				if b.load != nil && c.dueEarly(e, c.clock.Wall()) {
					c.refresh(ctx, l.key, e, b.load)
				}
				continue
			}
		}
		if errors.Is(err, ErrMiss) {
			lv.count(levelMisses)
		} else {
			errs[l.key] = append(errs[l.key], err)
		}
		left = append(left, l)
	}
	return left
}

// loadRest loads what no tier has: keys whose lease this process gets in one LoadMany, and the
// others, which another process is loading, one by one.
func (b *batch[V]) loadRest(ctx context.Context, rest []*lead[V]) {
	var mine []*lead[V]
	var rights []right
	var wg sync.WaitGroup
	for i, got := range b.c.acquireMany(ctx, rest) {
		l := rest[i]
		switch {
		case got.found != nil:
			b.c.keep(l.key, l.stamp, *got.found)
			l.finish(got.found.e, nil)
		case got.busy:
			wg.Go(func() { l.finish(b.c.loadMissing(ctx, l.key, l.stamp, b.load, nil, found[V]{})) })
		case b.many == nil:
			wg.Go(func() { l.finish(b.c.loadUnder(ctx, l.key, l.stamp, got.right, b.load, nil)) })
		default:
			mine, rights = append(mine, l), append(rights, got.right)
		}
	}
	if len(mine) > 0 {
		b.loadMine(ctx, mine, rights)
	}
	wg.Wait()
}

// loadMine loads many keys at once and fills each under its right.
func (b *batch[V]) loadMine(ctx context.Context, mine []*lead[V], rights []right) {
	c := b.c
	keys := make([]string, len(mine))
	for i, l := range mine {
		keys[i] = l.key
	}
	m := c.beforeLoad(ctx)
	values, took, err := c.callManyLoader(ctx, keys, b.many)
	fills := make([]filling[V], 0, len(mine))
	for i, l := range mine {
		v, ok := values[l.key]
		if err != nil || !ok && c.cfg.NegativeTTL == 0 {
			c.release(ctx, l.key, rights[i])
			if err == nil {
				l.finish(nil, ErrMiss)
			} else {
				l.finish(nil, err)
			}
			continue
		}
		e := c.newEntry(v, !ok, c.lifetimeOf(!ok, 0, 0), 0, took, fromLoader)
		e.generation = m.generation
		if !m.known { // it cannot be told whether this was cleared meanwhile
			c.release(ctx, l.key, rights[i])
			l.finish(e, nil)
			continue
		}
		frame, err := c.encodeFor(ctx, l.key, e, rights[i])
		if err != nil {
			l.finish(nil, err)
			continue
		}
		fills = append(fills, filling[V]{lead: l, right: rights[i], e: e, frame: frame})
	}
	c.fillMany(ctx, fills)
}

// callManyLoader is callLoader for many keys.
func (c *Cache[V]) callManyLoader(ctx context.Context, keys []string, many manyFunc[V]) (values map[string]V, took time.Duration, err error) {
	load := func(ctx context.Context, _ string, _ Old[V]) (Loaded[V], error) {
		values, err = many(ctx, keys)
		return Loaded[V]{}, err
	}
	_, took, err = c.callLoader(ctx, keys[0], load, nil)
	if p, ok := errors.AsType[*PanicError](err); ok && len(keys) > 1 {
		err = fmt.Errorf("cache: load of %d keys, the first %q: %w", len(keys), keys[0], p)
	}
	if err != nil {
		return nil, took, err // values may still be written by a loader that was given up on
	}
	return values, took, nil
}

// filling is a loaded key on its way into the tiers.
type filling[V any] struct {
	lead  *lead[V]
	right right
	e     *entry[V]
	frame []byte
}

// fillMany stores what was loaded, one round trip per level where the level can, and ends the
// flights.
func (c *Cache[V]) fillMany(ctx context.Context, fills []filling[V]) {
	for i := len(c.levels) - 1; i >= 0; i-- {
		c.fillLevel(ctx, c.levels[i], fills)
	}
	for _, f := range fills {
		f.e.offered = f.right.fill
		c.putLoaded(f.lead.key, f.lead.stamp, f.right, f.e, int64(len(f.frame)))
		f.lead.finish(f.e, nil)
	}
}

func (c *Cache[V]) fillLevel(ctx context.Context, lv *level, fills []filling[V]) {
	var leases []backends.Lease
	var items []backends.Item
	var plain []backends.KeyItem
	for _, f := range fills {
		it, ok := c.item(lv, f.frame, f.e)
		switch lease := f.right.leases[lv.index]; {
		case !ok:
		case lease != nil:
			leases, items = append(leases, lease), append(items, it)
		case f.right.fill && lv.caps.Leaser == nil:
			plain = append(plain, backends.KeyItem{Key: f.lead.key, Item: it})
		}
	}
	lv.fillMany(ctx, leases, items)
	if len(plain) > 0 {
		lv.setMany(ctx, plain)
	}
}
