package counter

import (
	"sync/atomic"
	"unsafe"
)

const (
	stripes  = 64
	lineSize = 64
	perLine  = lineSize / 8
)

// Striped is a set of counters, numbered from 0. Make one with [New]. Safe for concurrent use.
// Nothing allocates after New.
type Striped struct {
	cells  []atomic.Int64 // stripe after stripe, the first one at the start of a cache line
	stride uintptr        // counters of a stripe, rounded up to whole cache lines
	n      int
}

// New returns n counters (at least 1), all zero. It takes 4 KiB for every eight counters begun.
func New(n int) *Striped {
	n = max(n, 1)
	stride := (n + perLine - 1) / perLine * perLine
	cells := make([]atomic.Int64, stripes*stride+perLine-1)
	skip := 0
	if off := uintptr(unsafe.Pointer(&cells[0])) % lineSize; off != 0 {
		skip = int(lineSize-off) / 8
	}
	return &Striped{cells: cells[skip : skip+stripes*stride], stride: uintptr(stride), n: n}
}

// Inc adds one to counter i.
func (s *Striped) Inc(i int) { s.cells[stripe()*s.stride+uintptr(i)].Add(1) }

// Add adds delta, which may be negative, to counter i.
func (s *Striped) Add(i int, delta int64) { s.cells[stripe()*s.stride+uintptr(i)].Add(delta) }

// Load returns counter i. Additions that happen meanwhile may or may not be in it; all that
// happened before are.
func (s *Striped) Load(i int) int64 {
	if i >= s.n {
		panic("counter: no such counter") // it would be padding, always 0
	}
	var sum int64
	for at := i; at < len(s.cells); at += int(s.stride) {
		sum += s.cells[at].Load()
	}
	return sum
}

// Len returns the number of counters.
func (s *Striped) Len() int { return s.n }

// stripe picks a stripe by where the goroutine's stack is. Stacks are at least 2 KiB apart; the
// multiplication (Fibonacci hashing, Knuth vol. 3, 6.4) spreads what is left. A goroutine may
// change its stripe when its stack grows, which only costs a cache miss.
func stripe() uintptr {
	var here byte
	at := uint64(uintptr(unsafe.Pointer(&here))) >> 11
	return uintptr(at * 0x9e3779b97f4a7c15 >> (64 - 6))
}
