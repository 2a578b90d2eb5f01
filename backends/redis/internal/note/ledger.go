package note

// maxOrigins bounds the memory about senders; more processes than a channel can serve.
const maxOrigins = 4096

// Ledger remembers the last number of every sender. The zero value is ready. Not safe for
// concurrent use.
type Ledger struct {
	last map[Origin]uint64

	// Blind is for tests only: gaps are not looked for.
	Blind bool
}

// Gap notes a message and reports whether one before it was missed. A number that was seen
// before, or that comes late, is no gap: what it says still counts. A sender that is heard for
// the first time with another number than 1 may have said things before, so that is a gap.
func (l *Ledger) Gap(n Note) bool {
	last, known := l.last[n.Origin] // 0: nothing heard, and numbers begin with 1
	full := !known && len(l.last) >= maxOrigins
	if l.last == nil || full {
		l.last = map[Origin]uint64{}
	}
	l.last[n.Origin] = max(last, n.Seq)
	want := last + 1
	if n.Kind == Tail {
		want = last
	}
	return (full || n.Seq > want) && !l.Blind
}

// Hole is [Ledger.Gap] for a log that is read without missing a piece: what a sender said before
// the place where the reader joined is none of its business, and a tail repeats nothing.
func (l *Ledger) Hole(n Note) bool {
	if n.Kind == Tail {
		return false
	}
	_, known := l.last[n.Origin]
	full := len(l.last) >= maxOrigins
	return l.Gap(n) && (known || full)
}
