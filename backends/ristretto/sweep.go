package ristretto

// sweepAll has every shard swept soon.
func (c *Cache[T]) sweepAll() {
	c.sweep.Store(shardCount + 1) // the first one may be half done
	c.rouse()
}

// sweepSome takes entries out of memory that no Get returns any more: expired, or of an older
// generation. ristretto would keep them until it needs the room.
func (c *Cache[T]) sweepSome() {
	if c.sweep.Load() <= 0 {
		return
	}
	s := &c.shards[c.cursor]
	dropped, done := c.sweepPart(s)
	if dropped {
		c.wake(uint64(c.cursor) << (64 - shardBits))
	}
	if done {
		c.slot = 0
		c.cursor = (c.cursor + 1) % shardCount
		c.sweep.Add(-1)
	}
}

func (c *Cache[T]) sweepPart(s *shard[T]) (dropped, done bool) {
	now, gen := c.clock.Now(), c.generation.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	buckets := s.table.Load().buckets
	end := min(c.slot+sweepBuckets, len(buckets))
	for i := min(c.slot, end); i < end; i++ {
		buckets[i].each(func(n *node[T], at place[T]) {
			if n.generation != gen || n.expired(now) {
				c.drop(s, s.hash(n.key()), n, at)
				dropped = true
			}
		})
	}
	c.slot = end
	if end < len(buckets) {
		return dropped, false
	}
	if size := len(buckets); size > minBuckets && s.count < size {
		s.resize(max(minBuckets, s.count/2))
	}
	return dropped, true
}
