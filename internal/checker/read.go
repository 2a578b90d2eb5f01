package checker

// Verdict is what is to be said about a read.
type Verdict uint8

// The verdicts.
const (
	Fine     Verdict = iota
	Stale            // older than a write that was complete when the read began
	Invented         // never committed by the source
)

// String returns "fine", "stale" or "invented".
func (v Verdict) String() string { return [...]string{"fine", "stale", "invented"}[v] }

// Read is a read under way.
type Read struct {
	h     *History
	key   int
	floor uint64
}

// Begin starts a read. What is asked after it must not be older than what is complete now.
func (h *History) Begin(key int) Read {
	return Read{h: h, key: key, floor: h.cells[key].completed.Load()}
}

// End judges the value that the read returned, and counts it.
func (r Read) End(id uint64) Verdict {
	v := r.Judge(id)
	b := r.h.board
	b.reads.Add(1)
	switch v {
	case Stale:
		b.stale.Add(1)
	case Invented:
		b.invented.Add(1)
	}
	return v
}

// Judge is [Read.End] that counts nothing, for readers that count by themselves.
func (r Read) Judge(id uint64) Verdict {
	c := &r.h.cells[r.key]
	order, ok := c.order(id)
	switch {
	case !ok:
		return Invented
	case order >= r.floor:
		return Fine
	case order == 0 && id != 0 && c.head.Load()>>32 > r.floor+ring/2:
		return Fine // forgotten, but only because so much was written while the read was under way
	}
	return Stale
}

// Counts are the reads that ended, over all keys and processes.
type Counts struct {
	Reads, Stale, Invented uint64
}

// Counts returns what was counted so far.
func (h *History) Counts() Counts {
	b := h.board
	return Counts{Reads: b.reads.Load(), Stale: b.stale.Load(), Invented: b.invented.Load()}
}

// Add counts reads that were judged by [Read.Judge].
func (h *History) Add(c Counts) {
	h.board.reads.Add(c.Reads)
	h.board.stale.Add(c.Stale)
	h.board.invented.Add(c.Invented)
}
