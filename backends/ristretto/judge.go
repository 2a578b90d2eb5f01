package ristretto

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// chunk is how many changes ristretto gets before its answers are waited for. It takes 32,768
	// into its buffer and drops what comes after; this way its buffer never fills.
	chunk = 1024

	// minGather and maxGather bound how long the judge lets changes gather when nobody waits for it:
	// four times as long as it took to tell the last ones. They are readable all the while. Waking for each
	// of them would cost more than the rest of a Put, and in a burst it would take the writers' cores.
	minGather = 500 * time.Microsecond
	maxGather = 100 * time.Millisecond

	// sweepEvery and sweepShards: expired entries that nobody asks for are gone within 32 seconds.
	sweepEvery   = time.Second
	sweepShards  = shardCount / 32
	sweepBuckets = 1024 // looked at with the lock held
)

// judging is the state of the goroutine that tells ristretto about changes. It is the only one that
// does: so ristretto's buffer cannot overflow, and nothing of one key is on its way twice.
type judging struct {
	dirty [shardCount / 64]atomic.Uint64 // shards with something in queue or gone
	idle  atomic.Bool
	busy  atomic.Bool
	batch atomic.Uint32 // what was told since the last answer carries this number
	sweep atomic.Int32  // shards to sweep

	kick    chan struct{} // there is something to tell
	urgent  chan struct{} // somebody waits for it
	stop    chan struct{}
	stopped chan struct{}
	ended   chan struct{}

	changes []change
	cursor  int // next shard to sweep
	slot    int // next bucket in it
}

type change struct {
	hash uint64
	cost int64
	kind changeKind
}

type changeKind uint8

const (
	add changeKind = iota
	shrink
	remove
)

// wake has the judge look at the shard of hash.
func (c *Cache[T]) wake(hash uint64) {
	i := hash >> (64 - shardBits)
	if bit := uint64(1) << (i % 64); c.dirty[i/64].Load()&bit == 0 {
		c.dirty[i/64].Or(bit)
	}
	c.rouse()
}

func (c *Cache[T]) rouse() {
	if c.idle.Load() && c.idle.CompareAndSwap(true, false) {
		select {
		case c.kick <- struct{}{}:
		default:
		}
	}
}

// quiet says that ristretto knows everything: whoever waits for room will not get more of it.
func (c *Cache[T]) quiet() bool {
	return c.closed.Load() || !c.busy.Load() && !c.work()
}

// work says whether there is something to tell ristretto, or to sweep.
func (c *Cache[T]) work() bool {
	if c.sweep.Load() > 0 {
		return true
	}
	for i := range c.dirty {
		if c.dirty[i].Load() != 0 {
			return true
		}
	}
	return false
}

// judge is the cache's goroutine.
func (c *Cache[T]) judge() {
	defer close(c.stopped)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		start := time.Now()
		c.busy.Store(true)
		c.drain()
		c.sweepSome()
		c.busy.Store(false)
		c.letIn()
		pause := min(max(minGather, 4*time.Since(start)), maxGather)
		if c.work() {
			if c.sweep.Load() > 0 {
				pause = 0
			}
			if !c.gather(pause) {
				return
			}
			continue
		}
		c.idle.Store(true)
		if c.work() {
			continue
		}
		select {
		case <-c.kick:
			if !c.gather(pause) {
				return
			}
		case <-tick.C:
			c.sweep.Store(max(c.sweep.Load(), sweepShards))
		case <-c.stop:
			return
		}
	}
}

// gather waits until there is enough to tell, or until somebody waits for it. False: closing.
func (c *Cache[T]) gather(pause time.Duration) bool {
	if c.waiting.Load() > 0 || pause <= 0 {
		select {
		case <-c.stop:
			return false
		default: // a timer for no time at all would cost more, and crash the race detector in a synctest bubble
			return true
		}
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.urgent:
	case <-c.stop:
		return false
	}
	return true
}

