package fallback

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/fence"
	"github.com/hearthcache/hearth/internal/flight"
	"github.com/hearthcache/hearth/internal/guard"
	"github.com/hearthcache/hearth/internal/iface"
)

// Defaults of [Config] and [Member].
const (
	DefaultTimeout    = 100 * time.Millisecond // two members must fit into the 250 ms of a tier's call
	DefaultHold       = time.Minute
	DefaultCopyHold   = 2 * time.Second // a copy is a read and a write; what takes longer is lost
	DefaultUnknownTTL = time.Minute
	DefaultMaxCopies  = 32
	DefaultMaxOwed    = 10_000
	DefaultLongestTTL = 24 * time.Hour
)

// Member is one store of the migration.
type Member struct {
	// Store is the store; it is guarded here, so it needs no breaker of its own.
	Store backends.Store
	// Name is for errors and progress; "" = "new", "old", "old 2", ...
	Name string
	// Timeout bounds each call to it. 0 = DefaultTimeout, negative = only the caller's context
	// does.
	Timeout time.Duration
	// MaxConcurrent is how many calls to it may run at once, those given up on included: the
	// budget that an unwell server can use up. 0 = 256, negative = no limit.
	MaxConcurrent int
	// OpenFor is how long it is left alone after it stopped answering, before it is tried again;
	// it doubles with each vain try up to MaxOpenFor. 0 = 500 ms, and 30 s.
	OpenFor, MaxOpenFor time.Duration
}

// LegacyCopies is the form in which a read copies another client's value from old to new.
type LegacyCopies uint8

const (
	// LegacyReframed copies what [Config.Legacy] made of it: new has frames only, which other
	// clients cannot read.
	LegacyReframed LegacyCopies = iota
	// LegacyAsIs copies it with the bytes, and the flags where new keeps them, that old has, as
	// "hearth copy" does: clients that do not use hearth can read new, and Legacy decodes it at
	// each read.
	LegacyAsIs
)

// Config configures a [Store]. New and one Old are needed; every zero value is a default.
type Config struct {
	// New is where the migration goes.
	New Member
	// Old is where it comes from, nearest first: what Old[0] lacks is read from Old[1], and so
	// on, as if each were the new store of the next in [PhaseNew].
	Old []Member
	// Phase to begin with.
	Phase Phase

	// Both lets writes and fills of keys that new answers for reach old too, so that going back
	// is as warm as going forth, at the price of one more write. Otherwise old is only told to
	// forget.
	Both bool

	// OldKey is the name under which old has key, nil = the same. FromOldKey is its inverse (ok
	// is false for keys of old that are none of ours); without it a Store with an OldKey cannot
	// Scan nor listen to invalidations.
	OldKey     func(key string) string
	FromOldKey func(oldKey string) (key string, ok bool)

	// Legacy turns a value that hearth did not write into what readers of this Store expect, e.g.
	// a frame ([codec.Framer.Append] makes them, see the example). Values of old are copied to new in that
	// form, unless LegacyCopies says otherwise; those of new, where another client writes already or "hearth copy" has put them as
	// they were, are read so too, and stay as they are. An error makes the value a miss. nil =
	// such values are left as they are.
	Legacy func(key string, it backends.Item) (backends.Item, error)
	// LegacyCopies is the form in which reads copy values that Legacy decodes. 0 = LegacyReframed.
	LegacyCopies LegacyCopies

	// UnknownTTL is the lifetime of a copy when nobody can tell how long the original still
	// lives. 0 = DefaultUnknownTTL. A value without expiry stays without expiry where old says
	// so.
	UnknownTTL time.Duration
	// CopyHold is how long the lease of one copy lasts. 0 = DefaultCopyHold.
	CopyHold time.Duration
	// MaxCopies is how many copies may run at once; a read beyond that is answered, not copied.
	// 0 = DefaultMaxCopies, negative = no copies at all.
	MaxCopies int
	// CopiesPerSecond limits the copies of this process; 0 = no limit.
	CopiesPerSecond int

	// Hold is how long new keeps a deleted key closed when old could not be told of the delete;
	// it is renewed until old was told. 0 = DefaultHold.
	Hold time.Duration
	// MaxOwed is how many invalidations may wait for each member. Beyond that the member is not
	// read until LongestTTL has passed. 0 = DefaultMaxOwed.
	MaxOwed int
	// LongestTTL is the longest lifetime in use: after it, nothing that was missed can still be
	// there. 0 = DefaultLongestTTL.
	LongestTTL time.Duration

	// CompareEvery compares new with old at every so many-th key that new answered before
	// PhaseRetire, in the background and within the budget of copies, for [Progress]. What differs
	// is looked at again, since a change tells one store after the other. 0 = never.
	CompareEvery int

	// Observer, if set, is told what happens; it must be quick and safe for concurrent use.
	Observer func(Event)
}

