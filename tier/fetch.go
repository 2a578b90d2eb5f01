package tier

import (
	"context"
	"errors"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/ristretto"
	"github.com/hearthcache/hearth/codec"
	"github.com/hearthcache/hearth/internal/fence"
)

// fly joins the flight for key, or starts one that asks the tiers and then load. old is the
// stale entry that is to be replaced, if there is one: then the tiers' fresh values are taken
// and their stale ones are not.
func (c *Cache[V]) fly(ctx context.Context, key string, load loadFunc[V], old *entry[V]) (*entry[V], error) {
	e, joined, err := c.flyOnce(ctx, key, load, old)
	if joined && err == nil && old == nil && c.mustLookAgain(e) {
		return first(c.flyOnce(ctx, key, load, nil))
	}
	return e, err
}

func (c *Cache[V]) flyOnce(ctx context.Context, key string, load loadFunc[V], old *entry[V]) (e *entry[V], joined bool, err error) {
	group := &c.lookups
	if load != nil {
		group = &c.loads
	}
	ctx, hard := c.patience(ctx, load)
	defer hard()
	e, joined, err = group.Do(ctx, key, c.flightTime(load), func(ctx context.Context) (*entry[V], error) {
		if !c.begin() {
			return nil, ErrClosed
		}
		defer c.tasks.Done()
		return c.fetch(nobodys{ctx}, key, load, old)
	})
	if err != nil && context.Cause(ctx) == ErrLoadTimeout {
		return nil, joined, ErrLoadTimeout
	}
	return e, joined, err
}

func first[V any](e *entry[V], _ bool, err error) (*entry[V], error) { return e, err }

// mustLookAgain reports whether a reader that joined a flight must not take its word e. The
// flight may have read a remote tier, or the source, before another process invalidated the key,
// and this reader may have come after that. So it joins or starts one more flight, which began
// after it came, and which finds in the remote tier what the first one left there: a round trip
// more for all who joined, no load. With an L1 the flight's value is what L1 holds now, and is
// allowed to be as old as anything in L1; where the remote tiers were not told of the value, they
// have no other.
func (c *Cache[V]) mustLookAgain(e *entry[V]) bool {
	if c.l1 != nil && c.fillable() || fence.Removed(fence.Flight) {
		return false
	}
	return e.source >= 0 || e.offered
}

// nobodys marks the context of work that no caller waits in: it ends by its deadline, so a store
// that keeps deadlines needs no goroutine beside it.
type nobodys struct{ context.Context }

// patience is ctx with the end that Load.HardTimeout sets to a reader's wait.
func (c *Cache[V]) patience(ctx context.Context, load loadFunc[V]) (context.Context, context.CancelFunc) {
	if load == nil || c.cfg.Load.HardTimeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, c.cfg.Load.HardTimeout, ErrLoadTimeout)
}

// flightTime bounds a flight: every level's timeout twice (read, fill) and the load.
func (c *Cache[V]) flightTime(load loadFunc[V]) time.Duration {
	var d time.Duration
	for _, lv := range c.levels {
		d += 2 * lv.timeout
	}
	if load != nil {
		d += c.waitTime() + c.cfg.Load.Timeout
	}
	return d + time.Second
}

// found is what the walk over the remote tiers brought.
type found[V any] struct {
	e    *entry[V]
	item backends.Item // as the level gave it
	at   int           // the level; len(levels) when nothing was found
	err  error         // failures on the way, joined; nil when every level has answered
}

