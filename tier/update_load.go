package tier

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// load is an attempt on an absent key where there is a Loader: the lease that is taken before the
// load is what the write depends on, so that a record that is invalidated meanwhile leaves nothing
// behind.
func (u *update[V]) load(ctx context.Context, s seen[V]) (V, error) {
	var zero V
	lease, _, err := u.wait(ctx)
	switch {
	case errors.Is(err, errAgain):
		return zero, err
	case err != nil:
		return zero, u.unsure(ctx, definite(ctx, err))
	case lease == nil:
		return u.attempt(ctx) // somebody has filled it
	}
	kept := false
	defer func() {
		if !kept {
			u.c.release(ctx, u.key, u.right(lease))
		}
	}()
	old, err := u.loaded(ctx, s)
	if err != nil {
		return zero, u.unsure(ctx, err)
	}
	w, err := u.next(s, old)
	switch {
	case errors.Is(err, ErrDelete):
		return zero, u.unsure(ctx, nil)
	case err != nil:
		return zero, u.unsure(ctx, err)
	}
	err = u.lv.fillUnder(ctx, u.key, lease, u.c.writeItem(u.lv, w))
	kept = err == nil
	return u.outcome(ctx, w, backends.Token{}, err)
}

// wait acquires the lease on the key. While another process loads, it waits for it, and gives up
// with errAgain. No lease and no error: the key has been filled.
func (u *update[V]) wait(ctx context.Context) (backends.Lease, backends.Item, error) {
	start := u.c.clock.Precise()
	for {
		lease, it, err := u.lv.acquire(ctx, u.key, u.c.hold())
		if errors.Is(err, backends.ErrHeldOff) {
			err = u.lv.wrapAny("update", u.key, err)
		} else if errors.Is(err, backends.ErrLeased) {
			waited := time.Duration(u.c.clock.Precise() - start)
			if waited >= u.c.waitTime() {
				return nil, it, errAgain
			}
			d := min(max(waited/pollShare, pollFirst), pollLast)
			if err := sleep(ctx, d/2+rand.N(d)); err != nil {
				return nil, it, err
			}
			continue
		}
		return lease, it, err
	}
}

// right is lease as the cache gives leases back.
func (u *update[V]) right(lease backends.Lease) right {
	r := right{leases: make([]backends.Lease, len(u.c.levels))}
	r.leases[u.lv.index] = lease
	return r
}

// loaded calls the Loader; nil where the source has no such record.
func (u *update[V]) loaded(ctx context.Context, s seen[V]) (*entry[V], error) {
	c := u.c
	l, took, err := c.callLoader(ctx, u.key, c.load, nil)
	switch {
	case errors.Is(err, ErrMiss):
		return nil, nil
	case err != nil:
		return nil, err
	}
	e := c.newEntry(l.Value, false, c.lifetimeOf(false, l.TTL, l.Fresh), l.Version, took, fromLoader)
	e.generation = s.made.generation
	tags, ok := c.stampTags(ctx, s.made, l.Tags)
	if !ok {
		return nil, errAgain // a tag was invalidated while the load ran
	}
	e.tags = tags
	return e, nil
}
