package writebehind

import "time"

// Stats is a snapshot of what a writer has and has done since New.
type Stats struct {
	Depth   int           // operations accepted here and not at their end
	Bytes   int64         // their bytes
	Queued  int           // operations in this process's queue; differs from Depth for a shared journal
	Oldest  time.Duration // age of the oldest write in the queue; 0 = it is empty
	Letters int           // dead letters held now; 0 for a shared journal, see DeadLetters

	Accepted   uint64 // operations accepted
	Replayed   uint64 // records found in the journal by New
	Applied    uint64 // operations that the sink took
	Coalesced  uint64 // operations that a newer one replaced
	Retried    uint64 // operations sent back for another attempt
	Dead       uint64 // operations that became dead letters
	Expired    uint64 // operations skipped because their TTL had run out
	Rejected   uint64 // operations not accepted
	Through    uint64 // operations written through because the queue was full
	Unreported uint64 // applied operations for which OnApplied failed

	Commits      uint64        // of the journal, each with its fsync
	CommitErrors uint64        // those that failed
	CommitLast   time.Duration // what the last one took
	CommitTotal  time.Duration // what all of them took
}

type counts struct {
	accepted, replayed, applied, coalesced, retried, dead, expired, rejected, through, unreported uint64

	commits, commitErrors   uint64
	commitLast, commitTotal time.Duration
}

func (w *Writer[V]) count1(c *uint64, n int) {
	w.mu.Lock()
	*c += uint64(n)
	w.mu.Unlock()
}

// Stats returns a consistent snapshot.
func (w *Writer[V]) Stats() Stats {
	w.mu.RLock()
	defer w.mu.RUnlock()
	c := w.stats
	s := Stats{
		Depth: w.entries, Bytes: w.bytes, Queued: w.order.Len(), Letters: len(w.dead),
		Accepted: c.accepted, Replayed: c.replayed, Applied: c.applied, Coalesced: c.coalesced,
		Retried: c.retried, Dead: c.dead, Expired: c.expired, Rejected: c.rejected,
		Through: c.through, Unreported: c.unreported, Commits: c.commits,
		CommitErrors: c.commitErrors, CommitLast: c.commitLast, CommitTotal: c.commitTotal,
	}
	if e := w.order.Front(); e != nil {
		s.Oldest = time.Since(e.Value.(*op[V]).Enqueued)
	}
	return s
}

// Warnings returns what makes the journal less durable than its level promises, one sentence each,
// as the journal found it when it was opened; nil = nothing, or a journal that cannot tell.
func (w *Writer[V]) Warnings() []string {
	if j, ok := w.cfg.Journal.(interface{ Warnings() []string }); ok {
		return j.Warnings()
	}
	return nil
}