// read asks the levels from near to far for key. A level that fails is noted and passed over.
func (c *Cache[V]) read(ctx context.Context, key string) found[V] {
	var errs []error
	for i := range c.levels {
		f := c.readAt(ctx, key, i)
		if f.e != nil {
			return f
		}
		if f.err != nil {
			errs = append(errs, f.err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return found[V]{at: len(c.levels), err: errors.Join(errs...)}
}

// readAt asks one level for key.
func (c *Cache[V]) readAt(ctx context.Context, key string, i int) found[V] {
	lv := c.levels[i]
	it, err := lv.get(ctx, key)
	if err == nil {
		var e *entry[V]
		if e, err = c.accept(ctx, lv, key, it, c.clock.Wall(), nil); err == nil {
			lv.count(levelHits)
			return found[V]{e: e, item: it, at: i}
		}
	}
	if errors.Is(err, ErrMiss) {
		lv.count(levelMisses)
		err = nil
	}
	return found[V]{at: len(c.levels), err: err}
}

// accept decodes what lv returned. Unreadable bytes are a counted miss: a value of another
// client is left alone, our own that is damaged is removed if it is still the same. now and into
// are as for [Cache.decode].
func (c *Cache[V]) accept(ctx context.Context, lv *level, key string, it backends.Item, now int64, into *entry[V]) (*entry[V], error) {
	e, err := c.decode(ctx, key, it, lv.index, now, into)
	if errors.Is(err, errCleared) {
		lv.discard(ctx, key, it.Token)
		return nil, ErrMiss
	}
	if !errors.Is(err, codec.ErrUnreadable) {
		return e, err
	}
	lv.count(levelUnreadable)
	c.observe(ctx, Event{Kind: EventUnreadable, Key: key, Tier: lv.name, Err: err})
	if errors.Is(err, codec.ErrCorrupt) {
		lv.discard(ctx, key, it.Token)
	}
	return nil, ErrMiss
}

// fetch is one flight: L1 once more, then the remote tiers, then the load.
func (c *Cache[V]) fetch(ctx context.Context, key string, load loadFunc[V], old *entry[V]) (*entry[V], error) {
	stamp := c.stamp(key)
	if old == nil && c.l1 != nil {
		// Somebody may have filled it between this caller's look and its flight.
		if k, s := c.l1.Get(key); s == ristretto.Fresh {
			return k.entry(), nil
		}
	}
	f := c.read(ctx, key)
	now := c.clock.Wall()
	switch {
	case f.e != nil && old != nil && load != nil && f.e.staleAt(now): // this flight is the refresh
		return c.reload(ctx, key, stamp, f, load)
	case f.e != nil:
		f.e.due = load != nil && c.isDue(f.e, now)
		c.keep(key, stamp, f)
		return f.e, nil
	case load == nil:
		if f.err != nil {
			return nil, f.err
		}
		return nil, ErrMiss
	}
	return c.loadMissing(ctx, key, stamp, load, old, f)
}

// keep puts what a remote tier had into L1 and sends it on its way to the nearer tiers.
func (c *Cache[V]) keep(key string, stamp ristretto.Stamp, f found[V]) {
	c.putL1(key, stamp, f.e, int64(len(f.item.Value)))
	if f.at > 0 {
		c.promote(key, f.at)
	}
}

// stamp captures the L1 epoch of key; it must be taken before any tier or loader is asked.
func (c *Cache[V]) stamp(key string) (s ristretto.Stamp) {
	if c.l1 != nil {
		s = c.l1.Stamp(key)
	}
	return s
}

// putL1 fills L1 with e unless the key was invalidated since stamp. size is that of its frame,
// 0 if there is none.
func (c *Cache[V]) putL1(key string, stamp ristretto.Stamp, e *entry[V], size int64) {
	if c.l1 == nil || !c.fillable() {
		return
	}
	soft, hard := c.deadlines(e)
	if hard < 0 || c.overtaken(key) {
		return
	}
	if fence.Removed(fence.Epoch) {
		stamp = c.l1.Stamp(key)
	}
	k := e.kept()
	c.countFenced(key, stamp, c.l1.Put(key, stamp, &k, c.cost(e, size), soft, hard))
}

// overtaken reports whether the Writer has accepted a mutation of key that the source has not
// taken yet: what was read is older then, and L1 would answer with it before Pending is asked.
// Asked after the read, that is enough: a mutation that is done by now has moved the epoch.
func (c *Cache[V]) overtaken(key string) bool {
	if c.pending == nil {
		return false
	}
	_, ok := c.pending.Pending(key)
	return ok
}

// cost is what e is charged in L1, on top of what that adds for every entry.
func (c *Cache[V]) cost(e *entry[V], size int64) int64 { return c.size(e, size) + keptOverhead }

func (c *Cache[V]) size(e *entry[V], size int64) int64 {
	switch {
	case e.absent:
		return negativeCost
	case c.cfg.Local.Cost != nil:
		return max(c.cfg.Local.Cost(e.value), 1)
	case size > 0:
		return size
	}
	return unsizedCost
}

// deadlines turns e's wall times into L1's monotonic ones: soft, when a refresh is due, and
// hard, when it is gone from L1; hard < 0 if it is gone already.
func (c *Cache[V]) deadlines(e *entry[V]) (soft, hard int64) {
	wall := c.clock.Wall()
	if e.goneAt(wall) {
		return 0, -1
	}
	now := c.clock.Now()
	hard = now + int64(c.localTTL())
	if e.expires != 0 {
		hard = min(hard, now+int64(e.left(wall)))
	}
	if due := c.earlyAt(e); due != 0 {
		soft = max(now+(due-wall)*int64(time.Millisecond), 1)
	}
	return soft, hard
}
