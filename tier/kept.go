package tier

import "math"

// kept is an entry as L1 holds it. There are as many as keys, so it has only what is asked of an
// entry that comes out of L1, in 24 bytes beside the value. What the entry took to load, its
// generation and its tags are not among that: they are asked for when it goes into a tier, and what
// L1 has never goes into another one.
type kept[V any] struct {
	value V

	// made is when the entry was made, in Unix ms, above where it came from, above three flags.
	made           uint64
	fresh, expires uint32 // ms since then, plus one; 0 = never
	rare           *rare  // nil: there is none of it
}

// rare is what few entries have: a version, or times and an origin that kept has no room for. Those
// in kept then mean nothing.
type rare struct {
	version                 uint64
	apart                   bool // the rest is set
	created, fresh, expires int64
	source                  int
}

const (
	keptDue = 1 << iota
	keptOffered
	keptAbsent
	sourceShift = 3
	sourceBits  = 8
	madeShift   = sourceShift + sourceBits

	// keptOverhead is what L1 is charged for a kept, beside the value and what the L1 charges for
	// every entry.
	keptOverhead = 24
)

// kept is e for L1.
func (e *entry[V]) kept() kept[V] {
	source := e.source - fromWriter // from zero on
	fresh, ok1 := since(e.created, e.fresh)
	expires, ok2 := since(e.created, e.expires)
	k := kept[V]{value: e.value}
	if e.version != 0 {
		k.rare = &rare{version: e.version}
	}
	if ok1 && ok2 && e.created >= 0 && e.created < 1<<(64-madeShift) && source>>sourceBits == 0 {
		k.made, k.fresh, k.expires = uint64(e.created)<<madeShift|uint64(source)<<sourceShift, fresh, expires
	} else {
		k.rare = &rare{e.version, true, e.created, e.fresh, e.expires, e.source}
	}
	if e.due {
		k.made |= keptDue
	}
	if e.offered {
		k.made |= keptOffered
	}
	if e.absent {
		k.made |= keptAbsent
	}
	return k
}

// since is at as kept has it, and whether it can.
func since(created, at int64) (uint32, bool) {
	if at == 0 {
		return 0, true
	}
	d := at - created
	return uint32(d + 1), d >= 0 && d < math.MaxUint32
}

// absent reports whether k is a negative entry.
func (k *kept[V]) absent() bool { return k.made&keptAbsent != 0 }

// entry is k as it was before [entry.kept]: without what L1 does not keep.
func (k *kept[V]) entry() *entry[V] {
	e := new(entry[V])
	k.into(e)
	return e
}

// into is [kept.entry] without an allocation.
func (k *kept[V]) into(e *entry[V]) {
	*e = entry[V]{value: k.value, due: k.made&keptDue != 0, offered: k.made&keptOffered != 0, absent: k.absent()}
	if k.rare != nil {
		e.version = k.rare.version
		if k.rare.apart {
			e.created, e.fresh, e.expires, e.source = k.rare.created, k.rare.fresh, k.rare.expires, k.rare.source
			return
		}
	}
	e.created = int64(k.made >> madeShift)
	e.source = int(k.made>>sourceShift&(1<<sourceBits-1)) + fromWriter
	if k.fresh != 0 {
		e.fresh = e.created + int64(k.fresh) - 1
	}
	if k.expires != 0 {
		e.expires = e.created + int64(k.expires) - 1
	}
}
