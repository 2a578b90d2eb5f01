package tier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hearthcache/hearth/backends/ristretto"
	"github.com/hearthcache/hearth/internal/flight"
)

// PanicError is what everyone who waits gets when a Loader panics: the value and the stack.
type PanicError = flight.PanicError

// loadMissing loads a key that is in no tier: under a lease, so that one process does it and
// nothing that was invalidated meanwhile is stored.
func (c *Cache[V]) loadMissing(ctx context.Context, key string, stamp ristretto.Stamp, load loadFunc[V], old *entry[V], f found[V]) (*entry[V], error) {
	if len(c.levels) == 0 { // nobody to ask for the right
		return c.loadUnder(ctx, key, stamp, right{}, load, old)
	}
	r, got, err := c.win(ctx, key)
	if err != nil {
		return nil, err
	}
	if got != nil { // another process has loaded it
		c.keep(key, stamp, *got)
		return got.e, nil
	}
	return c.loadUnder(ctx, key, stamp, r, load, old)
}

// loadUnder loads and fills with the right r, which it always gives back.
func (c *Cache[V]) loadUnder(ctx context.Context, key string, stamp ristretto.Stamp, r right, load loadFunc[V], old *entry[V]) (*entry[V], error) {
	if err := c.failed.recall(key); err != nil {
		c.release(ctx, key, r)
		return nil, err
	}
	m := c.beforeLoad(ctx)
	l, took, err := c.callLoader(ctx, key, load, old)
	absent := errors.Is(err, ErrMiss)
	switch {
	case absent && c.cfg.NegativeTTL == 0, err == nil && l.NoStore, err != nil && !absent:
		c.release(ctx, key, r)
		if err != nil && !absent {
			c.failed.remember(key, err)
		}
		if err == nil {
			return c.newEntry(l.Value, false, c.lifetimeOf(false, l.TTL, l.Fresh), l.Version, took, fromLoader), nil
		}
		return nil, err
	}
	e := c.newEntry(l.Value, absent, c.lifetimeOf(absent, l.TTL, l.Fresh), l.Version, took, fromLoader)
	e.generation = m.generation
	var ok bool
	if e.tags, ok = c.stampTags(ctx, m, l.Tags); !ok || !m.known {
		c.release(ctx, key, r) // it cannot be told whether this was cleared meanwhile
		return e, nil
	}
	frame, err := c.encodeFor(ctx, key, e, r)
	if err != nil {
		return nil, err
	}
	e.offered = r.fill
	c.fill(ctx, key, r, e, frame)
	c.putLoaded(key, stamp, r, e, int64(len(frame)))
	return e, nil
}

// putLoaded fills L1 with what was loaded under r: not at all while fills are held off, and where
// no remote tier could take it for a moment only, since nobody else knows of it; not even that if
// news of it could not arrive.
func (c *Cache[V]) putLoaded(key string, stamp ristretto.Stamp, r right, e *entry[V], size int64) {
	if r.held {
		return
	}
	if !r.fill && len(c.levels) > 0 {
		if !r.stored && !c.hearsUnstored() {
			return
		}
		brief := *e
		brief.expires = min(brief.expires, c.clock.Wall()+ceilMs(shortTTL))
		e = &brief
	}
	c.putL1(key, stamp, e, size)
}

// encodeFor encodes e for the remote tiers; with none there is nothing to encode. An encoder
// that fails gives the right back.
func (c *Cache[V]) encodeFor(ctx context.Context, key string, e *entry[V], r right) ([]byte, error) {
	if len(c.levels) == 0 {
		return nil, nil
	}
	frame, err := c.encode(key, e, 0)
	if err != nil {
		c.release(ctx, key, r)
		return nil, fmt.Errorf("cache: encode %q: %w", key, err)
	}
	return frame, nil
}

// callLoader runs load within its bounds: a slot, a deadline, and no panic gets out. It returns
// how long the load took.
func (c *Cache[V]) callLoader(ctx context.Context, key string, load loadFunc[V], old *entry[V]) (l Loaded[V], took time.Duration, err error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return l, 0, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Load.Timeout)
	defer cancel()
	start := c.clock.Precise()
	l, err = c.guarded(ctx, cancel, key, load, c.oldOf(old))
	if _, ok := errors.AsType[*PanicError](err); ok || errors.Is(err, flight.ErrGoexit) {
		err = fmt.Errorf("cache: load of %q: %w", key, err)
	}
	took = time.Duration(c.clock.Precise() - start)
	c.count.Inc(int(countLoads))
	switch {
	case err == nil:
		c.lastLoad.Store(int64(took))
		if l.NotModified && old == nil {
			err = fmt.Errorf("cache: load of %q said not modified, but there was no old value", key)
		} else if l.NotModified {
			l.Value, l.Version = old.value, old.version
		}
	case !errors.Is(err, ErrMiss):
		c.count.Inc(int(countLoadErrors))
		c.observe(ctx, Event{Kind: EventLoadFailed, Key: key, Err: err, Took: took})
	}
	return l, took, err
}

// oldOf is e as a loader sees it.
func (c *Cache[V]) oldOf(e *entry[V]) Old[V] {
	if e == nil || e.absent {
		return Old[V]{}
	}
	return Old[V]{Value: e.value, OK: true, Version: e.version, Age: time.Duration(max(c.clock.Wall()-e.created, 0)) * time.Millisecond}
}
