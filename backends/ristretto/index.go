package ristretto

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	shardBits  = 8
	shardCount = 1 << shardBits
	minBuckets = 2

	// ways is how many entries a bucket has room for: with their tags, and the pointer to what did
	// not fit, a cache line. Tables grow, by half, when there are five entries a bucket.
	ways     = 6
	fullWays = 5

	costUnit    = 16 // bytes
	maxNodeCost = (1<<24 - 1) * costUnit
)

// node is one entry, with its value in it: what a hit reads lies together. It is written before it
// is published, and after that only in two places: meta with the lock of its shard held, the warmth
// in tail by readers.
//
// There are as many as entries, so every byte counts: the hash is made of the key again where a
// writer needs it, and the length of the key has four bytes, which [maxNodeCost] leaves it.
type node[T any] struct {
	data       *byte         // the key's bytes
	soft       int64         // fresh before this
	tail       atomic.Uint32 // from soft to the hard deadline, and in its low bits how warm it is
	meta       meta
	generation uint32 // of the cache, under which it is valid
	size       uint32 // the key's length
	v          T
}

func (n *node[T]) key() string { return unsafe.String(n.data, n.size) }

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

// shard is a part of the index: buckets that are read without a lock. Padded to two cache lines, so
// that writers of one do not slow readers of its neighbour.
type shard[T any] struct {
	table atomic.Pointer[table[T]]
	seed  maphash.Seed // of the cache

	mu    sync.Mutex // guards the writes of everything here
	count int
	queue []uint64 // hashes of entries ristretto is to be told about
	gone  []uint64 // hashes of entries ristretto knows and the index has dropped
	_     [128 - 8 - 8 - 8 - 8 - 24 - 24]byte
}

// table is never changed into another: a shard that grows gets a new one, and readers of the old
// one see what was there before that.
type table[T any] struct{ buckets []bucket[T] }

// bucket holds the nodes of some hashes. A node stays at its place until it is dropped or replaced
// by one of the same hash, so a reader that found its tag finds it, or what came after it.
type bucket[T any] struct {
	tags  atomic.Uint64 // a byte for each way: seven bits of the hash and the eighth set, or 0
	nodes [ways]atomic.Pointer[node[T]]
	more  atomic.Pointer[bucket[T]]
}

// place is where a node is.
type place[T any] struct {
	b   *bucket[T]
	way int
}

func newTable[T any](n int) *table[T] { return &table[T]{make([]bucket[T], n)} }

// bucket is where the nodes of hash are. It uses other bits than the shard and the tag.
func (t *table[T]) bucket(hash uint64) *bucket[T] {
	return &t.buckets[hash>>24&math.MaxUint32*uint64(len(t.buckets))>>32]
}

const (
	tagOnes  = 0x01_01_01_01_01_01
	tagHighs = 0x80_80_80_80_80_80
)

func tagOf(hash uint64) uint64 { return hash&0x7f | 0x80 }

// matches has the high bit of every byte of tags that is tag, and rarely of one that is not.
func matches(tags, tag uint64) uint64 {
	x := tags ^ tag*tagOnes
	return (x - tagOnes) &^ x & tagHighs
}

func wayOf(match uint64) int { return bits.TrailingZeros64(match) >> 3 }

func (s *shard[T]) hash(key string) uint64 { return maphash.String(s.seed, key) }

// find walks without the lock.
func (s *shard[T]) find(hash uint64, key string) *node[T] {
	for b := s.table.Load().bucket(hash); b != nil; b = b.more.Load() {
		for m := matches(b.tags.Load(), tagOf(hash)); m != 0; m &= m - 1 {
			if n := b.nodes[wayOf(m)].Load(); n != nil && n.key() == key {
				return n
			}
		}
	}
	return nil
}

// at is the node of a hash and its place; with the lock held. Two keys of one hash cannot both be
// kept: the later one is.
func (s *shard[T]) at(hash uint64) (*node[T], place[T]) {
	for b := s.table.Load().bucket(hash); b != nil; b = b.more.Load() {
		for m := matches(b.tags.Load(), tagOf(hash)); m != 0; m &= m - 1 {
			if n := b.nodes[wayOf(m)].Load(); n != nil && s.hash(n.key()) == hash {
				return n, place[T]{b, wayOf(m)}
			}
		}
	}
	return nil, place[T]{}
}

// put stores n, of hash, in the place of old; or, without an old, where there is room.
func (s *shard[T]) put(hash uint64, n, old *node[T], at place[T]) {
	if old != nil {
		at.b.nodes[at.way].Store(n)
		return
	}
	if size := len(s.table.Load().buckets); s.count >= fullWays*size {
		s.resize(size + size/2)
	}
	s.table.Load().add(hash, n)
	s.count++
}

// add stores n, of a hash that the table does not have.
func (t *table[T]) add(hash uint64, n *node[T]) {
	b := t.bucket(hash)
	for {
		tags := b.tags.Load()
		if free := ^tags & tagHighs; free != 0 {
			way := wayOf(free)
			b.nodes[way].Store(n) // before its tag, for the readers
			b.tags.Store(tags | tagOf(hash)<<(8*way))
			return
		}
		if b.more.Load() == nil {
			b.more.Store(new(bucket[T]))
		}
		b = b.more.Load()
	}
}

// cut removes the node of hash at its place. A bucket that is empty then goes too, unless it is the
// first of its chain; what it points to stays, for the readers that stand on it.
func (s *shard[T]) cut(hash uint64, at place[T]) {
	tags := at.b.tags.Load() &^ (0xff << (8 * at.way))
	at.b.tags.Store(tags)
	at.b.nodes[at.way].Store(nil)
	s.count--
	if tags != 0 {
		return
	}
	for b := s.table.Load().bucket(hash); b != nil; b = b.more.Load() {
		if b.more.Load() == at.b {
			b.more.Store(at.b.more.Load())
			return
		}
	}
}

// each calls f with every node and its place; f may cut it.
func (b *bucket[T]) each(f func(n *node[T], at place[T])) {
	for ; b != nil; b = b.more.Load() {
		for m := b.tags.Load() & tagHighs; m != 0; m &= m - 1 {
			way := wayOf(m)
			f(b.nodes[way].Load(), place[T]{b, way})
		}
	}
}

func (s *shard[T]) resize(size int) {
	from, to := s.table.Load(), newTable[T](size)
	for i := range from.buckets {
		from.buckets[i].each(func(n *node[T], _ place[T]) { to.add(s.hash(n.key()), n) })
	}
	s.table.Store(to)
}
