package ristretto

import (
	"hash/maphash"
	"math"
	"strconv"
	"testing"
	"unsafe"
)

// chain is a shard with one bucket and n nodes of keys 0, 1, 2 and so on, which all share it.
func chain(n int) *shard[int] {
	s := new(shard[int])
	s.seed = maphash.MakeSeed()
	s.table.Store(newTable[int](1))
	for i := range n {
		s.table.Load().add(s.hash(strconv.Itoa(i)), numbered(i))
		s.count++
	}
	return s
}

func numbered(i int) *node[int] {
	key := strconv.Itoa(i)
	return &node[int]{data: unsafe.StringData(key), size: uint32(len(key)), v: i}
}

func (s *shard[T]) has(i int) bool {
	key := strconv.Itoa(i)
	n := s.find(s.hash(key), key)
	return n != nil && n.key() == key
}

func TestCut_AnEmptyBucketGoesAndReadersOnItGoOn(t *testing.T) {
	s := chain(3 * ways)
	second := s.table.Load().buckets[0].more.Load()
	for i := ways; i < 2*ways; i++ {
		hash := s.hash(strconv.Itoa(i))
		n, at := s.at(hash)
		if n == nil || at.b != second {
			t.Fatalf("%d is not in the second bucket", i)
		}
		s.cut(hash, at)
	}
	for i := range 3 * ways {
		if got, want := s.has(i), i < ways || i >= 2*ways; got != want {
			t.Errorf("%d: found %v", i, got)
		}
	}
	third := s.table.Load().buckets[0].more.Load()
	if third == second || third.more.Load() != nil {
		t.Error("the empty bucket is still in the chain")
	}
	if second.more.Load() != third {
		t.Error("a reader that stands on the empty bucket goes nowhere")
	}
}

func TestCut_TheFirstBucketStaysAndIsFilledAgain(t *testing.T) {
	s := chain(ways + 1)
	for i := range ways {
		hash := s.hash(strconv.Itoa(i))
		_, at := s.at(hash)
		s.cut(hash, at)
	}
	if !s.has(ways) {
		t.Error("what did not fit is gone with the rest")
	}
	s.table.Load().add(s.hash("100"), numbered(100))
	if n, at := s.at(s.hash("100")); n == nil || at.b != &s.table.Load().buckets[0] {
		t.Error("the room in the first bucket is not used")
	}
}

func TestResize_ReadersOfTheOldTableFindWhatWasThere(t *testing.T) {
	s := chain(3 * ways)
	old := s.table.Load()
	s.resize(7)
	reader := new(shard[int])
	reader.seed = s.seed
	reader.table.Store(old)
	for i := range 3 * ways {
		if !s.has(i) || !reader.has(i) {
			t.Errorf("%d: new table %v, old table %v", i, s.has(i), reader.has(i))
		}
	}
}

func TestMatches_FindsEveryTag(t *testing.T) {
	for _, tags := range []uint64{0, 0x80_80_80_80_80_80, 0xff_81_80_00_fe_9c, 0x81_80_81_80_81_80} {
		for tag := uint64(0x80); tag <= 0xff; tag++ {
			m := matches(tags, tag)
			for way := range ways {
				if tags>>(8*way)&0xff == tag && m>>(8*way)&0x80 == 0 {
					t.Errorf("%x in %x: way %d not found", tag, tags, way)
				}
			}
			if m&^tagHighs != 0 {
				t.Errorf("%x in %x: %x names no way", tag, tags, m)
			}
		}
	}
}

func TestBucket_IsInTheTableForAnyHash(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 1000} {
		table := newTable[int](n)
		for _, hash := range []uint64{0, 1, math.MaxUint64, math.MaxUint32, 1 << 63, math.MaxUint32 << 24} {
			table.bucket(hash) // would panic
		}
	}
}
