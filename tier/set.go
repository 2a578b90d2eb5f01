package tier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/ristretto"
	"github.com/hearthcache/hearth/codec"
	"github.com/hearthcache/hearth/internal/fence"
)

// SetOptions changes how one value is stored. The zero value is [Cache.Set].
type SetOptions struct {
	// TTL and Fresh replace the configured ones. 0 = as configured. A TTL given here is a property
	// of the record: the Writer gets it as Mutation.TTL. The configured one is the cache's alone.
	TTL, Fresh time.Duration

	// Version of the record, where the source has one: a remote tier that can compare versions
	// keeps the newer one, whoever writes last, and Set then returns [ErrOlder]. 0 = none.
	Version uint64

	// Tags by which the value can be invalidated together with others; see
	// [Cache.InvalidateTags]. They need Config.Barriers: [ErrUnsupported] without.
	Tags []string
}

// ErrOlder: a tier already holds this version of the record or a newer one; nothing was stored.
var ErrOlder = backends.ErrOlder

// Set stores v under key: through the Writer if there is one, then in the authority (the
// farthest remote tier), while nearer remote tiers forget the key and are filled again behind
// it, then in L1; other processes' L1 are told.
//
// After nil, no read that starts later gets an older value, as with [Cache.Delete]. An error
// that [errors.Is] [ErrQueued] says that a tier could not be reached; the key is then
// invalidated there as soon as it can be. [ErrUntold] says that the L1 of other processes are told
// later, and no more. A negative TTL is [ErrInvalidTTL], a value that no
// tier can hold [ErrTooLarge]; nothing has changed then.
func (c *Cache[V]) Set(ctx context.Context, key string, v V) error {
	return c.SetWith(ctx, key, v, SetOptions{})
}

// SetWith is [Cache.Set] with options.
func (c *Cache[V]) SetWith(ctx context.Context, key string, v V, o SetOptions) error {
	if err := c.check("set", key); err != nil {
		return err
	}
	if o.TTL < 0 || o.Fresh < 0 {
		return fmt.Errorf("cache: set %q: %w", key, ErrInvalidTTL)
	}
	w, err := c.newWrite(ctx, key, v, o)
	if err != nil {
		return err
	}
	if c.cfg.Writer != nil {
		return c.writeThrough(ctx, []write[V]{w})
	}
	return c.store(ctx, w)
}

// write is a value on its way into the tiers.
type write[V any] struct {
	key   string
	e     *entry[V]
	frame []byte
	stamp ristretto.Stamp
	op    uint64        // the mark in frame by which the writer knows it again; 0 = none
	ttl   time.Duration // of the record, for the Writer; 0 = no limit
}

// newWrite encodes v and refuses what no remote tier could hold, before anything changes.
func (c *Cache[V]) newWrite(ctx context.Context, key string, v V, o SetOptions) (w write[V], err error) {
	w = write[V]{key: key, stamp: c.stamp(key), ttl: o.TTL}
	w.e = c.newEntry(c.out(v), false, c.lifetimeOf(false, o.TTL, o.Fresh), o.Version, 0, fromLoader)
	if err := c.stampWrite(ctx, w.e, o.Tags); err != nil {
		return w, fmt.Errorf("cache: set %q: %w", key, err)
	}
	if len(c.levels) == 0 {
		return w, nil
	}
	if w.frame, err = c.encode(key, w.e, 0); err != nil {
		return w, fmt.Errorf("cache: encode %q: %w", key, err)
	}
	for _, lv := range c.levels {
		if limit := lv.caps.MaxValueBytes; limit > 0 && len(w.frame) > limit {
			return w, lv.wrap("set", key, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(w.frame), limit))
		}
	}
	return w, nil
}

// stampWrite gives e the barriers of now: a value that is written, unlike one that is loaded,
// is as new as the call.
func (c *Cache[V]) stampWrite(ctx context.Context, e *entry[V], tags []string) error {
	switch {
	case !c.barriers.on && len(tags) > 0:
		return fmt.Errorf("tags without Config.Barriers: %w", ErrUnsupported)
	case !c.barriers.on:
		return nil
	}
	gen, _, err := c.barriers.current(ctx, barrierAll)
	if err != nil {
		return err
	}
	e.generation = gen
	for _, t := range tags {
		c.tagged.Store(true)
		n, _, err := c.barriers.current(ctx, tagName(tagID(t)))
		if err != nil {
			return err
		}
		e.tags = append(e.tags, codec.TagStamp{ID: tagID(t), Barrier: n})
	}
	return nil
}

