package main

import "slices"

// verdict is what a read turned out to be, held against the history of its record.
type verdict uint8

const (
	right verdict = iota
	stale         // older than a write that was finished before the read began
	wrong         // nothing that the source has ever had
)

// judge holds the answer of a read that has just ended against the history of the record. floor
// is what source.floor returned before the read began; absent says that the answer was "there
// is no such record".
//
// The rule is that of a regular register (Lamport, "On Interprocess Communication", 1986): right
// is the version of the last write that was finished when the read began, or of any later one.
// It is exact: no clock is read and nothing is sampled.
func (s *source) judge(id uint32, floor uint64, got Record, absent bool) verdict {
	h := &s.records[id]
	h.mu.Lock()
	defer h.mu.Unlock()
	if absent {
		return h.judgeAbsent(floor)
	}
	_, removed := slices.BinarySearch(h.removed, got.Version)
	switch {
	case got.Number != id || got.Version == 0 || got.Version > h.version || removed || got.Text != text:
		return wrong
	case got.Version < floor:
		return stale
	}
	return right
}

// judgeAbsent judges the answer "absent": some delete must be young enough for it.
func (h *history) judgeAbsent(floor uint64) verdict {
	if len(h.removed) == 0 {
		return wrong
	}
	if h.removed[len(h.removed)-1] < floor {
		return stale
	}
	return right
}
