package backends

import (
	"context"
	"time"
)

// Batcher reads and writes many keys in as few round trips as the server allows. Outcomes are
// per key, in the order asked; one dead server of a fleet fails its own keys only. Duplicate
// keys are fine, and so is an empty batch.
type Batcher interface {
	// GetMany returns one [Result] per key, as Get would have it.
	GetMany(ctx context.Context, keys []string) []Result
	// SetMany returns nil when every entry was stored, else one error per entry.
	SetMany(ctx context.Context, entries []KeyItem) []error
	// DeleteMany returns nil when every key is gone, else one error per key.
	DeleteMany(ctx context.Context, keys []string) []error
}

// CASer changes a key only if it is what the caller thinks it is. A failure that is
// [ErrUnknown] may have been carried out; none of these is ever sent twice by a driver.
type CASer interface {
	// Add stores it if there is no value under key, else [ErrExists]. A lease is no value and
	// is replaced; a tombstone ([Tombstoner]) is none either, but refuses: [ErrHeldOff].
	Add(ctx context.Context, key string, it Item) error
	// CompareAndSwap stores it if key still holds the version tok names: else [ErrConflict],
	// or [ErrMiss] if it is gone (leased and held off count as gone).
	CompareAndSwap(ctx context.Context, key string, tok Token, it Item) error
	// CompareAndDelete removes key if it still holds the version tok names, else as above.
	CompareAndDelete(ctx context.Context, key string, tok Token) error
}

// Leaser hands out the right to fill a missing key, to one loader at a time across all
// processes. A fill succeeds only if nothing was written or deleted since the lease was
// acquired: that is the fence that keeps a slow loader from storing what was invalidated
// meanwhile (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, section 3.2.1; tokens
// here are unique per acquisition, which closes the ABA hole of per-client ids).
type Leaser interface {
	// Acquire asks for the lease on key for at most hold (> 0). Exactly one of these comes back:
	//   - a Lease: the caller is to load and then Fill or Release;
	//   - an Item (nil Lease, nil error): somebody filled it meanwhile, it is a hit;
	//   - [ErrLeased]: somebody else is loading;
	//   - [ErrHeldOff]: load, but do not fill;
	//   - a failure: treat the lease as not owned. If the server did grant it, it runs out.
	Acquire(ctx context.Context, key string, hold time.Duration) (Lease, Item, error)
}

// Lease is the right to fill one key once. Safe for concurrent use; after Fill or Release it is
// spent.
type Lease interface {
	// Fill stores it if the lease still stands, else [ErrLeaseLost]. [ErrUnknown] is harmless:
	// either the right value is there or the lease runs out.
	Fill(ctx context.Context, it Item) error
	// Release gives the lease back unfilled, so that the next reader need not wait for it to
	// run out. It never removes anything but the lease itself. A lost lease is fine: nil.
	Release(ctx context.Context) error
}

// LeaseResult is the outcome of one key of AcquireMany, as Acquire has it.
type LeaseResult struct {
	Lease Lease // nil: not granted
	Item  Item  // a hit, where Lease and Err are nil
	Err   error // ErrLeased, ErrHeldOff or a failure
}

// BatchLeaser is a [Leaser] that acquires, fills and releases many keys in one round trip.
type BatchLeaser interface {
	// AcquireMany asks for the lease on each of keys for at most hold (> 0): one [LeaseResult] per
	// key, in order, as Acquire would have it. Of a key that is there twice only one is leased.
	AcquireMany(ctx context.Context, keys []string, hold time.Duration) []LeaseResult
	// FillMany fills leases[i] with items[i]; nil when all were stored, else one error each.
	// Leases of other stores get [ErrBadToken].
	FillMany(ctx context.Context, leases []Lease, items []Item) []error
	// ReleaseMany releases all; nil when all are released, else one error each.
	ReleaseMany(ctx context.Context, leases []Lease) []error
}

// Refresher leases a key that still holds a good value, so that one process refreshes it while
// all others go on reading the value.
type Refresher interface {
	// AcquireRefresh asks for the right to replace the version tok of key within hold. A Lease
	// whose Fill stores only if key still holds that very version; [ErrLeased] if somebody else
	// refreshes already; a failure otherwise. The right is kept beside the key (same slot), not
	// in it. Readers are not disturbed.
	AcquireRefresh(ctx context.Context, key string, tok Token, hold time.Duration) (Lease, error)
}

// Fencer takes a lease over whatever is under key. A write-through puts it there before it
// writes the source, so that of two racing writers none can leave the loser's value behind.
type Fencer interface {
	// Seize replaces whatever is under key (value, lease, nothing) by a lease of the caller.
	// Readers miss until it is filled, released or runs out.
	Seize(ctx context.Context, key string, hold time.Duration) (Lease, error)
}

// Versioner stores by version of the record instead of by arrival. Values carry their version
// where [github.com/hearthcache/hearth/internal/wire] has it (frames of the codec package do);
// a value without one counts as version 0.
type Versioner interface {
	// SetNewer stores it unless the key holds the same or a newer version: [ErrOlder].
	// A lease is replaced. A tombstone counts with its version.
	SetNewer(ctx context.Context, key string, it Item) error
}

// Tombstoner marks a key as known absent, so that loaders that read an old replica cannot bring
// it back.
type Tombstoner interface {
	// DeleteHold deletes key and refuses fills and adds for hold (> 0): reads are [ErrHeldOff]
	// (a miss), Acquire is ErrHeldOff, SetNewer needs a version above version. A plain Set or
	// Delete lifts it. version 0 holds off every fill for the time.
	DeleteHold(ctx context.Context, key string, hold time.Duration, version uint64) error
}

