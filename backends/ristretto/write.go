package ristretto

import "unsafe"

// entry makes the node of a value, not yet linked. False: it costs too much.
func (c *Cache[T]) entry(key string, v *T, cost, soft, hard int64) (*node[T], bool) {
	if cost = max(cost, 0); cost > c.maxEntry || c.closed.Load() {
		c.refused.Add(1)
		return nil, false
	}
	if cost += int64(len(key)) + entryOverhead; cost > c.maxEntry {
		c.refused.Add(1)
		return nil, false
	}
	n := &node[T]{data: unsafe.StringData(key), size: uint32(len(key)), v: *v, meta: costOf(cost)}
	from, tail := deadlines(soft, hard)
	n.soft = from
	n.tail.Store(tail)
	return n, true
}

// reserve charges cost before the node is linked, so that writers racing for the last room cannot
// overrun it together. ristretto gets a little less than maxCost; the difference is for entries it
// has not judged. When that is used up, the writer waits for the judge: ristretto takes half a
// million entries a second, writers bring more. True: the writer waited, and holds full.
func (c *Cache[T]) reserve(cost int64) bool {
	for used := c.cost.Load(); used+cost <= c.maxCost; used = c.cost.Load() {
		if c.cost.CompareAndSwap(used, used+cost) {
			return false
		}
	}
	if c.without.room {
		c.cost.Add(cost)
		return false
	}
	c.full.Lock()
	c.waiting.Add(1)
	for c.cost.Load()+cost > c.maxCost && !c.quiet() {
		c.hurry()
		c.room.Wait()
	}
	c.waiting.Add(-1)
	c.cost.Add(cost)
	return true
}

// settle ends what reserve began.
func (c *Cache[T]) settle(cost int64, linked, waited bool) {
	if !linked {
		c.cost.Add(-cost)
		c.refused.Add(1)
	}
	if waited {
		c.full.Unlock()
	}
}

// link puts n, of hash, into the index if valid, asked with the shard's lock held, says so; and has ristretto
// told about what is new to it.
func (c *Cache[T]) link(hash uint64, n *node[T], valid func() bool) bool {
	s := c.shard(hash)
	s.mu.Lock()
	if c.closed.Load() || !valid() {
		s.mu.Unlock()
		return false
	}
	tell := true
	old, at := s.at(hash)
	if old != nil {
		n.meta |= old.meta & (1<<costShift - 1)
		was, is := old.meta.cost(), n.meta.cost()
		if n.meta&judged != 0 && is > was {
			n.meta |= grown
		}
		tell = n.meta&queued == 0 && is != was
		c.cost.Add(-was)
	}
	s.put(hash, n, old, at)
	if tell {
		n.meta |= queued
		s.queue = append(s.queue, hash)
	}
	s.mu.Unlock()
	if tell {
		c.wake(hash)
	}
	return true
}

// drop unlinks n, of hash, with the lock held. The caller wakes the judge after it.
func (c *Cache[T]) drop(s *shard[T], hash uint64, n *node[T], at place[T]) {
	s.cut(hash, at)
	c.cost.Add(-n.meta.cost())
	if n.meta&judged != 0 {
		s.gone = append(s.gone, hash)
	}
}
