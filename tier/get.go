package tier

import (
	"context"
	"errors"
	"time"

	"github.com/hearthcache/hearth/backends/ristretto"
)

// Get returns the value of key: from L1, else from the nearest remote tier that has it, else
// from the configured Loader.
//
// Absent, and no Loader or the Loader says so: [ErrMiss]. A tier that fails is passed over as
// long as another tier or the Loader can answer; if none can, its error comes back, which is
// never ErrMiss. A Loader's error comes back unless a stale value can be served instead. Get
// returns when ctx ends, with ctx's error.
//
// However many callers ask for one key at a time, one of them asks the tiers and the Loader.
func (c *Cache[V]) Get(ctx context.Context, key string) (V, error) {
	if v, ok := c.hit(key); ok {
		return v, nil
	}
	return c.value(c.getSlow(ctx, key, c.load))
}

// GetOrLoad is [Cache.Get] with load in place of the configured Loader. Callers of one key at a
// time share one load, whichever of them brought it.
func (c *Cache[V]) GetOrLoad(ctx context.Context, key string, load LoaderFunc[V]) (V, error) {
	if load == nil { // before the hit: a mistake that shows on a miss alone is found in production
		var zero V
		return zero, errNilLoad
	}
	if v, ok := c.hit(key); ok {
		return v, nil
	}
	return c.value(c.getSlow(ctx, key, asLoad[V](load)))
}

var errNilLoad = errors.New("cache: GetOrLoad with a nil function")

// hit returns the value of a fresh L1 entry: the whole of most reads. Nothing is allocated,
// decoded or locked here.
func (c *Cache[V]) hit(key string) (v V, ok bool) {
	if c.l1 == nil {
		return v, false
	}
	e, s := c.l1.Get(key)
	if s != ristretto.Fresh || e.absent() {
		return v, false
	}
	c.count.Inc(int(countL1Hits))
	if c.cfg.Clone != nil {
		return c.cfg.Clone(e.value), true
	}
	return e.value, true
}

// value turns an entry into what the caller gets.
func (c *Cache[V]) value(e *entry[V], err error) (V, error) {
	var zero V
	switch {
	case err != nil:
		return zero, err
	case e.absent:
		return zero, ErrMiss
	}
	return c.out(e.value), nil
}

// getSlow is Get without a plain L1 hit. load is nil for a read that does not load.
func (c *Cache[V]) getSlow(ctx context.Context, key string, load loadFunc[V]) (*entry[V], error) {
	if err := c.check("get", key); err != nil {
		return nil, err
	}
	k, s := c.fromL1(key)
	if s == ristretto.Fresh {
		if k.absent() {
			return nil, ErrMiss
		}
		return k.entry(), nil // filled since the caller looked
	}
	if p := c.fromPending(key); p != nil {
		return p, nil
	}
	if s == ristretto.Stale {
		return c.getStale(ctx, key, k.entry(), load)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e, err := c.fly(ctx, key, load, nil)
	if err == nil && e.due {
		return c.getStale(ctx, key, e, load) // only now: until here the key's flight was the read
	}
	return e, err
}

// fromL1 looks into L1 and counts what it found.
func (c *Cache[V]) fromL1(key string) (*kept[V], ristretto.State) {
	if c.l1 == nil {
		return nil, ristretto.Miss
	}
	e, s := c.l1.Get(key)
	switch s {
	case ristretto.Fresh:
		c.count.Inc(int(countL1Hits))
	case ristretto.Stale:
		c.count.Inc(int(countL1Stale))
	default:
		c.count.Inc(int(countL1Misses))
	}
	return e, s
}

// fromPending returns the mutation that the Writer has accepted and not yet applied, as an
// entry; nil if there is none.
func (c *Cache[V]) fromPending(key string) *entry[V] {
	if c.pending == nil {
		return nil
	}
	m, ok := c.pending.Pending(key)
	if !ok {
		return nil
	}
	c.count.Inc(int(countPending))
	e := &entry[V]{value: m.Value, absent: m.Delete, version: m.Version, source: fromWriter, created: c.clock.Wall()}
	if m.TTL > 0 {
		e.expires = e.created + ceilMs(m.TTL)
	}
	return e
}

// getStale serves an entry whose refresh is due, from L1 or a remote tier: at once if it is only due early or nobody
// wants to wait, else after SoftTimeout at the latest. One flight refreshes it meanwhile.
func (c *Cache[V]) getStale(ctx context.Context, key string, e *entry[V], load loadFunc[V]) (*entry[V], error) {
	if load == nil {
		return e, nil
	}
	stale := e.staleAt(c.clock.Wall())
	if stale {
		c.count.Inc(int(countServedStale))
	}
	if !stale || c.cfg.Load.SoftTimeout == 0 {
		c.refresh(ctx, key, e, load)
		return e, nil
	}
	soft, cancel := context.WithTimeout(ctx, c.cfg.Load.SoftTimeout)
	defer cancel()
	fresh, err := c.fly(soft, key, load, e)
	switch {
	case err == nil, errors.Is(err, ErrMiss):
		return fresh, err
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return e, nil
}

// staleAt reports whether e is past its fresh time.
func (e *entry[V]) staleAt(now int64) bool { return e.fresh != 0 && now >= e.fresh }

// goneAt reports whether e is past its lifetime.
func (e *entry[V]) goneAt(now int64) bool { return e.expires != 0 && now >= e.expires }

// left is what remains of e's lifetime; 0 = no limit. Ask goneAt first.
func (e *entry[V]) left(now int64) time.Duration {
	if e.expires == 0 {
		return 0
	}
	return time.Duration(max(e.expires-now, 1)) * time.Millisecond
}

// ceilMs is d in milliseconds, rounded up.
func ceilMs(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }
