package checker

import (
	"sync/atomic"
	"unsafe"
)

// History is what the source of record holds per key, and what readers may still be given. Keys
// are numbers from 0. Safe for concurrent use, and across processes if it came from [Open].
type History struct {
	board *board
	cells []cell
	unmap func() error
}

// board is what is counted over all keys.
type board struct {
	reads, stale, invented atomic.Uint64
	words                  [Words]atomic.Uint64
	_                      [128 - 8*(3+Words)]byte
}

// Words is how many words of [History.Word] there are.
const Words = 12

// ring is how many of a key's newest values keep their place in the order of commits. A value
// that is read although so many newer ones were named is taken for the first one, value 0, unless
// half as many were written while the read was under way: then nobody can tell.
const ring = 1 << 10

// cell is one key. Its words are two halves: an order of commit, and a name.
type cell struct {
	named     atomic.Uint64       // the newest name given out
	head      atomic.Uint64       // order<<32 | name of what the source holds
	completed atomic.Uint64       // the newest order whose write is complete
	orders    [ring]atomic.Uint64 // name<<32 | order, at name % ring
}

const half = 1<<32 - 1

// New returns a History for this process alone. Every key holds value 0.
func New(keys int) *History {
	return &History{board: new(board), cells: make([]cell, keys), unmap: func() error { return nil }}
}

// size is how many bytes a shared History of so many keys takes.
func size(keys int) int {
	return int(unsafe.Sizeof(board{})) + keys*int(unsafe.Sizeof(cell{}))
}

// over lays a History over zeroed, shared memory.
func over(mem []byte, keys int, unmap func() error) *History {
	return &History{
		board: (*board)(unsafe.Pointer(&mem[0])),
		cells: unsafe.Slice((*cell)(unsafe.Pointer(&mem[unsafe.Sizeof(board{})])), keys),
		unmap: unmap,
	}
}

// Close gives shared memory back; the History must not be used any more.
func (h *History) Close() error { return h.unmap() }

// Word returns a word that the processes of a shared History use as they like: a flag, a count,
// a time.
func (h *History) Word(i int) *atomic.Uint64 { return &h.board.words[i] }

// Write commits a new value at the source and returns its name.
func (h *History) Write(key int) uint64 {
	for {
		if id := h.Name(key); h.Commit(key, id) {
			return id
		}
	}
}

// Name gives out a name for a value that is to be written.
func (h *History) Name(key int) uint64 {
	id := h.cells[key].named.Add(1)
	h.cells[key].enter(id)
	return id
}

// enter makes room for the order of id, unless whoever has the name was held up for so long that
// its room belongs to a later one.
func (c *cell) enter(id uint64) {
	if id > half {
		panic("checker: a key has run out of names")
	}
	room := &c.orders[id%ring]
	for word := room.Load(); word>>32 < id && !room.CompareAndSwap(word, id<<32); word = room.Load() {
	}
}

// Commit makes id what the source holds. It returns false, and changes nothing, if so many names
// were given out since that of id that nobody could tell its place among the commits: the source
// has to refuse such a write.
func (h *History) Commit(key int, id uint64) bool {
	c := &h.cells[key]
	for {
		old := c.head.Load()
		c.place(old) // whoever replaces a head makes sure that its order is known
		// Asked after the head was read: to lose its room from here on takes so many names that
		// their commits have replaced the head as well.
		if c.orders[id%ring].Load()>>32 != id {
			return false
		}
		head := (old>>32+1)<<32 | id
		if c.head.CompareAndSwap(old, head) {
			c.place(head)
			return true
		}
	}
}

// Current returns the value that the source holds.
func (h *History) Current(key int) uint64 {
	c := &h.cells[key]
	head := c.head.Load()
	c.place(head)
	return head & half
}

// place notes the order of a head. It is done by everybody who sees it, so that nobody hands out
// a value whose order is not known yet.
func (c *cell) place(head uint64) {
	id, order := head&half, head>>32
	c.orders[id%ring].CompareAndSwap(id<<32, id<<32|order)
}

// order returns the place of id among the commits; ok is false if it was never committed.
func (c *cell) order(id uint64) (order uint64, ok bool) {
	switch {
	case id == 0:
		return 0, true
	case id > c.named.Load():
		return 0, false
	}
	word := c.orders[id%ring].Load()
	if word>>32 != id {
		return 0, true // so old that it was forgotten
	}
	return word & half, word&half != 0
}

// Complete says that the write of id is complete: reads that begin from now on must not return
// anything older. A write that failed, or whose outcome is not known, is never completed.
func (h *History) Complete(key int, id uint64) {
	c := &h.cells[key]
	order, _ := c.order(id)
	for {
		old := c.completed.Load()
		if old >= order || c.completed.CompareAndSwap(old, order) {
			return
		}
	}
}