// Store is a [backends.Composite] of a new store and one or more old ones. It is safe for
// concurrent use.
type Store struct {
	cfg      Config
	new, old *member
	caps     backends.Caps
	nested   *Store // the chain of olds, if there are more than one

	term   atomic.Pointer[term]  // in force
	joined atomic.Pointer[Fleet] // that this process reports to; nil = none
	termMu sync.Mutex            // changes of the term
	ended  []*term               // terms that calls are still running of

	copying flight.Group[struct{}]
	budget  chan struct{}
	pace    pace
	recent  recent

	patience time.Duration // of a read with its copy; copyPatience, but for tests

	counts counts
	off    switches

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	mu     sync.Mutex // guards closed against work that is about to start
	closed bool
	work   sync.WaitGroup
}

var _ backends.Composite = (*Store)(nil)

// switches take single rules out, in tests that must then see a stale value. A Store is made
// with those rules that package fence has not removed.
type switches struct {
	order, lease, bars, tombstone bool
}

func removed() switches {
	return switches{
		order: fence.Removed(fence.MigrateOrder), lease: fence.Removed(fence.MigrateLease),
		bars: fence.Removed(fence.MigrateBars), tombstone: fence.Removed(fence.MigrateTombstone),
	}
}

// New returns a Store, or everything that is wrong with cfg.
func New(cfg Config) (*Store, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if err := cfg.apart(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, budget: make(chan struct{}, max(cfg.MaxCopies, 0)), pace: pace{perSecond: cfg.CopiesPerSecond}, off: removed(), patience: copyPatience}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	old := cfg.Old[0]
	if len(cfg.Old) > 1 {
		nested, err := New(cfg.chain())
		if err != nil {
			return nil, err
		}
		s.nested = nested
		old = Member{Name: old.Name, Store: nested, Timeout: -1, MaxConcurrent: -1}
	}
	var err error
	if s.new, err = newMember(cfg.New, 0, cfg); err != nil {
		return nil, err
	}
	if s.old, err = newMember(old, 1, cfg); err != nil {
		return nil, err
	}
	if s.caps, err = s.resolve(); err != nil {
		return nil, err
	}
	s.copying.KeepGoing = true
	s.term.Store(&term{phase: cfg.Phase})
	s.counts.entered(PhaseOld, cfg.Phase)
	return s, nil
}

// chain is the configuration of the olds among themselves.
func (c Config) chain() Config {
	inner := c
	inner.New, inner.Old, inner.Phase = c.Old[0], c.Old[1:], PhaseNew
	inner.Both, inner.Legacy, inner.LegacyCopies, inner.OldKey, inner.FromOldKey = false, nil, LegacyReframed, nil, nil
	inner.CompareEvery, inner.Observer = 0, nil
	if c.Observer != nil { // its single debts are debts of the chain as well
		inner.Observer = func(e Event) {
			if e.Kind == EventOverflow {
				c.Observer(e)
			}
		}
	}
	return inner
}