// Toucher changes the lifetime of a value without sending it.
type Toucher interface {
	// Touch sets the TTL of key (0 = until evicted); [ErrMiss] if it is not there.
	Touch(ctx context.Context, key string, ttl time.Duration) error
}

// Incrementer counts on the server. Counters are plain decimal values, readable by clients of
// any language.
type Incrementer interface {
	// Increment adds delta (may be negative) to the counter under key and returns the new
	// value. Absent: the counter starts at initial (delta is not added) and lives for ttl (0 =
	// until evicted); a counter that is there keeps its lifetime. [ErrNotNumber] if the value
	// is none. A result below zero is stored as zero where the server has no signed counters
	// (Caps.Unsigned). Never sent twice; [ErrUnknown] when the answer was lost.
	Increment(ctx context.Context, key string, delta, initial int64, ttl time.Duration) (int64, error)
}

// TTLer reads a value together with its true remaining lifetime, in one round trip. Get leaves
// TTL unknown where asking costs extra.
type TTLer interface {
	// GetTTL is Get with Item.TTL always known.
	GetTTL(ctx context.Context, key string) (Item, error)
	// GetTTLMany is GetTTL for many keys, per-key outcomes in order.
	GetTTLMany(ctx context.Context, keys []string) []Result
}

// Pinger answers whether the server can be reached and accepts this client's credentials.
type Pinger interface {
	// Ping returns nil, or what is wrong; every server of a fleet is asked.
	Ping(ctx context.Context) error
}

// Scanner lists keys, for bulk copies. It may list a key twice, and may miss keys written while
// it runs, never one that was there all the time.
type Scanner interface {
	// Scan calls yield with batches of keys, from cursor ("" = the start); the cursor handed to
	// yield resumes after that batch and is "" at the end. It stops on yield's error and
	// returns it.
	Scan(ctx context.Context, cursor string, yield func(keys []string, next string) error) error
}

// Warner inspects the client a store was built on and says what will hurt a cache: missing
// timeouts, retries that repeat writes. Empty means nothing to say.
type Warner interface {
	// Warnings returns one sentence per setting that hurts; what was found out about the server by
	// using it may join later. Nothing is sent.
	Warnings() []string
}

// Caps is what a store can do beyond [Store]: nil (or false, or 0) = it cannot.
type Caps struct {
	Batcher     Batcher
	CASer       CASer
	Leaser      Leaser
	BatchLeaser BatchLeaser
	Refresher   Refresher
	Fencer      Fencer
	Versioner   Versioner
	Tombstoner  Tombstoner
	Toucher     Toucher
	Incrementer Incrementer
	TTLer       TTLer
	Pinger      Pinger
	Scanner     Scanner
	Invalidator Invalidator
	Warner      Warner

	// Flags: Item.Flags survive a round trip.
	Flags bool
	// Unsigned: counters stop at zero.
	Unsigned bool
	// Prompt: every call returns by its context's deadline by itself, so that nobody has to
	// stand beside it with a stop-watch.
	Prompt bool
	// OneByOne: a batch of deletes or of leases is a loop over its keys, a few at a time. It costs
	// as much as single calls, so gathering those gains nothing. Batches of reads are one request.
	OneByOne bool
	// MaxValueBytes is the largest value the store holds; 0 = not known.
	MaxValueBytes int
	// KeyPrefix is what the store puts before every key ([Prefix]): the server that holds it knows
	// it, and tells of it, by that name. Empty: the name that was given. A store of your
	// own around one with a prefix hands it on ([Composite], [Limits]).
	KeyPrefix string
	// Split: a key may be in one of several stores below this one, so the word of one server about
	// its keys is not all there is to hear.
	Split bool
}

// Limits is implemented by leaf stores that have something to say about the plain fields of
// [Caps].
type Limits interface {
	// Limits returns a Caps of which only the plain fields are read, from Flags on.
	Limits() Caps
}

// Composite is a store made of stores. It states its capabilities instead of implementing the
// optional interfaces, so that wrapping can neither lose nor fake one.
type Composite interface {
	Store
	// Caps returns what the composite can do: a field that is not nil works. Callers ask once and
	// keep the answer.
	Caps() Caps
}

// CapsOf returns what s can do: a [Composite]'s own record, else whatever optional interfaces s
// implements.
func CapsOf(s Store) Caps {
	if c, ok := s.(Composite); ok {
		return c.Caps()
	}
	var c Caps
	if l, ok := s.(Limits); ok {
		p := l.Limits()
		c.Flags, c.Unsigned, c.Prompt, c.OneByOne, c.MaxValueBytes = p.Flags, p.Unsigned, p.Prompt, p.OneByOne, p.MaxValueBytes
		c.KeyPrefix, c.Split = p.KeyPrefix, p.Split
	}
	c.Batcher, _ = s.(Batcher)
	c.CASer, _ = s.(CASer)
	c.Leaser, _ = s.(Leaser)
	c.BatchLeaser, _ = s.(BatchLeaser)
	c.Refresher, _ = s.(Refresher)
	c.Fencer, _ = s.(Fencer)
	c.Versioner, _ = s.(Versioner)
	c.Tombstoner, _ = s.(Tombstoner)
	c.Toucher, _ = s.(Toucher)
	c.Incrementer, _ = s.(Incrementer)
	c.TTLer, _ = s.(TTLer)
	c.Pinger, _ = s.(Pinger)
	c.Scanner, _ = s.(Scanner)
	c.Invalidator, _ = s.(Invalidator)
	c.Warner, _ = s.(Warner)
	return c
}
