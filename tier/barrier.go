package tier

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/hearthcache/hearth/codec"
)

// Barriers turns on [Cache.Clear] and tags.
//
// A barrier is a counter in the authority (the farthest remote tier). Every stored value carries
// the counts that were current before it was loaded; a value whose counts are not the current
// ones is a miss. Clearing is counting up, in constant time, and the server's order decides: no
// clock is compared, and no list of keys is kept. A counter that the server lost begins anew at
// the time of day, in milliseconds, which no earlier count has reached: what was stored before
// is then a miss, never the other way round. A server that comes back with older data than it had
// (a snapshot, a restored file) brings an older count with it; the first process that knew a newer
// one counts on from there, and what the server brought back is a miss.
type Barriers struct {
	// Enabled turns them on. They need a Namespace, and an authority that counts.
	Enabled bool

	// MaxAge is how old this process's knowledge of a barrier may be. Another process's Clear is
	// noticed that much later at the latest, and sooner through the Invalidator. It costs one
	// round trip per MaxAge and barrier in use. 0 = 1 s.
	MaxAge time.Duration
}

// maxBarriers bounds what is remembered about tags; beyond it everything is asked anew.
const maxBarriers = 1 << 16

// Names of the two barriers that every namespace has. Tags are "t:" and a hash.
const (
	barrierAll  = "g" // counts Clear
	barrierTags = "T" // counts every InvalidateTags, before the tag's own barrier is counted
)

// barriers is what this process knows about its namespace's barriers.
type barriers struct {
	on     bool
	lv     *level // the authority
	prefix string
	maxAge time.Duration
	now    func() int64 // precise clock, ns
	wall   func() int64 // Unix ms

	mu    sync.Mutex
	known map[string]known
}

type known struct {
	count uint64
	at    int64
}

// newBarriers checks that the barriers can work.
func (c *Cache[V]) newBarriers() (*barriers, error) {
	b := &barriers{on: c.cfg.Barriers.Enabled, maxAge: c.cfg.Barriers.MaxAge, now: c.clock.Precise, wall: c.clock.Wall, known: map[string]known{}}
	if !b.on {
		return b, nil
	}
	if c.cfg.Namespace == "" || len(c.levels) == 0 {
		return nil, errors.New("tier: Config.Barriers: they need a Namespace and a remote tier")
	}
	b.lv = c.levels[len(c.levels)-1]
	b.prefix = c.cfg.Namespace + "!" // no key of any namespace begins like this: they go on with ':'
	if b.lv.caps.Incrementer == nil {
		return nil, fmt.Errorf("tier: Config.Barriers: %s cannot count: %w", b.lv.name, ErrUnsupported)
	}
	for _, lv := range c.levels {
		lv.clear = c.clearLost
	}
	return b, nil
}

// ask adds delta to the barrier on the server and remembers the result. With 0 it reads; a
// barrier that is not there is made, and one that went back is counted beyond where it was.
func (b *barriers) ask(ctx context.Context, name string, delta int64) (uint64, error) {
	at, least := b.now(), b.least(name) // before the question: what changes while it is under way is seen next time
	n, err := b.lv.increment(ctx, b.prefix+name, delta, b.wall())
	if err == nil && uint64(n) < least {
		n, err = b.lv.increment(ctx, b.prefix+name, int64(least-uint64(n))+1, b.wall())
	}
	if err != nil {
		return 0, err
	}
	return b.learn(name, uint64(n), at), nil
}

// least is what the barrier has reached for all that is known.
func (b *barriers) least(name string) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known[name].count
}

// learn remembers an answer to a question asked at a time, and returns the newest there was: of
// two answers the one that was given first can come last.
func (b *barriers) learn(name string, count uint64, at int64) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	k, ok := b.known[name]
	if ok && k.count > count {
		return k.count
	}
	if !ok && len(b.known) >= maxBarriers {
		clear(b.known)
	}
	b.known[name] = known{count: count, at: max(at, k.at)}
	return count
}

// current returns the barrier's count, at most maxAge old, and whether it is another than the
// one this process knew before.
func (b *barriers) current(ctx context.Context, name string) (count uint64, changed bool, err error) {
	b.mu.Lock()
	k, ok := b.known[name]
	b.mu.Unlock()
	if ok && b.now()-k.at < int64(b.maxAge) {
		return k.count, false, nil
	}
	count, err = b.ask(ctx, name, 0)
	return count, err == nil && ok && count != k.count, err
}

// expire makes everything known too old.
func (b *barriers) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, k := range b.known {
		k.at = b.now() - int64(b.maxAge)
		b.known[name] = k
	}
}

// Clear makes every tier forget every key of the namespace, in constant time, whatever their
// number; other namespaces on the same servers are not touched. In this process it holds at
// once, in others within Barriers.MaxAge for remote tiers, and for their L1 at the speed of the
// Invalidator or within Local.TTL. It needs Config.Barriers; a local cache needs nothing.
// [ErrUnsupported] otherwise. An error that is [ErrUntold] and no other says that all was cleared
// here, and that others' L1 are told later.
func (c *Cache[V]) Clear(ctx context.Context) error {
	if c.closed.Load() {
		return ErrClosed
	}
	if !c.barriers.on {
		if len(c.levels) > 0 {
			return fmt.Errorf("cache: clear without Config.Barriers: %w", ErrUnsupported)
		}
		c.flushL1()
		return c.tellAll(ctx)
	}
	return c.bump(ctx, barrierAll)
}

