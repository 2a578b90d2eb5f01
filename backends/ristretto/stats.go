package ristretto

import "sync/atomic"

// Stats is what the cache holds and what has happened in it. Hits and misses are not counted here:
// the caller sees them.
type Stats struct {
	Entries int64 // held now, among them expired ones that were not swept yet
	Cost    int64 // bytes charged for them
	Pending int64 // of the entries, those ristretto has not judged yet

	Evicted  uint64 // entries that had to make room
	Rejected uint64 // new entries that ristretto did not think worth the room
	Refused  uint64 // values that Put or Replace did not store
}

type tally struct{ evictions, rejections, refused atomic.Uint64 }

// Stats returns the counts. It locks the cache part by part, so it is for every few seconds.
func (c *Cache[T]) Stats() Stats {
	st := Stats{
		Cost:     c.cost.Load(),
		Evicted:  c.evictions.Load(),
		Rejected: c.rejections.Load(),
		Refused:  c.refused.Load(),
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		st.Entries += int64(s.count)
		st.Pending += int64(len(s.queue))
		s.mu.Unlock()
	}
	return st
}

// Wait blocks until ristretto has judged every entry: for tests.
func (c *Cache[T]) Wait() {
	c.full.Lock()
	defer c.full.Unlock()
	c.waiting.Add(1)
	for !c.quiet() {
		c.hurry()
		c.room.Wait()
	}
	c.waiting.Add(-1)
}
