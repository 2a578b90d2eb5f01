package ristretto

import (
	"math"
	"sync"
	"sync/atomic"
)

const (
	shardBits  = 8
	shardCount = 1 << shardBits
	minSlots   = 8

	costUnit    = 16 // bytes
	maxNodeCost = (1<<24 - 1) * costUnit
)

// node is one entry: a cache line of 64 bytes. It is written before it is published, and after that
// only in three places: next and meta with the lock of its shard held, the warmth in tail by readers.
type node[T any] struct {
	next  link[T]
	hash  uint64
	key   string
	v     *T
	stamp uint64        // epoch + generation under which v is valid
	soft  int64         // fresh before this
	tail  atomic.Uint32 // from soft to the hard deadline, and in its low bits how warm it is
	meta  meta
}

// link is what points to a node: a slot of the table, or the next of the node before.
type link[T any] struct{ atomic.Pointer[node[T]] }

// meta is cost in units of 16 bytes (24 bits), the last batch that told ristretto about the entry
// (5 bits), and three flags.
type meta uint32

const (
	judged meta = 1 << iota // ristretto was told: it is in its policy, or on the way there
	queued                  // its hash is in the shard's queue
	grown                   // it costs more than ristretto was told

	batchShift = 3
	batchMask  = 1<<5 - 1
	costShift  = 8
)

func (m meta) cost() int64   { return int64(m>>costShift) * costUnit }
func (m meta) batch() uint32 { return uint32(m>>batchShift) & batchMask }
func (m meta) inBatch(b uint32) meta {
	return m&^(batchMask<<batchShift) | meta(b&batchMask)<<batchShift
}

// costOf rounds to the unit a node keeps.
func costOf(cost int64) meta { return meta((cost+costUnit-1)/costUnit) << costShift }

// A tail is a distance in milliseconds or, with inSeconds set, in seconds; shifted left by the bits
// of the warmth.
const (
	never     = math.MaxInt64
	tailShift = 6
	inSeconds = 1 << 25
	noTail    = 1<<26 - 1

	milli  = 1_000_000
	second = 1_000_000_000
)

// deadlines packs the two deadlines: the first exactly, the second as its distance from the first,
// rounded down to the millisecond, or past nine hours to the second; at most a year. 0 means none.
func deadlines(soft, hard int64) (int64, uint32) {
	switch {
	case soft <= 0 && hard <= 0:
		return never, noTail << tailShift
	case hard <= 0:
		return soft, noTail << tailShift
	case soft <= 0 || soft >= hard:
		return hard, 0
	}
	d := hard - soft
	if d/milli < inSeconds {
		return soft, uint32(d/milli) << tailShift
	}
	return soft, (inSeconds | uint32(min(d/second, inSeconds-2))) << tailShift
}

// expired says whether the hard deadline has passed.
func (n *node[T]) expired(now int64) bool {
	if now < n.soft {
		return false
	}
	switch tail := n.tail.Load() >> tailShift; {
	case tail == noTail:
		return false
	case tail&inSeconds != 0:
		return now-n.soft >= int64(tail&^inSeconds)*second
	default:
		return now-n.soft >= int64(tail)*milli
	}
}

// shard is a part of the index: chained buckets that are read without a lock. Padded to two cache
// lines, so that writers of one do not slow readers of its neighbour.
type shard[T any] struct {
	table  atomic.Pointer[table[T]]
	moving atomic.Bool // chains are being relinked to another table

	mu    sync.Mutex // guards the writes of everything here
	count int
	queue []uint64 // hashes of entries ristretto is to be told about
	gone  []uint64 // hashes of entries ristretto knows and the index has dropped
	_     [128 - 8 - 8 - 8 - 8 - 24 - 24]byte
}

type table[T any] struct{ slots []link[T] }

func newTable[T any](n int) *table[T] { return &table[T]{make([]link[T], n)} }

func (t *table[T]) slot(hash uint64) *link[T] {
	return &t.slots[hash&uint64(len(t.slots)-1)]
}

// find walks without the lock. A reader that met nothing while the chains were being relinked looks
// again under the lock: what was put must be seen.
func (s *shard[T]) find(hash uint64, key string, once bool) *node[T] {
	t := s.table.Load()
	for n := t.slot(hash).Load(); n != nil; n = n.next.Load() {
		if n.hash == hash && n.key == key {
			return n
		}
	}
	if (s.moving.Load() || s.table.Load() != t) && !once {
		return s.findLocked(hash, key)
	}
	return nil
}

func (s *shard[T]) findLocked(hash uint64, key string) *node[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, _ := s.at(hash); n != nil && n.key == key {
		return n
	}
	return nil
}

// at is the node of a hash, and the link that points to it; with the lock held. Two keys of one hash
// cannot both be kept: the later one is.
func (s *shard[T]) at(hash uint64) (*node[T], *link[T]) {
	link := s.table.Load().slot(hash)
	for n := link.Load(); n != nil; n = link.Load() {
		if n.hash == hash {
			return n, link
		}
		link = &n.next
	}
	return nil, link
}

// put links n, in the place of old, which at points to; or, without an old, at the head of its chain.
func (s *shard[T]) put(n, old *node[T], at *link[T]) {
	if old != nil {
		n.next.Store(old.next.Load())
		at.Store(n)
		return
	}
	if t := s.table.Load(); s.count >= len(t.slots) {
		s.resize(2 * len(t.slots))
	}
	head := s.table.Load().slot(n.hash)
	n.next.Store(head.Load())
	head.Store(n)
	s.count++
}

// cut unlinks the node that link points to. Its next stays, for the readers that stand on it.
func (s *shard[T]) cut(n *node[T], at *link[T]) {
	at.Store(n.next.Load())
	s.count--
}

func (s *shard[T]) resize(size int) {
	s.moving.Store(true)
	from, to := s.table.Load(), newTable[T](size)
	for i := range from.slots {
		for n := from.slots[i].Load(); n != nil; {
			after := n.next.Load()
			head := to.slot(n.hash)
			n.next.Store(head.Load())
			head.Store(n)
			n = after
		}
	}
	s.table.Store(to)
	s.moving.Store(false)
}