// store puts w into the authority, makes the nearer levels forget, then puts it into L1.
func (c *Cache[V]) store(ctx context.Context, w write[V]) error {
	far := len(c.levels) - 1
	if far < 0 {
		c.replaceLocal(w)
		return c.tellOthers(ctx, []string{w.key})
	}
	var errs []error
	lv := c.levels[far]
	if err := lv.set(ctx, w.key, c.writeItem(lv, w), w.e.version); err != nil {
		if errors.Is(err, backends.ErrOlder) {
			c.forgetL1([]string{w.key})
			return err
		}
		errs = append(errs, lv.oweWrite(ctx, w.key, err))
	}
	for i := far - 1; i >= 0; i-- {
		errs = append(errs, c.levels[i].forget(ctx, []string{w.key}, DeleteOptions{})...)
	}
	if errors.Join(errs...) != nil {
		c.forgetL1([]string{w.key})
	} else {
		c.replaceL1(w)
		if far > 0 {
			c.promote(w.key, far)
		}
	}
	if err := c.tellOthers(ctx, []string{w.key}); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// writeItem is the frame of w as lv is to store it. A value that has expired on its way is
// written all the same, for a moment: it has to replace the older one.
func (c *Cache[V]) writeItem(lv *level, w write[V]) backends.Item {
	if it, ok := c.item(lv, w.frame, w.e); ok {
		return it
	}
	return backends.Item{Value: w.frame, TTL: time.Millisecond}
}

// oweWrite queues the invalidation of a key whose write failed: the level may hold the old
// value.
func (l *level) oweWrite(ctx context.Context, key string, err error) error {
	if backends.IsRefusal(err) {
		return err
	}
	l.owe(ctx, DeleteOptions{}, key)
	return fmt.Errorf("%w: %w", ErrQueued, err)
}

// replaceL1 puts a completed write into L1, unless the key changed since the write began: then
// nobody can say which of the two is newer, and L1 forgets it.
func (c *Cache[V]) replaceL1(w write[V]) {
	c.forgetFlights([]string{w.key})
	c.failed.forget([]string{w.key})
	if c.l1 == nil {
		return
	}
	soft, hard := c.deadlines(w.e)
	if hard < 0 || !c.fillable() {
		c.l1.Invalidate(w.key)
		return
	}
	k := w.e.kept()
	c.countFenced(w.key, w.stamp, c.l1.Replace(w.key, w.stamp, &k, c.cost(w.e, int64(len(w.frame))), soft, hard))
}

// writeThrough sends ws through the Writer, between taking a lease over each key at the
// authority and filling under it: of two racing writers, whoever's lease was replaced does not
// fill, so that the loser's value cannot stay. A store without such leases is invalidated.
func (c *Cache[V]) writeThrough(ctx context.Context, ws []write[V]) error {
	ms := make([]Mutation[V], len(ws))
	for i, w := range ws {
		ms[i] = Mutation[V]{Key: w.key, Value: w.e.value, Version: w.e.version, TTL: w.ttl}
	}
	if c.pending != nil {
		err := c.cfg.Writer.Write(ctx, ms)
		for i, outcome := range outcomesOf(err, len(ws)) {
			if outcome == nil || errors.Is(outcome, ErrUnknown) { // after a refusal the old value still counts
				c.forgetL1([]string{ws[i].key})
			}
		}
		return err
	}
	rights := make([]right, len(ws))
	for i, w := range ws {
		rights[i] = c.seize(ctx, w.key)
	}
	err := c.cfg.Writer.Write(ctx, ms)
	outcomes := outcomesOf(err, len(ws))
	var errs []error
	for i, w := range ws {
		errs = append(errs, c.settle(ctx, w, rights[i], outcomes[i]))
	}
	return batchError(errs)
}

// seize takes a lease over key at the authority, if it can. Versions do not do the job: after a
// delete there is none left to compare with, and the loser of the race would be stored.
func (c *Cache[V]) seize(ctx context.Context, key string) right {
	r := right{leases: make([]backends.Lease, len(c.levels))}
	far := len(c.levels) - 1
	if far < 0 || c.levels[far].caps.Fencer == nil || fence.Removed(fence.Seize) {
		return r
	}
	if lease, err := c.levels[far].seize(ctx, key, c.hold()); err == nil {
		r.leases[far], r.fill = lease, true
	}
	return r
}

// settle brings the tiers in line with what became of one write at the source.
func (c *Cache[V]) settle(ctx context.Context, w write[V], r right, outcome error) error {
	switch {
	case outcome == nil && r.fill:
		return c.fillSeized(ctx, w, r)
	case outcome == nil && len(c.levels) == 0:
		c.replaceL1(w) // under the stamp from before the write, which is fence enough here
		return c.tellOthers(ctx, []string{w.key})
	case outcome == nil && fence.Removed(fence.Seize):
		return c.store(ctx, w)
	case outcome == nil || errors.Is(outcome, ErrUnknown):
		return errors.Join(outcome, c.forget(ctx, []string{w.key}, DeleteOptions{}, true))
	}
	// The source has not changed. The seized lease replaced a good value: let readers load it.
	c.release(ctx, w.key, r)
	c.forgetL1([]string{w.key})
	return outcome
}

// fillSeized ends a write-through: fill the authority if the lease still stands, else forget.
func (c *Cache[V]) fillSeized(ctx context.Context, w write[V], r right) error {
	far := len(c.levels) - 1
	lv := c.levels[far]
	it, ok := c.item(lv, w.frame, w.e)
	if !ok || !lv.fill(ctx, w.key, r.leases[far], it) {
		return c.forget(ctx, []string{w.key}, DeleteOptions{}, true)
	}
	var errs []error
	for i := far - 1; i >= 0; i-- {
		errs = append(errs, c.levels[i].forget(ctx, []string{w.key}, DeleteOptions{})...)
	}
	c.replaceL1(w)
	if far > 0 {
		c.promote(w.key, far)
	}
	errs = append(errs, c.tellOthers(ctx, []string{w.key}))
	return errors.Join(errs...)
}

// applied is told by a deferring Writer that the source has taken ms: now the tiers forget.
func (c *Cache[V]) applied(ctx context.Context, ms []Mutation[V]) error {
	keys := make([]string, len(ms))
	for i, m := range ms {
		keys[i] = m.Key
	}
	return c.forget(ctx, keys, DeleteOptions{}, true)
}

// outcomesOf spreads a Writer's error over n mutations.
func outcomesOf(err error, n int) []error {
	out := make([]error, n)
	var each *WriteError
	if errors.As(err, &each) && len(each.Errs) == n {
		return each.Errs
	}
	for i := range out {
		out[i] = err
	}
	return out
}

// batchError is nil, the only error, or a WriteError.
func batchError(errs []error) error {
	switch bad := failures(errs); {
	case len(bad) == 0:
		return nil
	case len(errs) == 1:
		return errs[0]
	}
	return &WriteError{Errs: errs}
}
