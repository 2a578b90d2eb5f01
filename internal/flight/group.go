package flight

import (
	"sync"

	"github.com/cespare/xxhash/v2"
)

const (
	shards = 128
	chains = 7 // with the lock, a shard fills a cache line
)

// Group keeps the calls in progress, one a key. The zero Group is ready. Safe for concurrent
// use; it must not be copied after the first use.
type Group[T any] struct {
	// KeepGoing lets work run to its end when nobody waits for it any more, so that it still
	// fills the cache. Those who join meanwhile share it. Set it before the first use.
	KeepGoing bool

	shards [shards]shard[T]
}

// shard is a small hash table with chains. A Go map costs about twice as much for keys that
// come and go at once, and 900 chains hold thousands of calls before their length is felt.
type shard[T any] struct {
	mu    sync.Mutex
	heads [chains]*Call[T]
}

func (g *Group[T]) shard(key string) (*shard[T], uint64) {
	hash := xxhash.Sum64String(key)
	return &g.shards[hash%shards], hash
}

func (s *shard[T]) chain(hash uint64) **Call[T] { return &s.heads[hash/shards%chains] }

func (s *shard[T]) find(hash uint64, key string) *Call[T] {
	for c := *s.chain(hash); c != nil; c = c.next {
		if c.hash == hash && c.key == key {
			return c
		}
	}
	return nil
}

// unlist takes c out, unless that has happened before.
func (s *shard[T]) unlist(c *Call[T]) {
	for at := s.chain(c.hash); *at != nil; at = &(*at).next {
		if *at == c {
			*at, c.next = c.next, nil
			return
		}
	}
}

// Join returns the call in progress for key. If there is none it starts one, and the caller
// leads it: it must call Finish exactly once, whatever happens. Each Join counts as one who
// waits until it has left, through Wait or Leave.
func (g *Group[T]) Join(key string) (c *Call[T], leader bool) {
	s, hash := g.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c = s.find(hash, key); c != nil {
		c.follow()
		return c, false
	}
	c = new(Call[T])
	g.list(c, s, key, hash)
	return c, true
}

// list makes the new call c the one in progress for key. The caller holds the shard's lock.
func (g *Group[T]) list(c *Call[T], s *shard[T], key string, hash uint64) {
	head := s.chain(hash)
	c.key, c.hash, c.shard, c.keepGoing, c.waiting, c.next = key, hash, s, g.KeepGoing, 1, *head
	*head = c
}

// follow counts one more who waits. The caller holds the shard's lock.
func (c *Call[T]) follow() {
	c.waiting++
	c.followed = true
}

// Forget makes later joiners of key start a new call. The call in progress goes on, and those
// who joined it get its result.
func (g *Group[T]) Forget(key string) {
	s, hash := g.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.find(hash, key); c != nil {
		s.unlist(c)
	}
}

// ForgetAll is Forget for every key. It is not one instant for all keys, but after it returned
// nobody joins a call that was in progress before.
func (g *Group[T]) ForgetAll() {
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		for i := range s.heads {
			for c := s.heads[i]; c != nil; c = s.heads[i] {
				s.heads[i], c.next = c.next, nil
			}
		}
		s.mu.Unlock()
	}
}

// Len returns how many calls can be joined now.
func (g *Group[T]) Len() int {
	n := 0
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		for _, c := range s.heads {
			for ; c != nil; c = c.next {
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}