// InvalidateTags makes every tier forget the values that were stored with one of tags, in
// constant time per tag. The L1 of this process, and through the Invalidator those of others,
// forget everything: they fill again from the remote tiers. It promises what [Cache.Clear] does,
// and needs Config.Barriers.
func (c *Cache[V]) InvalidateTags(ctx context.Context, tags ...string) error {
	if c.closed.Load() {
		return ErrClosed
	}
	if !c.barriers.on {
		return fmt.Errorf("cache: tags without Config.Barriers: %w", ErrUnsupported)
	}
	if len(tags) == 0 {
		return nil
	}
	names := []string{barrierTags}
	for _, t := range tags {
		names = append(names, tagName(tagID(t)))
	}
	return c.bump(ctx, names...)
}

// bump counts the named barriers up, in order, and makes L1 forget everything.
func (c *Cache[V]) bump(ctx context.Context, names ...string) error {
	err := c.countUp(ctx, names)
	c.flushL1()
	return errors.Join(err, c.tellAll(ctx))
}

// clearLost is Clear for keys that an outbox had no room for. Others who could not be told are owed
// that by themselves; it is no reason to clear again.
func (c *Cache[V]) clearLost(ctx context.Context) error {
	err := c.countUp(ctx, []string{barrierAll})
	c.flushL1()
	_ = c.tellAll(ctx)
	return err
}

// countUp counts the named barriers up, in order.
func (c *Cache[V]) countUp(ctx context.Context, names []string) error {
	var errs []error
	for _, name := range names {
		if _, err := c.barriers.ask(ctx, name, 1); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// flushL1 drops everything from L1 and parts later readers from flights that began before.
func (c *Cache[V]) flushL1() {
	if c.l1 != nil {
		c.l1.Flush()
	}
	c.loads.ForgetAll()
	c.lookups.ForgetAll()
}

// tagID is what frames carry of a tag.
func tagID(tag string) uint64 { return xxhash.Sum64String(tag) }

// tagName is the barrier of a tag.
func tagName(id uint64) string { return "t:" + strconv.FormatUint(id, 36) }

// made is what a value is stamped with: the barriers from before its load.
type made struct {
	known      bool // false: the barriers could not be asked; what is loaded must not be stored
	generation uint64
	tagEpoch   uint64
}

// beforeLoad captures the barriers. It must come before the source is asked.
func (c *Cache[V]) beforeLoad(ctx context.Context) made {
	if !c.barriers.on {
		return made{known: true}
	}
	gen, changed, err := c.barriers.current(ctx, barrierAll)
	if changed {
		c.flushL1()
	}
	m := made{known: err == nil, generation: gen}
	if m.known && c.tagged.Load() {
		m.tagEpoch, err = c.barriers.ask(ctx, barrierTags, 0)
		m.known = err == nil
	}
	return m
}

// stampTags returns the stamps for tags that only the load could name. A tag that was
// invalidated while the load ran would make the value look newer than it is; the barrier that
// counts all of them tells. ok is false if one was, or nobody can tell: the value must then not
// be stored.
func (c *Cache[V]) stampTags(ctx context.Context, m made, tags []string) (stamps []codec.TagStamp, ok bool) {
	if len(tags) == 0 {
		return nil, true
	}
	if !c.barriers.on {
		return nil, true // tags mean nothing here
	}
	first := !c.tagged.Swap(true)
	for _, t := range tags {
		id := tagID(t)
		n, _, err := c.barriers.current(ctx, tagName(id))
		if err != nil {
			return nil, false
		}
		stamps = append(stamps, codec.TagStamp{ID: id, Barrier: n})
	}
	epoch, err := c.barriers.ask(ctx, barrierTags, 0) // last: it is counted up first
	return stamps, err == nil && !first && epoch == m.tagEpoch
}

// errCleared: the value was made before the namespace or one of its tags was cleared. Nobody will
// read it again, and it is in the way of the next fill.
var errCleared = fmt.Errorf("cache: cleared (%w)", ErrMiss)

// behind reports whether h was made before the namespace or one of its tags was cleared:
// errCleared. One that was made after a Clear that this process has not heard of is [ErrMiss].
// Any other error means that the barriers could not be asked.
func (c *Cache[V]) behind(ctx context.Context, h codec.Header) error {
	if !c.barriers.on {
		return nil
	}
	gen, changed, err := c.barriers.current(ctx, barrierAll)
	if err != nil {
		return err
	}
	if changed {
		c.flushL1()
	}
	if h.Generation != gen {
		return missed(h.Generation, gen)
	}
	for _, t := range h.Tags {
		c.tagged.Store(true)
		n, changed, err := c.barriers.current(ctx, tagName(t.ID))
		if err != nil {
			return err
		}
		if changed {
			c.flushL1()
		}
		if n != t.Barrier {
			return missed(t.Barrier, n)
		}
	}
	return nil
}

// missed says why a value with another count than the current one is a miss.
func missed(count, current uint64) error {
	if count < current {
		return errCleared
	}
	return ErrMiss
}

// increment counts at the server; key is the whole key.
func (l *level) increment(ctx context.Context, key string, delta, initial int64) (int64, error) {
	n, err := call(ctx, l, func(ctx context.Context) (int64, error) {
		return l.caps.Incrementer.Increment(ctx, key, delta, initial, 0)
	})
	return n, l.wrap("count", key, err)
}
