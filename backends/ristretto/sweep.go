package ristretto

// sweepAll has every shard swept soon.
func (c *Cache[T]) sweepAll() {
	c.sweep.Store(shardCount + 1) // the first one may be half done
	c.rouse()
}

// sweepSome takes entries out of memory that no Get returns any more: expired, or of an older
// generation or epoch. ristretto would keep them until it needs the room.
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
	slots := s.table.Load().slots
	end := min(c.slot+sweepSlots, len(slots))
	for i := min(c.slot, end); i < end; i++ {
		at := &slots[i]
		for n := at.Load(); n != nil; n = at.Load() {
			if n.stamp == c.epoch(n.hash).Load()+gen && !n.expired(now) {
				at = &n.next
				continue
			}
			c.drop(s, n, at)
			dropped = true
		}
	}
	c.slot = end
	if end < len(slots) {
		return dropped, false
	}
	if size := len(slots); size > minSlots && s.count < size/8 {
		for size > minSlots && s.count < size/2 {
			size /= 2
		}
		s.resize(size)
	}
	return dropped, true
}
