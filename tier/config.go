package tier

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/codec"
	"github.com/hearthcache/hearth/internal/iface"
)

// Config says what a [Cache] is made of. The zero value of every field is its documented
// default; [New] validates the whole and names the field that is wrong.
//
// At least one of L1 and Remotes must be there: a Config with no Remotes is a local cache, one
// with Local.Disabled is a remote cache without L1.
type Config[V any] struct {
	// Namespace is put before every key in the remote tiers ("user" makes "user:42") and bound
	// into every stored value, so that two caches can share a server. Letters, digits, '.', '-'
	// and '_'. Empty: keys are stored as they are.
	Namespace string

	// Local is the L1, in this process.
	Local Local[V]

	// Remotes are the shared tiers, nearest first. The last one is the authority: it hands out
	// leases and versions.
	Remotes []Remote

	// Loader reads one record from the source of record. Optional: without it Get answers
	// ErrMiss, and GetOrLoad brings its own. A Loader that also implements [ManyLoader] serves
	// GetMany in one call; one that implements [EntryLoader] can decide lifetimes per record.
	Loader Loader[V]

	// Writer is what Set and Delete pass before any cache changes. Optional.
	Writer Writer[V]

	// TTL is how long a value lives: after it the value is gone. 0 = 5 minutes.
	TTL time.Duration

	// Fresh is how long a value counts as fresh; from then until TTL it is stale: it is served
	// while one loader refreshes it, and when the source fails. 0 = TTL (never stale).
	// At most TTL.
	Fresh time.Duration

	// NegativeTTL is how long "the record does not exist" is remembered. 0 = not at all.
	NegativeTTL time.Duration

	// Jitter is the share of TTL and Fresh that is taken off at random, so that values filled
	// together do not expire together. It only subtracts. 0 = 0.1; negative = none; below 1.
	Jitter float64

	// Load bounds loading.
	Load Load

	// Outbox keeps invalidations that a tier could not take across a crash. Nil: in memory.
	Outbox OutboxLog

	// Barriers turns on Clear and tags.
	Barriers Barriers

	// Format is how values are written to the remote tiers: codec, compression, encryption.
	// Its Namespace is set by New. Zero: JSON (raw bytes for V = []byte, string), compressed
	// never.
	Format codec.Config[V]

	// Clone, if set, copies values on their way into and out of L1. Without it callers share
	// one value and must not modify it.
	Clone func(V) V

	// Observer receives events; never for an L1 hit. Optional.
	Observer Observer
}

// Local configures the L1.
type Local[V any] struct {
	// Disabled leaves the L1 out.
	Disabled bool

	// MaxBytes bounds the L1's memory, overhead included. 0 = 64 MiB.
	MaxBytes int64

	// TTL caps how long a value may be served from L1 without asking a remote tier. 0 = 30 s
	// with an Invalidator, 5 s without one, no cap where there are no remotes.
	TTL time.Duration

	// Cost estimates the bytes of memory a value takes. Nil: the size of its encoding, or 256
	// where there are no remotes to encode for.
	Cost func(V) int64

	// Invalidator brings news of changes made by other processes. Nil: the TTL alone bounds
	// how old an L1 value can be. One that would not hear of every change in Remotes is refused, if
	// it says so ([backends.Fitting]; those of hearth do): package tracking takes one remote tier
	// and has to know its prefix.
	Invalidator backends.Invalidator

	// WhenDown is what L1 does while the Invalidator's link is down. Zero: [Bypass].
	WhenDown WhenDown

	// DeadAfter is how long the link may stay silent before it counts as down. 0 = 3 s. Of several
	// connections (tracking on a Cluster) one may be silent for two Pings of the source more. It must
	// be longer than the pause between two signs of life of the Invalidator (its Ping, 1 s unless
	// set), or the link would go down and up with each: [New] refuses it where the source says its
	// pace ([backends.Paced]; those of hearth do). Twice the Ping and more lets one answer be late.
	DeadAfter time.Duration
}

// WhenDown is a policy for L1 while nobody tells it what changed.
type WhenDown int

const (
	// Bypass: L1 is not read; every read asks a remote tier.
	Bypass WhenDown = iota
	// ShortTTL: values live for one second in L1.
	ShortTTL
	// Serve: L1 goes on as if nothing had happened; staleness is bounded by Local.TTL alone.
	Serve
)

// Remote configures one shared tier.
type Remote struct {
	// Name is what errors, events and Stats call it. Required, unique.
	Name string

	// Store is the tier itself: a driver, or a composite such as a fallback. Required.
	Store backends.Store

	// TTL caps the lifetime of values here. 0 = the cache's TTL.
	TTL time.Duration

	// Timeout bounds each call. 0 = 250 ms.
	Timeout time.Duration

	// MaxConcurrent bounds the calls under way; more are turned away as unavailable. 0 = 1024.
	MaxConcurrent int

	// Breaker stops asking a tier that does not answer.
	Breaker Breaker
}

