package fallback

import (
	"context"
	"sync/atomic"
	"time"
)

// EventKind says what happened.
type EventKind uint8

// The events.
const (
	EventPhase      EventKind = iota + 1 // the phase of this process changed: From, Phase
	EventCopyFailed                      // a copy to new was lost or refused: Key, Err
	EventOwed                            // Member could not be told of a change and is barred for Key
	EventOverflow                        // too much is owed to Member: it is not read any more
	EventDifferent                       // a comparison found different values under Key
	EventRampStep                        // the ramp went to Phase, from From, for Reason
	EventDelivered                       // Member was told of the change of Key after all
	EventProgress                        // a report: Phase, Progress
	EventRecord                          // of the fleet record: Reason says what became of it; Err
)

// Event is what an observer is told. Fields that do not belong to its Kind are zero.
type Event struct {
	Kind        EventKind
	From, Phase Phase
	Member, Key string
	Err         error
	Reason      string
	Progress    *Progress // of an EventProgress
}

func (s *Store) observe(e Event) {
	if s.cfg.Observer != nil {
		s.cfg.Observer(e)
	}
}

// counts are the figures behind Progress.
type counts struct {
	reads, hitsNew, hitsOld, misses, failures, skipped atomic.Int64
	askedNew, failedNew                                atomic.Int64
	copied, copyFailed, copyRefused                    atomic.Int64
	copyUnanswered                                     atomic.Int64 // of copyFailed, those new gave no answer to
	barred, owed, delivered                            atomic.Int64
	sampled, compared, equal, reframed, different      atomic.Int64
	driftSum, driftMax                                 atomic.Int64 // nanoseconds
	since                                              atomic.Int64 // Unix nanoseconds when the phase began
	unwritten                                          atomic.Int64 // Unix nanoseconds since when old is not written to here
	fleetUnwritten                                     atomic.Int64 // the same of the fleet; 0 = not known
	served                                             atomic.Bool  // a call has begun
	wrote                                              atomic.Bool  // and one may have written to old before unwritten
	lastTTL                                            atomic.Int64 // Unix nanoseconds when the last copy's original is gone
}

