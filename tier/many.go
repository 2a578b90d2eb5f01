package tier

import (
	"context"
	"errors"
	"fmt"

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
	c    *Cache[V]
	many manyFunc[V]
	load loadFunc[V]

	// The caller's own; the flights, which may outlive it, do not touch these.
	out    map[string]V
	kept   bool             // a refresh may still see what was read
	errs   map[string]error // nil: no key has failed
	due    []renewal[V]     // stale values that their readers would rather have fresh
	soft   context.Context  // ends with Load.SoftTimeout after the first of due; nil: due is empty
	relent context.CancelFunc
}

// renewal is a stale value and the flight that is to replace it.
type renewal[V any] struct {
	key  string
	old  *entry[V]
	call *flight.Call[*entry[V]]
}

func (c *Cache[V]) getMany(ctx context.Context, keys []string, many manyFunc[V], load loadFunc[V]) (map[string]V, error) {
	for _, key := range keys {
		if err := c.check("get", key); err != nil {
			return nil, err
		}
	}
	b := &batch[V]{c: c, many: many, load: load, out: make(map[string]V, len(keys))}
	for last := false; ; last = true {
		rest := b.atHand(ctx, keys)
		if len(rest) == 0 {
			break
		}
		if keys = b.fly(ctx, rest, last); len(keys) == 0 {
			break
		}
	}
	b.awaitDue(ctx)
	if b.errs != nil {
		return b.out, &ManyError{Errs: b.errs}
	}
	return b.out, nil
}

// give puts e into the result. A value whose refresh is due is given as it is, while the refresh
// goes on behind it; with Load.SoftTimeout a stale one is put off to [batch.awaitDue].
func (b *batch[V]) give(ctx context.Context, key string, e *entry[V], due bool) {
	c := b.c
	if due && b.load != nil {
		stale := e.staleAt(c.clock.Wall())
		if stale {
			c.count.Inc(int(countServedStale))
		}
		b.kept = true
		call := c.startRefresh(ctx, key, e, b.load)
		if stale && c.cfg.Load.SoftTimeout > 0 {
			if b.soft == nil {
				b.soft, b.relent = context.WithTimeout(ctx, c.cfg.Load.SoftTimeout)
			}
			b.due = append(b.due, renewal[V]{key: key, old: e, call: call})
			return
		}
		call.Leave()
	}
	if !e.absent {
		b.out[key] = c.out(e.value)
	}
}

// awaitDue waits for the refreshes under way until the soft timeout ends, and gives what is there
// then: what [Cache.getStale] does for one key.
func (b *batch[V]) awaitDue(ctx context.Context) {
	if b.soft == nil {
		return
	}
	defer b.relent()
	for _, d := range b.due {
		e, err := d.call.Wait(b.soft)
		switch {
		case err == nil:
			b.give(ctx, d.key, e, false)
		case errors.Is(err, ErrMiss): // the record is gone
		case ctx.Err() != nil:
			b.fail(d.key, ctx.Err())
		default:
			b.give(ctx, d.key, d.old, false)
		}
	}
}

// fail notes the error of a key.
func (b *batch[V]) fail(key string, err error) {
	if b.errs == nil {
		b.errs = make(map[string]error)
	}
	b.errs[key] = err
}