func (c *Config) complete() error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf("fallback: "+format, args...))
		}
	}
	refuse(len(c.Old) == 0, "Config.Old is empty; without an old store, use the new one itself")
	refuse(!c.Phase.Valid(), "Config.Phase: %v is no phase", c.Phase)
	c.New.Name = orName(c.New.Name, "new")
	c.Old = append([]Member(nil), c.Old...)
	for i := range c.Old {
		name := "old"
		if i > 0 {
			name = fmt.Sprint("old ", i+1)
		}
		c.Old[i].Name = orName(c.Old[i].Name, name)
	}
	seen := map[string]bool{}
	for _, m := range append([]Member{c.New}, c.Old...) {
		refuse(iface.IsNil(m.Store), "member %q has no Store", m.Name)
		refuse(seen[m.Name], "two members are called %q", m.Name)
		seen[m.Name] = true
	}
	for _, m := range c.Old {
		refuse(iface.Same(m.Store, c.New.Store), "member %q is the new store too", m.Name)
	}
	refuse(c.FromOldKey != nil && c.OldKey == nil, "Config.FromOldKey without OldKey")
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"UnknownTTL", &c.UnknownTTL, DefaultUnknownTTL}, {"CopyHold", &c.CopyHold, DefaultCopyHold},
		{"Hold", &c.Hold, DefaultHold}, {"LongestTTL", &c.LongestTTL, DefaultLongestTTL},
	} {
		refuse(*d.v < 0, "Config.%s is negative", d.name)
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	refuse(c.MaxOwed < 0, "Config.MaxOwed is negative")
	refuse(c.CopiesPerSecond < 0, "Config.CopiesPerSecond is negative")
	refuse(c.CompareEvery < 0, "Config.CompareEvery is negative")
	refuse(c.LegacyCopies > LegacyAsIs, "Config.LegacyCopies: %d is no form", c.LegacyCopies)
	refuse(c.LegacyCopies != LegacyReframed && c.Legacy == nil, "Config.LegacyCopies without Legacy")
	if c.MaxOwed == 0 {
		c.MaxOwed = DefaultMaxOwed
	}
	if c.MaxCopies == 0 {
		c.MaxCopies = DefaultMaxCopies
	}
	return errors.Join(errs...)
}

func orName(name, def string) string {
	if name == "" {
		return def
	}
	return name
}

// Phase returns the phase in force.
func (s *Store) Phase() Phase { return s.term.Load().phase }

// SetPhase puts p in force for calls that begin from now on, whatever the phase was. It is
// meant for a single process and for tests; in a fleet, [Fleet] calls it when every process is
// ready. An invalid phase is refused.
func (s *Store) SetPhase(p Phase) error {
	if !p.Valid() {
		return fmt.Errorf("fallback: %v is no phase", p)
	}
	s.enter(p, func(now uint32) uint32 { return now })
	return nil
}

func (s *Store) enter(p Phase, fleet func(now uint32) uint32) {
	from := s.turn(func(Phase) Phase { return p }, fleet)
	if from != p {
		s.counts.entered(from, p)
		s.observe(Event{Kind: EventPhase, From: from, Phase: p})
	}
}

// Caps implements [backends.Composite]. The record does not depend on the phase: a capability
// is in it if whoever is the authority in any phase can honour it.
func (s *Store) Caps() backends.Caps { return s.caps }

// Close ends background work (copies, deliveries) and waits for it. The Store can be used
// afterwards, without such work: what is owed to a member stays barred.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.work.Wait()
	s.new.guard.Close()
	s.old.guard.Close()
	if s.nested != nil {
		s.nested.Close()
	}
}

// spawn runs fn in the background, unless the Store is closed.
func (s *Store) spawn(fn func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.work.Go(fn)
	}
	return !s.closed
}

func newMember(c Member, index int, cfg Config) (*member, error) {
	m := &member{name: c.Name, store: c.Store, caps: backends.CapsOf(c.Store), index: index, legacy: cfg.Legacy}
	if index > 0 {
		m.key = cfg.OldKey
	}
	m.owed.limit = cfg.MaxOwed
	timeout := c.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	var err error
	m.guard, err = guard.New(guard.Config{
		Name: c.Name, Timeout: timeout, MaxConcurrent: c.MaxConcurrent,
		Breaker: guard.BreakerConfig{OpenFor: c.OpenFor, MaxOpenFor: c.MaxOpenFor},
	})
	if err != nil {
		return nil, fmt.Errorf("fallback: member %q: %w", c.Name, err)
	}
	return m, nil
}
