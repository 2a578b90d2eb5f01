package coalesce

import (
	"hash/maphash"
	"sync/atomic"
)

// sizes remembers how large values were when they were last read: on average, and which were so
// large that their keys are better read alone. It may forget a key, and then learns it again.
type sizes struct {
	large int // bytes; above, a key is read alone
	seed  maphash.Seed
	mean  atomic.Int64
	known atomic.Bool // mean is that of values, not an assumption
	any   atomic.Bool
	tags  [1024]atomic.Uint32 // by hash: the rest of the hash of a large key, never 0
}

// init assumes that values are as large as those of one batch may be.
func (s *sizes) init(large int) {
	s.large, s.seed = large, maphash.MakeSeed()
	s.mean.Store(int64(large))
}

func (s *sizes) slot(key string) (*atomic.Uint32, uint32) {
	h := maphash.String(s.seed, key)
	return &s.tags[h%uint64(len(s.tags))], uint32(h>>32) | 1
}

// isLarge reports whether key's value was large when last seen.
func (s *sizes) isLarge(key string) bool {
	if !s.any.Load() {
		return false
	}
	slot, tag := s.slot(key)
	return slot.Load() == tag
}

// learn notes that the value of key has n bytes.
func (s *sizes) learn(key string, n int) {
	if n > s.large {
		slot, tag := s.slot(key)
		slot.Store(tag)
		s.any.Store(true)
		return
	}
	if s.any.Load() {
		if slot, tag := s.slot(key); slot.Load() == tag {
			slot.CompareAndSwap(tag, 0)
		}
	}
}

// average moves the mean towards that of n values with so many bytes; an assumption, towards nothing
// where nothing was found. (A lost update is a batch of another size.)
func (s *sizes) average(n, bytes int) {
	mean := s.mean.Load()
	switch {
	case n == 0 && !s.known.Load():
		s.mean.Store(mean - (mean+3)/4)
	case n == 0:
	case !s.known.Load():
		s.mean.Store(int64(bytes / n))
		s.known.Store(true)
	default:
		s.mean.Store(mean + (int64(bytes/n)-mean)/4)
	}
}

// expected is how much of a batch a key takes up.
func (s *sizes) expected() int { return int(s.mean.Load()) }
