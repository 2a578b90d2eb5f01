package tier

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/fence"
)

// right is the permission to fill the remote tiers with a key: one lease per level that grants
// any, nil where a level has none to give or could not be asked.
type right struct {
	leases []backends.Lease // by level
	fill   bool             // false: load, but fill nothing remote
	held   bool             // fills are held off: not even L1 may keep what is loaded
	stored bool             // a level holds something that cannot be read, so it tells of changes
}

// acquired is what asking for the right to load a key has come to.
type acquired[V any] struct {
	right right
	found *found[V] // what somebody has filled meanwhile
	busy  bool      // another process has the lease

	decided bool // a level has answered; nearer ones only fence their own fills
}

// acquire asks for the right to load key. The farthest level that answers decides: one process
// at a time is told to load. The leases on nearer levels fence their fills only.
//
// Exactly one of these comes back: a right, or the item that somebody filled meanwhile (found),
// or errBusy. A right may have fill == false: the levels could not be asked, or hold fills off.
func (c *Cache[V]) acquire(ctx context.Context, key string) (right, *found[V], error) {
	a := acquired[V]{right: right{leases: make([]backends.Lease, len(c.levels))}}
	for i := len(c.levels) - 1; i >= 0; i-- {
		lv := c.levels[i]
		if lv.caps.Leaser == nil {
			a.unfenced(lv, key)
			continue
		}
		lease, it, err := lv.acquire(ctx, key, c.hold())
		if !c.answered(ctx, lv, key, lease, it, err, &a) {
			break
		}
	}
	if a.busy {
		return right{}, nil, errBusy
	}
	return a.right, a.found, nil
}

// unfenced takes in that lv has no leases: there is nobody to ask.
func (a *acquired[V]) unfenced(lv *level, key string) {
	if !a.decided && lv.barred(key) == nil {
		a.right.fill, a.decided = true, true
	}
}

// answered takes in what lv said when it was asked for a lease, and reports whether the nearer
// levels are to be asked too.
func (c *Cache[V]) answered(ctx context.Context, lv *level, key string, lease backends.Lease, it backends.Item, err error, a *acquired[V]) bool {
	switch {
	case err == nil && lease != nil:
		a.right.leases[lv.index], a.right.fill = lease, true
		a.decided = true
	case a.decided:
	case err == nil:
		if e, derr := c.accept(ctx, lv, key, it, c.clock.Wall(), nil); derr == nil {
			a.found = &found[V]{e: e, item: it, at: lv.index}
			return false
		}
		a.decided, a.right.stored = true, true // unreadable: load, fill nothing here
	case errors.Is(err, backends.ErrHeldOff):
		c.count.Inc(int(countHeldOff))
		a.right.held = true
		return false
	case errors.Is(err, backends.ErrLeased):
		a.busy = true
		return false
	}
	return true
}

// errBusy: another process has the lease.
var errBusy = errors.New("cache: another process is loading")

// hold is how long a lease is asked for.
func (c *Cache[V]) hold() time.Duration {
	if c.cfg.Load.Lease > 0 {
		return c.cfg.Load.Lease
	}
	last := time.Duration(c.lastLoad.Load())
	return min(defaultLease+3*last, c.cfg.Load.Timeout+time.Second)
}

// waitTime is how long a reader waits for another process's load.
func (c *Cache[V]) waitTime() time.Duration {
	if c.cfg.Load.Wait > 0 {
		return c.cfg.Load.Wait
	}
	return c.hold()
}

// Polling of a leased key: the pause is a share of the time waited so far, so that a reader is
// late by a few percent of the load it waits for, whatever its length, and asks the server some
// dozens of times: 42 times for a load of 50 ms, to be late by 2.6 ms at most.
const (
	pollShare = 24
	pollFirst = time.Millisecond
	pollLast  = 50 * time.Millisecond
)

// pollPause is how long to leave a leased key alone after waiting for so long, with some jitter.
func pollPause(waited time.Duration) time.Duration {
	next := min(max(waited/pollShare, pollFirst), pollLast)
	return next*3/4 + rand.N(next/2)
}

// win waits until it has the right to load key or somebody else has filled it. When the wait is
// over before either, the right it returns fills nothing.
func (c *Cache[V]) win(ctx context.Context, key string) (right, *found[V], error) {
	start := c.clock.Precise()
	for {
		woken := c.waiters.join(key) // before the question: a fill that comes after it is not missed
		r, f, err := c.acquire(ctx, key)
		if err == nil {
			c.waiters.leave(key, woken)
			return r, f, nil
		}
		c.count.Inc(int(countLeaseWaits))
		waited := time.Duration(c.clock.Precise() - start)
		if waited >= c.waitTime() {
			c.waiters.leave(key, woken)
			c.count.Inc(int(countLeaseGiveUps))
			return right{leases: make([]backends.Lease, len(c.levels))}, nil, nil
		}
		err = waitFor(ctx, pollPause(waited), woken)
		c.waiters.leave(key, woken)
		if err != nil {
			return right{}, nil, err
		}
	}
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release gives all leases of r back. It runs even when ctx has ended.
func (c *Cache[V]) release(ctx context.Context, key string, r right) {
	if !slices.ContainsFunc(r.leases, func(l backends.Lease) bool { return l != nil }) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	for i, lease := range r.leases {
		if lease != nil {
			c.levels[i].release(ctx, key, lease)
		}
	}
}

// releaseTime bounds giving leases back; they run out by themselves anyway.
const releaseTime = time.Second

// fill stores the frame of e in the levels, far to near, each under its lease.
func (c *Cache[V]) fill(ctx context.Context, key string, r right, e *entry[V], frame []byte) {
	for i := len(c.levels) - 1; i >= 0; i-- {
		lv := c.levels[i]
		it, ok := c.item(lv, frame, e)
		if !ok {
			continue
		}
		if lease := r.leases[i]; fence.Removed(fence.Lease) {
			lv.fillUnfenced(ctx, key, it)
		} else if lease != nil {
			lv.fill(ctx, key, lease, it)
		} else if r.fill && lv.caps.Leaser == nil {
			lv.fillUnfenced(ctx, key, it)
		}
	}
}
