package tier

import (
	"context"
	"errors"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/ristretto"
	"github.com/hearthcache/hearth/internal/flight"
)

// refresh replaces e in the background, through the flight of its key: at most one refresh per
// key and process, and with a lease beside the value at most one across processes. Nothing
// happens when too much runs already; the next reader tries again.
func (c *Cache[V]) refresh(ctx context.Context, key string, e *entry[V], load loadFunc[V]) {
	c.startRefresh(ctx, key, e, load).Leave()
}

// startRefresh is refresh that returns the flight, for a reader who waits for it or leaves it.
func (c *Cache[V]) startRefresh(ctx context.Context, key string, e *entry[V], load loadFunc[V]) *flight.Call[*entry[V]] {
	call, leader := c.loads.Join(key)
	if !leader {
		return call
	}
	ctx = context.WithoutCancel(ctx)
	started := c.background(func(life context.Context) {
		ctx, cancel := context.WithTimeout(ctx, c.flightTime(load))
		defer cancel()
		stop := context.AfterFunc(life, cancel)
		defer stop()
		c.count.Inc(int(countRefreshes))
		call.Finish(c.renew(nobodys{ctx}, key, e, load))
	})
	if !started {
		// Followers who joined meanwhile get what this caller got.
		call.Finish(e, nil)
	}
	return call
}

// renew is a refresh: adopt what another process has refreshed already, else reload.
func (c *Cache[V]) renew(ctx context.Context, key string, old *entry[V], load loadFunc[V]) (*entry[V], error) {
	stamp := c.stamp(key)
	f := found[V]{e: old, at: len(c.levels)}
	if len(c.levels) > 0 {
		f = c.read(ctx, key)
	}
	switch {
	case f.e == nil:
		return c.loadMissing(ctx, key, stamp, load, old, f)
	case f.e.created > old.created && !f.e.staleAt(c.clock.Wall()):
		c.keep(key, stamp, f)
		return f.e, nil
	}
	return c.reload(ctx, key, stamp, f, load)
}

// reload loads a value to replace f, the one that was found. It is replaced at the authority,
// and only if that still holds what was read there; nearer tiers then forget the key and are
// filled again behind it. When the load fails, f lives on and the next attempt is put off for
// Load.RetryAfter.
func (c *Cache[V]) reload(ctx context.Context, key string, stamp ristretto.Stamp, f found[V], load loadFunc[V]) (*entry[V], error) {
	if c.delayed.recall(key) != nil {
		return f.e, nil
	}
	far := len(c.levels) - 1
	if far >= 0 && f.at < far {
		g := c.readAt(ctx, key, far)
		switch {
		case g.e == nil:
			return c.reloadMissing(ctx, key, stamp, f, load)
		case g.e.created > f.e.created && !g.e.staleAt(c.clock.Wall()):
			c.forgetNearer(ctx, key)
			c.keep(key, stamp, g)
			return g.e, nil
		}
		f = g
	}
	r, busy := c.acquireRefresh(ctx, key, f)
	if busy {
		c.putOff(key, stamp, f, busyPause) // another process refreshes; look again soon
		return f.e, nil
	}
	return c.reloadUnder(ctx, key, stamp, r, f, load)
}

// reloadMissing is reload where the authority has lost the value that a nearer tier still has.
func (c *Cache[V]) reloadMissing(ctx context.Context, key string, stamp ristretto.Stamp, f found[V], load loadFunc[V]) (*entry[V], error) {
	r, got, err := c.acquire(ctx, key)
	switch {
	case errors.Is(err, errBusy):
		c.putOff(key, stamp, f, busyPause)
		return f.e, nil
	case err != nil:
		return nil, err
	case got != nil:
		c.keep(key, stamp, *got)
		return got.e, nil
	}
	return c.reloadUnder(ctx, key, stamp, r, f, load)
}

// reloadUnder loads under the right r and settles what becomes of f.
func (c *Cache[V]) reloadUnder(ctx context.Context, key string, stamp ristretto.Stamp, r right, f found[V], load loadFunc[V]) (*entry[V], error) {
	e, err := c.loadUnder(ctx, key, stamp, r, load, f.e)
	switch {
	case err == nil:
		c.forgetNearer(ctx, key)
		return e, nil
	case errors.Is(err, ErrMiss): // the record is gone, and negative entries are off
		c.dropGone(ctx, key, f)
		return nil, err
	}
	c.count.Inc(int(countFailSafe))
	c.observe(ctx, Event{Kind: EventFailSafe, Key: key, Err: err})
	if c.l1 == nil || !c.fillable() { // no L1 to keep it in meanwhile
		c.delayed.remember(key, err)
	}
	c.putOff(key, stamp, f, c.cfg.Load.RetryAfter)
	return f.e, nil
}

// forgetNearer makes the tiers in front of the authority forget key, and fills them again in the
// background.
func (c *Cache[V]) forgetNearer(ctx context.Context, key string) {
	far := len(c.levels) - 1
	if far < 1 {
		return
	}
	for i := far - 1; i >= 0; i-- {
		c.levels[i].forget(ctx, []string{key}, DeleteOptions{})
	}
	c.promote(key, far)
}

// busyPause is how long a process leaves a key alone that another process is refreshing.
const busyPause = 100 * time.Millisecond

// acquireRefresh asks the authority, which holds f, for the right to replace that very value.
func (c *Cache[V]) acquireRefresh(ctx context.Context, key string, f found[V]) (r right, busy bool) {
	r = right{leases: make([]backends.Lease, len(c.levels)), fill: len(c.levels) == 0}
	if f.at >= len(c.levels) {
		return r, false
	}
	lv := c.levels[f.at]
	if lv.caps.Refresher == nil || f.item.Token.IsZero() {
		r.fill = lv.caps.Leaser == nil // an unfenced store is simply written
		return r, false
	}
	lease, err := lv.acquireRefresh(ctx, key, f.item.Token, c.hold())
	if errors.Is(err, backends.ErrLeased) {
		return r, true
	}
	if err == nil {
		r.leases[f.at], r.fill = lease, true
	}
	return r, false
}

// putOff keeps the value that is there in L1, as if it were fresh for pause.
func (c *Cache[V]) putOff(key string, stamp ristretto.Stamp, f found[V], pause time.Duration) {
	if c.l1 == nil || !c.fillable() || c.overtaken(key) {
		return
	}
	_, hard := c.deadlines(f.e)
	if hard < 0 {
		return
	}
	k := f.e.kept()
	c.l1.Put(key, stamp, &k, c.cost(f.e, int64(len(f.item.Value))), c.clock.Now()+int64(pause), hard)
}

// dropGone removes a value whose record the source no longer has, if it is still the one read.
func (c *Cache[V]) dropGone(ctx context.Context, key string, f found[V]) {
	if f.at < len(c.levels) {
		c.levels[f.at].discard(ctx, key, f.item.Token)
		for i := f.at - 1; i >= 0; i-- {
			c.levels[i].forget(ctx, []string{key}, DeleteOptions{})
		}
	}
	if c.l1 != nil {
		c.l1.Invalidate(key)
	}
}
