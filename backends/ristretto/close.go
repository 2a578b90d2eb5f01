package ristretto

// Close ends the cache and its goroutines, and gives its memory back. From then on Get misses and
// nothing is stored; every method may still be called, and may be running meanwhile.
//
// Get needs no gate for this: a shard that was emptied after closed was set stays empty.
func (c *Cache[T]) Close() {
	if !c.closed.CompareAndSwap(false, true) {
		<-c.ended
		return
	}
	close(c.stop)
	<-c.stopped
	for i := range c.shards {
		c.cost.Add(-c.shards[i].clear())
	}
	c.letIn()
	if !c.without.gate {
		c.alive.Lock()
		defer c.alive.Unlock()
	}
	c.policy.Close()
	c.stopClock()
	close(c.ended)
}

// clear returns what the entries cost.
func (s *shard[T]) clear() (cost int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.table.Load().buckets {
		s.table.Load().buckets[i].each(func(n *node[T], _ place[T]) { cost += n.meta.cost() })
	}
	s.table.Store(newTable[T](minBuckets))
	s.count, s.queue, s.gone = 0, nil, nil
	return cost
}
