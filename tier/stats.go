package tier

import (
	"time"

	"github.com/hearthcache/hearth/backends/ristretto"
)

// counts are what the cache counts, by index into its striped counters.
type count int

const (
	countL1Hits count = iota
	countL1Stale
	countL1Misses
	countPending
	countServedStale
	countLoads
	countLoadErrors
	countRefreshes
	countFailSafe
	countPromotions
	countLeaseWaits
	countLeaseGiveUps
	countHeldOff
	countSkipped
	countL1Fenced
	numCounts
)

// levelCount are what a level counts.
type levelCount int

const (
	levelHits levelCount = iota
	levelMisses
	levelErrors
	levelUnreadable
	levelLeases
	levelFills
	levelFillsLost
	levelFillsFailed
	levelBarred
	levelQueued
	levelDelivered
	numLevelCounts
)

// Stats is what a cache has counted since it was made. Counters are read one by one, not as of
// one instant.
type Stats struct {
	L1Hits   int64 // answered from L1, fresh
	L1Stale  int64 // found in L1 with a refresh due
	L1Misses int64 // not in L1

	Pending     int64 // answered by a mutation that the Writer has accepted and not yet applied
	ServedStale int64 // answered past the fresh time
	Loads       int64 // calls of a loader
	LoadErrors  int64 // of these, failed (a record that does not exist is none)
	Refreshes   int64 // background refreshes begun
	FailSafe    int64 // failed refreshes that a stale value stood in for
	Promotions  int64 // keys copied to a nearer remote tier

	LeaseWaits   int64 // looks at a key that another process was loading
	LeaseGiveUps int64 // waits that ended with a load of one's own, unfilled
	HeldOff      int64 // loads that filled nothing because of a hold-off
	Skipped      int64 // background work not begun because too much was running

	L1      L1Stats
	Remotes []RemoteStats // nearest first
}

// L1Stats is the state of the L1.
type L1Stats struct {
	Entries int64 // values held now
	Bytes   int64 // memory charged for them
	Evicted int64 // values dropped for space
	Flushes int64 // times everything was forgotten
	Fenced  int64 // values not stored because the key was invalidated or written since they were asked for: the epoch at work
}

// RemoteStats is what a cache has counted about one remote tier.
type RemoteStats struct {
	Name        string
	Hits        int64
	Misses      int64
	Errors      int64 // calls without an answer
	Unreadable  int64 // values that were no value of this cache
	Leases      int64 // leases granted to this process
	Fills       int64 // fills stored
	FillsLost   int64 // fills refused because the key changed meanwhile: the fence at work
	FillsFailed int64 // fills without an answer
	Barred      int64 // reads passed over because an invalidation was owed
	Queued      int64 // invalidations that went into the outbox
	Delivered   int64 // of these, delivered since
	Owed        int64 // in the outbox now

	// Store is what the store tells about itself through a method StoreStats() any, nil if it
	// has none. That of a migration is a fallback.Stats, with its Progress.
	Store any
}

// Stats returns the counts.
func (c *Cache[V]) Stats() Stats {
	n := func(i count) int64 { return c.count.Load(int(i)) }
	s := Stats{
		L1Hits: n(countL1Hits), L1Stale: n(countL1Stale), L1Misses: n(countL1Misses),
		Pending: n(countPending), ServedStale: n(countServedStale),
		Loads: n(countLoads), LoadErrors: n(countLoadErrors), Refreshes: n(countRefreshes),
		FailSafe: n(countFailSafe), Promotions: n(countPromotions),
		LeaseWaits: n(countLeaseWaits), LeaseGiveUps: n(countLeaseGiveUps),
		HeldOff: n(countHeldOff), Skipped: n(countSkipped),
	}
	if c.l1 != nil {
		l := c.l1.Stats()
		s.L1 = L1Stats{Entries: l.Entries, Bytes: l.Cost, Evicted: int64(l.Evicted), Flushes: c.flushes.Load(), Fenced: n(countL1Fenced)}
	}
	for _, lv := range c.levels {
		s.Remotes = append(s.Remotes, lv.stats())
	}
	return s
}

