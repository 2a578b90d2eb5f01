package tier

import (
	"context"
	"errors"

	"github.com/hearthcache/hearth/backends"
)

// promote copies key from level at to the nearer levels, in the background. The leases on the
// nearer levels are taken before the farther one is read again: a value that is deleted in
// between (far first, near last) can then not come back, because the delete kills the lease.
// The bytes are the far level's own, the lifetime is what remains of it.
func (c *Cache[V]) promote(key string, at int) {
	c.background(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, c.flightTime(nil))
		defer cancel()
		c.copyNearer(nobodys{ctx}, key, at)
	})
}

func (c *Cache[V]) copyNearer(ctx context.Context, key string, at int) {
	r := right{leases: make([]backends.Lease, len(c.levels))}
	some := false
	for i := range at {
		lv := c.levels[i]
		if lv.caps.Leaser == nil {
			continue // no fence, no promotion: this level is filled by loads and sets alone
		}
		if lease, _, err := lv.acquire(ctx, key, c.hold()); err == nil && lease != nil {
			r.leases[i], some = lease, true
		}
	}
	if !some {
		return
	}
	it, err := c.levels[at].get(ctx, key)
	var e *entry[V]
	if err == nil {
		e, err = c.decode(ctx, key, it, at, c.clock.Wall(), nil)
	}
	if err != nil {
		if !errors.Is(err, ErrMiss) {
			c.observe(ctx, Event{Kind: EventPromoteFailed, Key: key, Tier: c.levels[at].name, Err: err})
		}
		c.release(ctx, key, r)
		return
	}
	c.fill(ctx, key, r, e, it.Value)
	c.count.Inc(int(countPromotions))
}
