package ristretto

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"sync/atomic"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/hearthcache/hearth/internal/clock"
)

const (
	defaultMaxCost = 64 << 20
	defaultEpochs  = 1 << 16

	// entryOverhead is charged for every entry on top of its key and its value: its node, its place
	// in the index and in ristretto's two maps, its share of the frequency sketch. Measured 175 to
	// 195 bytes an entry, the more the emptier the cache, whose sketch is as large as it will be.
	entryOverhead = 176

	// An entry may take a sixteenth of the cache: one that took more would push out so many others
	// that nobody could tell why.
	maxShare = 16
)

// Config is the setting of a cache. The zero value is usable.
type Config struct {
	// MaxCost bounds the memory of the entries in bytes: for each, its key, the cost given with its
	// value, and what it costs to keep an entry at all. 0 = 64 MiB.
	MaxCost int64

	// Epochs is how many counters the keys share for invalidation, a power of two. A key that is
	// invalidated or replaced makes the cache refuse the fills under way of keys that share its
	// counter. Twelve bytes each. 0 = 65,536.
	Epochs int

	// Counters is how many four-bit counters ristretto estimates the popularity of keys with, at
	// about 3.5 bytes each. Many remember long: best where what is popular stays so. Few forget
	// soon: best where it moves. On five traces of both kinds, between two and ten an entry, the
	// difference was up to ten points of hit ratio, one way or the other. 0 = one for each 64 bytes
	// of MaxCost: three for each of the smallest entries.
	Counters int64

	// Clock is what soft and hard deadlines are compared with. nil = a clock of the cache's own.
	Clock *clock.Clock

	without without // protections removed, by tests only
}

// without removes one protection each, so that a test can see that it would see the bug.
type without struct {
	generation bool // Get does not compare generations
	stamp      bool // Put does not compare stamps
	swap       bool // Replace takes the epoch whatever it is
	room       bool // Put does not wait for room
	gate       bool // Close does not wait for the readers inside ristretto
}

// New makes a cache and starts its one goroutine; [Cache.Close] ends it.
func New[T any](cfg Config) (*Cache[T], error) {
	if cfg.MaxCost == 0 {
		cfg.MaxCost = defaultMaxCost
	}
	if cfg.Epochs == 0 {
		cfg.Epochs = defaultEpochs
	}
	if cfg.MaxCost < 0 {
		return nil, fmt.Errorf("ristretto: negative MaxCost %d", cfg.MaxCost)
	}
	if cfg.Epochs < 0 || bits.OnesCount(uint(cfg.Epochs)) != 1 {
		return nil, fmt.Errorf("ristretto: Epochs is %d, not a power of two", cfg.Epochs)
	}
	if cfg.Counters < 0 {
		return nil, fmt.Errorf("ristretto: negative Counters %d", cfg.Counters)
	}
	if cfg.MaxCost < maxShare*(entryOverhead+1) {
		return nil, errors.New("ristretto: MaxCost leaves no room for entries")
	}
	stop := func() {}
	if cfg.Clock == nil {
		own := clock.New()
		cfg.Clock, stop = own, own.Stop
	}
	reserve := max(cfg.MaxCost/64, min(cfg.MaxCost/16, 4<<10))
	if cfg.Counters == 0 {
		cfg.Counters = max(1024, cfg.MaxCost/64)
	}
	c := &Cache[T]{
		seed:      maphash.MakeSeed(),
		epochs:    make([]atomic.Uint64, cfg.Epochs),
		writes:    make([]atomic.Uint32, cfg.Epochs),
		epochMask: uint64(cfg.Epochs - 1),
		clock:     cfg.Clock,
		stopClock: stop,
		maxCost:   cfg.MaxCost,
		maxEntry:  min(cfg.MaxCost/maxShare, maxNodeCost),
		without:   cfg.without,
		warmth:    warmth{length: uint64(max(1, cfg.Counters/4))},
		judging: judging{
			kick:    make(chan struct{}, 1),
			urgent:  make(chan struct{}, 1),
			stop:    make(chan struct{}),
			stopped: make(chan struct{}),
			ended:   make(chan struct{}),
		},
	}
	c.room.L = &c.full
	c.horizon.Store(never)
	for i := range c.shards {
		c.shards[i].seed = c.seed
		c.shards[i].table.Store(newTable[T](minBuckets))
	}
	policy, err := ristretto.NewCache(&ristretto.Config[uint64, struct{}]{
		NumCounters:        cfg.Counters,
		MaxCost:            cfg.MaxCost - reserve,
		BufferItems:        64,
		IgnoreInternalCost: true,
		OnEvict:            func(it *ristretto.Item[struct{}]) { c.evicted(it.Key) },
		OnReject:           func(it *ristretto.Item[struct{}]) { c.rejected(it.Key) },
	})
	if err != nil {
		return nil, err
	}
	c.policy = policy
	go c.judge()
	return c, nil
}