// Breaker configures the circuit breaker of a tier. The zero value is a good default.
type Breaker struct {
	// Disabled leaves it out.
	Disabled bool
	// Window is the time over which failures are counted. 0 = 10 s.
	Window time.Duration
	// MinCalls in the window before the ratio counts. 0 = 20.
	MinCalls int
	// FailureRatio opens it. 0 = 0.5.
	FailureRatio float64
	// Timeouts in a row open it at once. 0 = 5.
	Timeouts int
	// OpenFor is the first pause before a probe; it doubles with jitter. 0 = 500 ms.
	OpenFor time.Duration
	// MaxOpenFor bounds the pause. 0 = 30 s.
	MaxOpenFor time.Duration
}

// Load bounds loading from the source of record.
type Load struct {
	// Timeout ends a load, whatever the callers' deadlines. 0 = 10 s.
	Timeout time.Duration

	// HardTimeout is how long a reader waits for a load at most, if it has nothing else to return:
	// it then gets [ErrLoadTimeout], and the load goes on behind it and still fills the tiers.
	// 0 = Timeout.
	HardTimeout time.Duration

	// SoftTimeout is how long a reader that could be given a stale value waits for the refresh
	// first. 0 = not at all: it gets the stale value and the refresh goes on behind it.
	SoftTimeout time.Duration

	// MaxConcurrent bounds the loads under way in this process. 0 = 256.
	MaxConcurrent int

	// RetryAfter is the pause after a failed refresh during which the stale value is served
	// without another attempt. 0 = 1 s.
	RetryAfter time.Duration

	// Lease is how long the right to fill is held; a load that takes longer is not stored in
	// the remote tiers. 0 = 2 s + three times the last load, at most Timeout + 1 s.
	Lease time.Duration

	// Wait bounds how long a reader waits for another process's load before it loads itself,
	// without filling. 0 = the lease.
	Wait time.Duration

	// EarlyBeta scales the probabilistic refresh before expiry (XFetch: Vattani, Chierichetti,
	// Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015). 0 = 1;
	// negative = off.
	EarlyBeta float64

	// EarlyAt refreshes once this fraction of the fresh time has passed, say 0.8. 0 = off.
	EarlyAt float64

	// ErrorTTL remembers a failed load for a moment, so that callers of a broken source do not
	// queue up behind each other. 0 = not at all.
	ErrorTTL time.Duration
}

// Defaults, with their reasons.
const (
	defaultTTL         = 5 * time.Minute
	defaultJitter      = 0.1 // 10 k keys filled together then expire at most 3.5 % in a second
	defaultLocalTTL    = 30 * time.Second
	defaultBlindTTL    = 5 * time.Second // no invalidator: the TTL is the only bound
	defaultTimeout     = 250 * time.Millisecond
	defaultConcurrent  = 1024
	defaultLoadTimeout = 10 * time.Second
	defaultLoads       = 256
	defaultRetryAfter  = time.Second
	defaultLease       = 2 * time.Second
	defaultMaxAge      = time.Second
	defaultDeadAfter   = 3 * time.Second
	defaultMaxBytes    = 64 << 20
	maxTTL             = 100 * 365 * 24 * time.Hour
	unsizedCost        = 256
	negativeCost       = 16
	shortTTL           = time.Second
)

// withDefaults validates c and returns a copy in which every zero is replaced by its default.
func (c Config[V]) withDefaults() (Config[V], error) {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("tier: Config.%s: %s", field, fmt.Sprintf(format, args...)))
	}
	if strings.ContainsFunc(c.Namespace, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_')
	}) {
		bad("Namespace", "%q has something other than letters, digits, '.', '-' and '_'", c.Namespace)
	}
	if c.Local.Disabled && len(c.Remotes) == 0 {
		bad("Remotes", "no store: there are no remotes and Local is disabled")
	}
	c.Remotes = append([]Remote(nil), c.Remotes...)
	seen := map[string]bool{"L1": true}
	for i := range c.Remotes {
		r, field := &c.Remotes[i], fmt.Sprintf("Remotes[%d].", i)
		switch {
		case r.Name == "":
			bad(field+"Name", "empty")
		case seen[r.Name]:
			bad(field+"Name", "%q is taken", r.Name)
		}
		seen[r.Name] = true
		switch {
		case r.Store == nil:
			bad(field+"Store", "tier %q has none: give it one, say of redis.New, or leave the tier out", r.Name)
		case iface.IsNil(r.Store):
			bad(field+"Store", "tier %q has a nil %T: look at the error of its constructor", r.Name, r.Store)
		}
		for _, nearer := range c.Remotes[:i] {
			if iface.Same(nearer.Store, r.Store) {
				bad(field+"Store", "the one of tier %q again: each tier needs a store of its own", nearer.Name)
			}
		}
		span(bad, field+"TTL", &r.TTL, 0)
		span(bad, field+"Timeout", &r.Timeout, defaultTimeout)
		whole(bad, field+"MaxConcurrent", &r.MaxConcurrent, defaultConcurrent)
	}
	span(bad, "TTL", &c.TTL, defaultTTL)
	span(bad, "Fresh", &c.Fresh, c.TTL)
	span(bad, "NegativeTTL", &c.NegativeTTL, 0)
	if c.Fresh > c.TTL {
		bad("Fresh", "%v is longer than TTL %v", c.Fresh, c.TTL)
	}
	switch {
	case c.Jitter == 0:
		c.Jitter = defaultJitter
	case c.Jitter < 0:
		c.Jitter = 0
	case !(c.Jitter < 1):
		bad("Jitter", "%v is not below 1", c.Jitter)
	}
	c.localDefaults(bad)
	c.loadDefaults(bad)
	hollow(bad, "Loader", c.Loader)
	hollow(bad, "Writer", c.Writer)
	hollow(bad, "Observer", c.Observer)
	hollow(bad, "Outbox", c.Outbox)
	hollow(bad, "Local.Invalidator", c.Local.Invalidator)
	hollow(bad, "Format.Codec", c.Format.Codec)
	for i, r := range c.Format.Readers {
		hollow(bad, fmt.Sprintf("Format.Readers[%d]", i), r)
	}
	c.Format.Namespace = c.Namespace
	return c, errors.Join(errs...)
}