func (c *counts) drift(d time.Duration) {
	d = d.Abs()
	c.driftSum.Add(int64(d))
	for {
		old := c.driftMax.Load()
		if int64(d) <= old || c.driftMax.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// saw notes the remaining lifetime of something that old still had.
func (s *Store) saw(ttl time.Duration) {
	if ttl == 0 {
		ttl = s.cfg.LongestTTL
	}
	until := time.Now().Add(ttl).UnixNano()
	for {
		old := s.counts.lastTTL.Load()
		if until <= old || s.counts.lastTTL.CompareAndSwap(old, until) {
			return
		}
	}
}

// Progress is how far a migration has come, as seen by this process since New.
type Progress struct {
	Phase Phase
	Since time.Time // when this process went into Phase

	Reads    int64 // keys asked for
	HitsNew  int64 // answered by new
	HitsOld  int64 // answered by old
	Misses   int64
	Failures int64 // no answer
	Skipped  int64 // reads that new could not answer while old was unwell: counted, not waited for

	AskedNew  int64 // reads for which new was asked
	FailedNew int64 // of these, those it gave no answer to, although old may have

	Copied       int64 // values copied to new
	CopyFailures int64 // copies that lost their lease, or that new did not take
	CopyRefused  int64 // copies for which there was no budget
	Barred       int64 // reads that did not look into a store because something was owed to it
	OwedNew      int   // invalidations that new is owed now
	OwedOld      int   // invalidations that old is owed now
	Delivered    int64 // owed invalidations that were delivered
	// NewShutUntil and OldShutUntil are until when nothing is read from new or old, since it is
	// owed more than Config.MaxOwed ([EventOverflow]); zero = it is read. Of a chain of olds it is
	// the latest of all. See [Store.Emptied].
	NewShutUntil, OldShutUntil time.Time

	Compared     int64         // samples found in both, with values that stood still
	Equal        int64         // of these, with the same value
	Reframed     int64         // of these, another client's in old and a frame in new, as Config.Legacy makes them
	Different    int64         // of these, with other bytes: another value, or the same one loaded at another time
	TTLDriftMean time.Duration // how far their lifetimes lay apart
	TTLDriftMax  time.Duration

	// OldNeededUntil is when the values that were copied from old so far have expired there:
	// after it, if nothing was found in old any more, old can go. Zero = nothing was copied. A
	// value without expiry counts with Config.LongestTTL.
	OldNeededUntil time.Time
	// OldNeededFor is how long old may still be needed for; 0 = it can go, negative = nobody can
	// tell, since old is still written to (before PhaseNew, or with Config.Both). It is until
	// Config.LongestTTL after PhaseNew began, when whatever nobody has asked for has expired as
	// well, and not before OldNeededUntil. When it began in a fleet the record keeps, also for
	// processes that were started since (Record.OldUnwritten).
	OldNeededFor time.Duration
}

// ShareNew returns the share (0 to 1) of the hits that new answered; 0 without hits.
func (p Progress) ShareNew() float64 {
	if p.HitsNew+p.HitsOld == 0 {
		return 0
	}
	return float64(p.HitsNew) / float64(p.HitsNew+p.HitsOld)
}

// Progress returns a snapshot; its figures may be some calls apart.
func (s *Store) Progress() Progress {
	c := &s.counts
	p := Progress{
		Phase: s.Phase(),
		Reads: c.reads.Load(), HitsNew: c.hitsNew.Load(), HitsOld: c.hitsOld.Load(),
		Misses: c.misses.Load(), Failures: c.failures.Load(), Skipped: c.skipped.Load(),
		AskedNew: c.askedNew.Load(), FailedNew: c.failedNew.Load(),
		Copied: c.copied.Load(), CopyFailures: c.copyFailed.Load(), CopyRefused: c.copyRefused.Load(),
		Barred: c.barred.Load(), Delivered: c.delivered.Load(),
		OwedNew: int(s.new.owed.length.Load()), OwedOld: int(s.old.owed.length.Load()),
		Compared: c.compared.Load(), Equal: c.equal.Load(), Reframed: c.reframed.Load(), Different: c.different.Load(),
		TTLDriftMax: time.Duration(c.driftMax.Load()),
	}
	if p.Compared > 0 {
		p.TTLDriftMean = time.Duration(c.driftSum.Load() / p.Compared)
	}
	p.NewShutUntil, p.OldShutUntil = s.new.owed.shutUntil(), s.oldShutUntil()
	p.Since = time.Unix(0, c.since.Load())
	if at := c.lastTTL.Load(); at != 0 {
		p.OldNeededUntil = time.Unix(0, at)
	}
	p.OldNeededFor = s.oldNeededFor(p, time.Now())
	return p
}

func (s *Store) oldNeededFor(p Progress, now time.Time) time.Duration {
	if p.Phase < PhaseNew || s.cfg.Both {
		return -1
	}
	until, wrote := s.counts.lastWritten()
	if fleet := s.counts.fleetUnwritten.Load(); fleet != 0 && (!wrote || fleet > until.UnixNano()) {
		until = time.Unix(0, fleet)
	}
	until = until.Add(s.cfg.LongestTTL)
	if p.OldNeededUntil.After(until) {
		until = p.OldNeededUntil
	}
	return max(until.Sub(now), 0)
}

// entered notes that the phase went from one to another.
func (c *counts) entered(from, to Phase) {
	now := time.Now().UnixNano()
	c.since.Store(now)
	if from < PhaseNew || to < PhaseNew {
		c.unwritten.Store(now)
		c.wrote.Store(c.served.Load())
		c.fleetUnwritten.Store(0)
	}
}

// lastWritten is since when old is not written to by this process, and whether it was before.
func (c *counts) lastWritten() (at time.Time, wrote bool) {
	return time.Unix(0, c.unwritten.Load()), c.wrote.Load()
}

// heardUnwritten notes since when the fleet does not write to old.
func (c *counts) heardUnwritten(at time.Time) {
	if at.IsZero() {
		c.fleetUnwritten.Store(0)
		return
	}
	c.fleetUnwritten.Store(at.UnixNano())
}

// Report sends the observer an [EventProgress] every so often until ctx ends, and returns ctx's
// error.
func (s *Store) Report(ctx context.Context, every time.Duration) error {
	for {
		if err := pause(ctx, every); err != nil {
			return err
		}
		p := s.Progress()
		s.observe(Event{Kind: EventProgress, Phase: p.Phase, Progress: &p})
	}
}

// Stats is the state of a Store: its Progress, and that of each member.
type Stats struct {
	Progress
	Members []MemberStats // new, then old
	Fleet   *FleetStats   // nil = this process has joined none
}

// MemberStats is the state of one member. A chain of olds is one member.
type MemberStats struct {
	Name    string
	Breaker string        // "closed", "open" or "half-open"
	RetryIn time.Duration // until the next try while it is open
	LastErr error         // the last failure; nil = there was none
	Owed    int           // invalidations it is owed
}

// Stats returns the state of the Store. It asks no server.
func (s *Store) Stats() Stats {
	st := Stats{Progress: s.Progress()}
	for _, m := range []*member{s.new, s.old} {
		g := m.guard.Stats()
		st.Members = append(st.Members, MemberStats{
			Name: m.name, Breaker: g.State.String(), RetryIn: g.RetryIn, LastErr: g.LastError,
			Owed: int(m.owed.length.Load()),
		})
	}
	if f := s.joined.Load(); f != nil {
		fleet := f.Stats()
		st.Fleet = &fleet
	}
	return st
}

// StoreStats returns Stats, for a cache above to hand on as tier.RemoteStats.Store.
func (s *Store) StoreStats() any { return s.Stats() }