// countFenced counts a value that L1 did not store because its key has changed since stamp.
func (c *Cache[V]) countFenced(key string, stamp ristretto.Stamp, stored bool) {
	if !stored && c.l1.Stamp(key) != stamp {
		c.count.Inc(int(countL1Fenced))
	}
}

func (l *level) stats() RemoteStats {
	n := func(i levelCount) int64 { return l.counts[i].Load() }
	s := RemoteStats{
		Name: l.name, Hits: n(levelHits), Misses: n(levelMisses), Errors: n(levelErrors), Unreadable: n(levelUnreadable),
		Leases: n(levelLeases), Fills: n(levelFills), FillsLost: n(levelFillsLost), FillsFailed: n(levelFillsFailed),
		Barred: n(levelBarred), Queued: n(levelQueued), Delivered: n(levelDelivered), Owed: int64(l.owed.depth()),
	}
	if st, ok := l.store.(interface{ StoreStats() any }); ok {
		s.Store = st.StoreStats()
	}
	return s
}

// Health says how each part of a cache does right now.
type Health struct {
	// Link is the state of the Invalidator's link: "none", "up" or "down".
	Link string
	// LinkErr says why it is down.
	LinkErr error
	// LinkNote says what the Invalidator has to do without, in its own words; "" = nothing.
	LinkNote string
	L1       L1Health
	Remotes  []RemoteHealth // nearest first
}

// L1Health is the state of the L1. It cannot fail: what it does follows from Config.Local and from
// the Invalidator's link.
type L1Health struct {
	// State is "serving"; "bypassed" while the link is down and Local.WhenDown is Bypass;
	// "short" while it is down and values live for a moment (ShortTTL); "blind" while it is down
	// and L1 goes on (Serve); "off" with Local.Disabled; "closed" after Close.
	State   string
	Entries int64   // values held now
	Fill    float64 // share of Local.MaxBytes in use, from 0 to 1
}

// RemoteHealth is the state of one remote tier.
type RemoteHealth struct {
	Name     string
	Breaker  string        // "closed", "open", "half-open"
	RetryIn  time.Duration // until the next probe while it is open
	LastErr  error         // the last failure, nil if there was none
	Owed     int           // invalidations waiting for delivery
	Warnings []string      // what the tier lacks or how its client is set up, in words
}

// Health returns the state of the cache. It asks no server.
func (c *Cache[V]) Health() Health {
	h := Health{}
	h.Link, h.LinkErr = c.linkState()
	if d, ok := c.cfg.Local.Invalidator.(interface{ Degraded() string }); ok {
		h.LinkNote = d.Degraded()
	}
	h.L1 = c.l1Health()
	for _, lv := range c.levels {
		st := lv.guard.Stats()
		h.Remotes = append(h.Remotes, RemoteHealth{
			Name: lv.name, Breaker: st.State.String(), RetryIn: st.RetryIn, LastErr: st.LastError,
			Owed: lv.owed.depth(), Warnings: lv.warnings(),
		})
	}
	return h
}

func (c *Cache[V]) l1Health() L1Health {
	if c.l1 == nil {
		return L1Health{State: "off"}
	}
	s := c.l1.Stats()
	h := L1Health{State: "serving", Entries: s.Entries, Fill: float64(s.Cost) / float64(c.cfg.Local.MaxBytes)}
	switch {
	case c.closed.Load():
		h.State = "closed"
	case !c.down.Load():
	case c.cfg.Local.WhenDown == Bypass:
		h.State = "bypassed"
	case c.cfg.Local.WhenDown == ShortTTL:
		h.State = "short"
	default:
		h.State = "blind"
	}
	return h
}

// warnings says what this level cannot do that others can.
func (l *level) warnings() []string {
	var w []string
	if l.caps.Leaser == nil {
		w = append(w, "no leases: fills are not fenced, and loads are shared in this process only")
	}
	if l.caps.Batcher == nil {
		w = append(w, "no batches: GetMany takes one round trip per key")
	}
	if l.caps.Warner != nil {
		w = append(w, l.caps.Warner.Warnings()...)
	}
	return w
}