// hurry has the judge not gather any longer.
func (c *Cache[T]) hurry() {
	select {
	case c.urgent <- struct{}{}:
	default:
	}
}

// letIn wakes the writers that wait for room.
func (c *Cache[T]) letIn() {
	if c.waiting.Load() == 0 {
		return
	}
	c.full.Lock()
	c.room.Broadcast()
	c.full.Unlock()
}

// drain visits every shard that has something to tell, once.
func (c *Cache[T]) drain() {
	for w := range c.dirty {
		for set := c.dirty[w].Swap(0); set != 0; set &= set - 1 {
			i := w*64 + bits.TrailingZeros64(set)
			for !c.collect(&c.shards[i]) {
				c.tell()
			}
			if len(c.changes) >= chunk/2 {
				c.tell()
			}
		}
	}
	c.tell()
}

// collect moves what a shard has to tell into changes. False: there was no room for all of it, and
// nothing more may be collected from this shard before ristretto has answered.
//
// What is gone goes first: a hash that is gone and queued belongs to an entry that came after.
// Between two answers a shard is visited once, so a hash is added once, and removed only before.
func (c *Cache[T]) collect(s *shard[T]) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, h := range s.gone {
		if len(c.changes) >= chunk {
			s.gone = s.gone[i:]
			return false
		}
		c.changes = append(c.changes, change{hash: h, kind: remove})
	}
	s.gone = emptied(s.gone)
	for i, h := range s.queue {
		if len(c.changes) >= chunk {
			s.queue = s.queue[i:]
			return false
		}
		n, _ := s.at(h)
		if n == nil || n.meta&queued == 0 {
			continue
		}
		kind := add
		if n.meta&judged != 0 && n.meta&grown == 0 {
			kind = shrink
		} else if n.meta&judged != 0 {
			// ristretto makes no room for an entry that grows, only for a new one.
			c.changes = append(c.changes, change{hash: h, kind: remove})
		}
		n.meta = (n.meta&^(queued|grown) | judged).inBatch(c.batch.Load())
		c.changes = append(c.changes, change{h, n.meta.cost(), kind})
	}
	s.queue = emptied(s.queue)
	return true
}

// emptied keeps a small buffer, and gives the memory of a burst back.
func emptied(p []uint64) []uint64 {
	if cap(p) > 64 {
		return nil
	}
	return p[:0]
}

// tell gives the changes to ristretto and waits for its answers: evicted and rejected have then run
// for all of them.
func (c *Cache[T]) tell() {
	if len(c.changes) == 0 {
		return
	}
	for _, ch := range c.changes {
		if ch.kind == remove {
			c.policy.Del(ch.hash)
			continue
		}
		for !c.policy.Set(ch.hash, struct{}{}, ch.cost) {
			c.policy.Wait()
		}
	}
	c.policy.Wait()
	c.changes = c.changes[:0]
	c.batch.Add(1)
	c.letIn()
}

// evicted is called by ristretto, in its goroutine, with an entry that had to make room.
func (c *Cache[T]) evicted(hash uint64) {
	s := c.shard(hash)
	s.mu.Lock()
	n, at := s.at(hash)
	if n == nil || n.meta&judged == 0 {
		s.mu.Unlock()
		return
	}
	// If the same entry is also on its way into ristretto, it may now be in there without being
	// here: have it removed.
	again := n.meta.batch() == c.batch.Load()&batchMask
	if !again {
		n.meta &^= judged
	}
	c.drop(s, hash, n, at)
	s.mu.Unlock()
	if again {
		c.wake(hash)
	}
	c.evictions.Add(1)
}

// rejected is called by ristretto, in its goroutine, with an entry it did not take.
func (c *Cache[T]) rejected(hash uint64) {
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	n, at := s.at(hash)
	if n == nil || n.meta&judged == 0 {
		return
	}
	n.meta &^= judged
	c.drop(s, hash, n, at)
	c.rejections.Add(1)
}