func (c *Config[V]) localDefaults(bad func(string, string, ...any)) {
	l := &c.Local
	if l.MaxBytes < 0 {
		bad("Local.MaxBytes", "%d is negative; use Disabled to leave L1 out", l.MaxBytes)
	}
	if l.MaxBytes == 0 {
		l.MaxBytes = defaultMaxBytes
	}
	ttl := defaultBlindTTL
	switch {
	case len(c.Remotes) == 0:
		ttl = maxTTL
	case l.Invalidator != nil:
		ttl = defaultLocalTTL
	}
	span(bad, "Local.TTL", &l.TTL, ttl)
	if s, ok := l.Invalidator.(backends.Selective); ok && c.Namespace != "" && !iface.IsNil(s) && !s.Hears(c.Namespace) {
		bad("Local.Invalidator", "%v hears of another namespace, not of %q: give both the same", s, c.Namespace)
	}
	if l.Invalidator != nil && !l.Disabled && !iface.IsNil(l.Invalidator) {
		if err := backends.Fits(l.Invalidator, remoteCaps(c.Remotes)); err != nil {
			bad("Local.Invalidator", "%v: %v", l.Invalidator, err)
		}
	}
	span(bad, "Local.DeadAfter", &l.DeadAfter, defaultDeadAfter)
	if s, ok := l.Invalidator.(backends.Paced); ok && !l.Disabled && !iface.IsNil(s) && l.DeadAfter <= s.Pace() {
		bad("Local.DeadAfter", "%v is not above the Ping of Local.Invalidator, %v: the link would count as dead between two signs of life", l.DeadAfter, s.Pace())
	}
	if l.WhenDown < Bypass || l.WhenDown > Serve {
		bad("Local.WhenDown", "%d is none of Bypass, ShortTTL, Serve", l.WhenDown)
	}
}

// remoteCaps returns what the remote tiers can do; those without a store are left out.
func remoteCaps(remotes []Remote) []backends.Caps {
	var caps []backends.Caps
	for _, r := range remotes {
		if r.Store != nil && !iface.IsNil(r.Store) {
			caps = append(caps, backends.CapsOf(r.Store))
		}
	}
	return caps
}

func (c *Config[V]) loadDefaults(bad func(string, string, ...any)) {
	l := &c.Load
	span(bad, "Barriers.MaxAge", &c.Barriers.MaxAge, defaultMaxAge)
	span(bad, "Load.Timeout", &l.Timeout, defaultLoadTimeout)
	span(bad, "Load.HardTimeout", &l.HardTimeout, 0)
	span(bad, "Load.SoftTimeout", &l.SoftTimeout, 0)
	span(bad, "Load.RetryAfter", &l.RetryAfter, defaultRetryAfter)
	span(bad, "Load.Lease", &l.Lease, 0)
	span(bad, "Load.Wait", &l.Wait, 0)
	span(bad, "Load.ErrorTTL", &l.ErrorTTL, 0)
	whole(bad, "Load.MaxConcurrent", &l.MaxConcurrent, defaultLoads)
	switch {
	case l.EarlyBeta == 0:
		l.EarlyBeta = 1
	case l.EarlyBeta < 0:
		l.EarlyBeta = 0
	}
	if l.EarlyAt < 0 || l.EarlyAt >= 1 {
		bad("Load.EarlyAt", "%v is not in [0, 1)", l.EarlyAt)
	}
}

// span checks a duration and gives it its default.
func span(bad func(string, string, ...any), field string, d *time.Duration, def time.Duration) {
	switch {
	case *d < 0:
		bad(field, "%v is negative", *d)
	case *d == 0:
		*d = def
	case *d > maxTTL:
		*d = maxTTL
	}
}

// whole checks a number and gives it its default.
func whole(bad func(string, string, ...any), field string, n *int, def int) {
	switch {
	case *n < 0:
		bad(field, "%d is negative", *n)
	case *n == 0:
		*n = def
	}
}

// hollow refuses an optional part that is there and holds nothing: it would panic when it is first
// needed.
func hollow(bad func(string, string, ...any), field string, part any) {
	if part != nil && iface.IsNil(part) {
		bad(field, "a nil %T; leave the field out for none", part)
	}
}
