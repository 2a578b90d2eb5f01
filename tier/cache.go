package tier

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/backends/ristretto"
	"github.com/hearthcache/hearth/codec"
	"github.com/hearthcache/hearth/internal/clock"
	"github.com/hearthcache/hearth/internal/counter"
	"github.com/hearthcache/hearth/internal/flight"
)

// Cache is a typed cache: an L1 in this process over any number of remote tiers, read-through
// and write-through. Make one with [New]; the zero Cache is not usable. Safe for concurrent use.
//
// Values handed out are shared with the cache unless Config.Clone is set: do not modify them.
type Cache[V any] struct {
	cfg       Config[V]
	clock     *clock.Clock
	framer    *codec.Framer[V]
	l1        *ristretto.Cache[kept[V]] // nil: disabled
	levels    []*level                  // nearest first
	load      loadFunc[V]               // Config.Loader; nil: none
	pending   Deferred[V]               // Config.Writer, if it defers; else nil
	loads     flight.Group[*entry[V]]   // reads that load what is in no tier
	lookups   flight.Group[*entry[V]]   // reads that do not
	slots     chan struct{}             // one per load under way
	count     *counter.Striped
	failed    failed
	delayed   failed // failed refreshes of values that no L1 keeps: for Load.RetryAfter they are not tried again
	waiters   waiters
	scratches sync.Pool // *scratch[V]
	loadCalls sync.Pool // *loadCall[V]
	running   running
	barriers  *barriers
	tagged    atomic.Bool // a value with tags was seen: their common barrier is worth asking
	local     localLocks  // order the writes of a cache without remotes
	tellers   []*teller   // one per Invalidator that others are told through
	coherence[V]

	life     context.Context // ends with Close
	end      context.CancelFunc
	tasks    sync.WaitGroup // background work
	busy     chan struct{}  // one per background refresh or promotion under way
	closed   atomic.Bool
	lastLoad atomic.Int64 // how long the last load took, ns
	gate     sync.RWMutex // taken by background work that starts, exclusively by Close
}

// entry is a decoded value, with what its frame said. Immutable once shared. L1 holds it as [kept].
type entry[V any] struct {
	value      V
	created    int64 // Unix ms
	fresh      int64 // Unix ms from which it is stale; 0 = never
	expires    int64 // Unix ms from which it is gone; 0 = never
	load       time.Duration
	version    uint64
	generation uint64           // the namespace's barrier from before the load
	tags       []codec.TagStamp // the tags' barriers, likewise
	due        bool             // read from a remote tier, and its refresh is due already
	offered    bool             // loaded, and offered to the remote tiers
	absent     bool             // negative entry: the record does not exist
	source     int              // index of the level it came from, fromLoader or fromWriter
}

// Where an entry came from when it is not a level.
const (
	fromLoader = -1
	fromWriter = -2
)

// New makes a cache. It refuses a Config that cannot work, naming each field that is wrong and
// the reason; it does not contact any server. Close the cache when done.
func New[V any](cfg Config[V]) (*Cache[V], error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	var framer *codec.Framer[V]
	if len(cfg.Remotes) > 0 { // a local cache encodes nothing and holds any type
		if framer, err = codec.New(cfg.Format); err != nil {
			return nil, fmt.Errorf("tier: Config.Format: %w", err)
		}
	}
	c := &Cache[V]{
		cfg:    cfg,
		clock:  clock.New(),
		framer: framer,
		load:   asLoad(cfg.Loader),
		slots:  make(chan struct{}, cfg.Load.MaxConcurrent),
		busy:   make(chan struct{}, maxBackground),
		count:  counter.New(int(numCounts)),
	}
	c.local.seed = maphash.MakeSeed()
	c.failed.ttl, c.failed.now = cfg.Load.ErrorTTL, c.clock.Precise
	c.delayed.ttl, c.delayed.now = cfg.Load.RetryAfter, c.clock.Precise
	c.loads.KeepGoing = true // a load that nobody waits for any more still fills the tiers
	c.tellers = newTellers(cfg.Local.Invalidator)
	c.life, c.end = context.WithCancel(context.Background())
	for i, r := range cfg.Remotes {
		lv, err := newLevel(i, r, cfg.Namespace, cfg.TTL, c)
		if err != nil {
			c.end()
			return nil, fmt.Errorf("tier: Config.Remotes[%d] (%s): %w", i, r.Name, err)
		}
		if i > 0 {
			near := c.levels[i-1]
			near.farther, lv.nearer = lv, near
		}
		lv.tell = c.tellLater
		c.levels = append(c.levels, lv)
	}
	if c.barriers, err = c.newBarriers(); err != nil {
		c.end()
		return nil, err
	}
	if !cfg.Local.Disabled {
		c.l1, err = ristretto.New[kept[V]](ristretto.Config{MaxCost: cfg.Local.MaxBytes, Clock: c.clock})
		if err != nil {
			c.end()
			return nil, fmt.Errorf("tier: Config.Local: %w", err)
		}
	}
	if err := c.restoreOutboxes(); err != nil {
		c.end()
		if c.l1 != nil {
			c.l1.Close()
		}
		return nil, err
	}
	if d, ok := cfg.Writer.(Deferred[V]); ok {
		c.pending = d
		d.OnApplied(c.applied)
	}
	c.startOutboxes()
	c.startTelling()
	c.startCoherence()
	return c, nil
}

// maxBackground bounds refreshes and promotions under way: enough to keep a busy cache fresh,
// few enough that a sick tier cannot pile up goroutines.
const maxBackground = 512

// Close stops background work and frees the L1. What other processes could not be told is tried
// once more, for a second at most; what a tier is owed and Config.Outbox does not keep is lost. It waits for work under way until ctx ends, and
// returns ctx's error if that was sooner. A Writer is not closed: whoever made it closes it,
// before the cache. Idempotent; afterwards every call returns [ErrClosed].
func (c *Cache[V]) Close(ctx context.Context) error {
	c.gate.Lock()
	first := !c.closed.Swap(true)
	c.gate.Unlock()
	c.end()
	c.running.end()
	done := make(chan struct{})
	go func() {
		c.tasks.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if first {
		for _, lv := range c.levels {
			lv.guard.Close()
		}
		if c.l1 != nil {
			c.l1.Close()
		}
		c.clock.Stop()
	}
	return err
}

// background runs fn on the cache's own context, unless too much runs already or the cache is
// closed: then it does nothing and returns false.
func (c *Cache[V]) background(fn func(ctx context.Context)) bool {
	c.gate.RLock()
	defer c.gate.RUnlock()
	if c.closed.Load() {
		return false
	}
	select {
	case c.busy <- struct{}{}:
	default:
		c.count.Inc(int(countSkipped))
		return false
	}
	c.tasks.Go(func() {
		defer func() { <-c.busy }()
		fn(c.life)
	})
	return true
}

// begin announces work that Close has to wait for, until tasks.Done; false after Close.
func (c *Cache[V]) begin() bool {
	c.gate.RLock()
	defer c.gate.RUnlock()
	if c.closed.Load() {
		return false
	}
	c.tasks.Add(1)
	return true
}

// check refuses what no tier can hold; op is what the caller was about to do.
func (c *Cache[V]) check(op, key string) error {
	if c.closed.Load() {
		return ErrClosed
	}
	if key == "" {
		return fmt.Errorf("cache: %s: %w", op, ErrEmptyKey)
	}
	return nil
}

// out hands a value to a caller.
func (c *Cache[V]) out(v V) V {
	if c.cfg.Clone != nil {
		return c.cfg.Clone(v)
	}
	return v
}
