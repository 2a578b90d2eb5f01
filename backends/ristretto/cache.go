package ristretto

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/hearthcache/hearth/internal/clock"
)

// State says what a Get found.
type State uint8

// The states of a key in the cache.
const (
	Miss  State = iota // not there, expired, invalidated, evicted, or the cache is closed
	Fresh              // there, before its soft deadline
	Stale              // there, past its soft deadline and before its hard one
)

// Stamp is what is known of a key's history at one moment: see [Cache.Stamp].
//
// Keys share their counters, so an invalidation also refuses the fills under way of keys that share
// its epoch, which is rare enough. What is stored already stays.
type Stamp struct {
	epoch              uint64
	generation, writes uint32
}

// Cache holds decoded values of this process. The values are shared by all callers, so they must
// not be changed. Safe for concurrent use.
type Cache[T any] struct {
	seed       maphash.Seed
	clock      *clock.Clock
	stopClock  func()
	epochs     []atomic.Uint64
	writes     []atomic.Uint32 // as many as epochs
	epochMask  uint64
	without    without
	maxCost    int64
	maxEntry   int64
	policy     *ristretto.Cache[uint64, struct{}]
	_          [64]byte
	generation atomic.Uint32
	horizon    atomic.Int64 // no Get answers from here on
	_          [64]byte
	cost       atomic.Int64 // of all nodes, and of those about to be linked
	_          [64]byte

	alive  sync.RWMutex // held for reading while a reader is inside policy, for writing by Close
	closed atomic.Bool

	full    sync.Mutex // held by the one writer that waits for room
	room    sync.Cond
	waiting atomic.Int32

	warmth
	tally
	judging

	shards [shardCount]shard[T]
}

func (c *Cache[T]) hash(key string) uint64 { return maphash.String(c.seed, key) }

func (c *Cache[T]) shard(hash uint64) *shard[T] { return &c.shards[hash>>(64-shardBits)] }

func (c *Cache[T]) epoch(hash uint64) *atomic.Uint64 { return &c.epochs[hash>>24&c.epochMask] }

func (c *Cache[T]) written(hash uint64) *atomic.Uint32 { return &c.writes[hash>>24&c.epochMask] }

// Get returns the value of key, and whether it is fresh; nil and Miss when there is none. It takes
// no lock and allocates nothing. The value is the cache's own copy; that it is the same one says
// that nothing was stored in between.
func (c *Cache[T]) Get(key string) (*T, State) {
	h := c.hash(key)
	n := c.shard(h).find(h, key)
	if n == nil || n.generation != c.generation.Load() && !c.without.generation {
		c.touch(h) // a key that is missed often is worth its space when it comes
		return nil, Miss
	}
	if w, p := n.tail.Load(), c.period.Load(); w&warmthMask != p<<periodShift&periodMask|hottest {
		c.warm(h, n, w, p)
	}
	horizon := c.horizon.Load()
	if n.soft == never && horizon == never {
		return &n.v, Fresh
	}
	now := c.clock.Now()
	if now >= horizon {
		return nil, Miss
	}
	if now < n.soft {
		return &n.v, Fresh
	}
	if n.expired(now) {
		return nil, Miss
	}
	return &n.v, Stale
}

// Stamp is the present moment of key's history. Take it before asking anybody else for the value:
// only then can [Cache.Put] tell that the key was invalidated while the answer was on its way.
func (c *Cache[T]) Stamp(key string) Stamp {
	h := c.hash(key)
	return Stamp{epoch: c.epoch(h).Load(), writes: c.written(h).Load(), generation: c.generation.Load()}
}

// current says whether nothing has happened to the key of hash since st.
func (c *Cache[T]) current(hash uint64, st Stamp) bool {
	return c.epoch(hash).Load() == st.epoch && c.generation.Load() == st.generation && c.written(hash).Load() == st.writes
}

// Put stores a fill: a copy of a value that was read or loaded after st was taken. It stores nothing and
// returns false when the key was invalidated or replaced since then, when the entry would cost more
// than a sixteenth of the cache, or when the cache is closed. When it returned true, every Get finds
// the value at once, until it is invalidated, expires, or is evicted for space.
//
// cost is the size of v in bytes; what it takes to keep an entry is added. v is stale from soft on
// and gone from hard on: times of the clock in nanoseconds, 0 = none. What lies between them is kept
// to the millisecond, or past nine hours to the second, and is at most a year.
//
// In a full cache Put waits until ristretto has judged the entries before it.
func (c *Cache[T]) Put(key string, st Stamp, v *T, cost, soft, hard int64) bool {
	h := c.hash(key)
	n, ok := c.entry(key, v, cost, soft, hard)
	if !ok {
		return false
	}
	charge := n.meta.cost() // meta belongs to the shard once n is linked
	waited := c.reserve(charge)
	n.generation = st.generation
	ok = c.link(h, n, func() bool { return c.without.stamp || c.current(h, st) })
	c.settle(charge, ok, waited)
	return ok
}

// Replace stores a value that this process has just written to the remote tiers; st was taken before
// that write. It is stored only if nobody else touched the key since, because then nobody can say
// whose value the remotes hold. In every other case, and whenever it returns false, the key is
// invalidated. The rest is as for [Cache.Put].
func (c *Cache[T]) Replace(key string, st Stamp, v *T, cost, soft, hard int64) bool {
	h := c.hash(key)
	n, ok := c.entry(key, v, cost, soft, hard)
	if !ok {
		c.invalidate(h)
		return false
	}
	charge := n.meta.cost() // meta belongs to the shard once n is linked
	waited := c.reserve(charge)
	ok = c.link(h, n, func() bool {
		if c.without.swap {
			st = Stamp{epoch: c.epoch(h).Load(), writes: c.written(h).Load(), generation: c.generation.Load()}
		}
		n.generation = st.generation
		return c.current(h, st) && c.written(h).CompareAndSwap(st.writes, st.writes+1)
	})
	c.settle(charge, ok, waited)
	if !ok {
		c.invalidate(h)
	}
	return ok
}

// Invalidate makes the cache forget key, and refuse every fill of it that is under way.
func (c *Cache[T]) Invalidate(key string) { c.invalidate(c.hash(key)) }

// InvalidateMany is Invalidate of each of keys.
func (c *Cache[T]) InvalidateMany(keys []string) {
	for _, k := range keys {
		c.Invalidate(k)
	}
}

// SetHorizon makes every Get from at on miss, until it is moved: time of the clock in nanoseconds,
// 0 = no horizon. Whoever hears from others what changed moves it on with every sign of life; when
// the signs stop, also because this process did, the cache falls silent by itself.
func (c *Cache[T]) SetHorizon(at int64) {
	if at == 0 {
		at = never
	}
	c.horizon.Store(at)
}

// Flush makes the cache forget everything, and refuse every fill that is under way, in constant
// time. The memory is given back in the background.
func (c *Cache[T]) Flush() {
	c.generation.Add(1)
	c.sweepAll()
}

// invalidate raises the epoch first: from then on nothing that was stamped before is stored. What
// was stored until then, also meanwhile, it then takes out.
func (c *Cache[T]) invalidate(hash uint64) {
	c.epoch(hash).Add(1)
	s := c.shard(hash)
	s.mu.Lock()
	n, at := s.at(hash)
	if n != nil {
		c.drop(s, hash, n, at)
	}
	s.mu.Unlock()
	if n != nil {
		c.wake(hash)
	}
}
