package memcached

import (
	"context"
	"errors"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// bulk is a transport that changes many keys in one trip. errs has room for one error per key, and
// gets one for each that failed; the one returned is why some were not answered, if so.
type bulk interface {
	storeMany(ctx context.Context, v verb, keys []string, rs []record, exps []int32, errs []error) error
	removeMany(ctx context.Context, keys []string, errs []error) error
}

var _ bulk = metaTransport{}

// bulkOf returns t's bulk, nil if it has none; watched, if t is.
func bulkOf(t transport) bulk {
	if b, ok := t.(bulk); ok {
		return b
	}
	if w, ok := t.(*watched); ok {
		if b := bulkOf(w.transport); b != nil {
			return watchedBulk{w, b}
		}
	}
	return nil
}

// watchedBulk passes the changes of many keys through the breaker of their server.
type watchedBulk struct {
	w    *watched
	bulk bulk
}

func (b watchedBulk) storeMany(ctx context.Context, v verb, keys []string, rs []record, exps []int32, errs []error) error {
	return b.call(ctx, errs, func(ctx context.Context) error {
		return b.bulk.storeMany(ctx, v, keys, rs, exps, errs)
	})
}

func (b watchedBulk) removeMany(ctx context.Context, keys []string, errs []error) error {
	return b.call(ctx, errs, func(ctx context.Context) error { return b.bulk.removeMany(ctx, keys, errs) })
}

// call gives what the watch says to those that had no answer.
func (b watchedBulk) call(ctx context.Context, errs []error, fn func(context.Context) error) error {
	var inner error
	err := b.w.do(ctx, func(ctx context.Context) error {
		inner = fn(ctx)
		return inner
	})
	if err == nil {
		return nil
	}
	for i, e := range errs {
		if inner == nil && e == nil || inner != nil && errors.Is(e, inner) {
			errs[i] = err
		}
	}
	return err
}

// setBulk sets the entries of g in one trip. Of a key that is there twice, last is the one.
func (s *Store) setBulk(ctx context.Context, b bulk, g group, entries []backends.KeyItem, last map[string]int, f *failures) {
	var (
		at   []int
		keys []string
		rs   []record
		exps []int32
	)
	now := time.Now()
	for n, p := range g.places {
		i := g.at[n]
		it := entries[i].Item
		if err := s.check(it); err != nil || last[p.wire] != i {
			f.set(i, err)
			continue
		}
		at, keys, exps = append(at, i), append(keys, p.wire), append(exps, expiry(it.TTL, now))
		rs = append(rs, record{value: p.label(it.Value), flags: it.Flags})
	}
	errs := make([]error, len(keys))
	b.storeMany(ctx, set, keys, rs, exps, errs)
	for j, i := range at {
		f.set(i, errs[j])
	}
}

// removeBulk deletes the keys of g in one trip.
func (s *Store) removeBulk(ctx context.Context, b bulk, g group, f *failures) {
	keys := make([]string, len(g.places))
	for n, p := range g.places {
		keys[n] = p.wire
	}
	errs := make([]error, len(keys))
	b.removeMany(ctx, keys, errs)
	for n, i := range g.at {
		if err := errs[n]; !errors.Is(err, backends.ErrMiss) {
			f.set(i, err)
		}
	}
}
