package memory

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

// Config configures a [Store]. The zero value is useful.
type Config struct {
	// Now is the clock that lifetimes, leases and hold-offs run on; nil = [time.Now].
	Now func() time.Time
	// MaxValueBytes is the largest value that is taken, in bytes; 0 or less = no limit.
	MaxValueBytes int
}

// Store keeps items in a map of this process. It is the reference: it has every capability of
// the contract, and where a driver and this store differ, the driver is wrong. Safe for
// concurrent use. Nothing is evicted; expired items are removed as writes come by.
type Store struct {
	now      func() time.Time
	maxBytes int

	mu        sync.Mutex
	items     map[string]entry
	refreshes map[string]refresh // rights to replace a good value, kept beside it
	sequence  uint64             // the newest version

	watching watchers
}

// entry is what a key holds: a value, or a lease or a tombstone as package wire writes them.
type entry struct {
	value   []byte
	flags   uint32
	expires time.Time // zero = never
	version uint64    // unique per write: the token
}

var (
	_ backends.Store       = (*Store)(nil)
	_ backends.Limits      = (*Store)(nil)
	_ backends.Batcher     = (*Store)(nil)
	_ backends.CASer       = (*Store)(nil)
	_ backends.BatchLeaser = (*Store)(nil)
	_ backends.Leaser      = (*Store)(nil)
	_ backends.Refresher   = (*Store)(nil)
	_ backends.Fencer      = (*Store)(nil)
	_ backends.Versioner   = (*Store)(nil)
	_ backends.Tombstoner  = (*Store)(nil)
	_ backends.Toucher     = (*Store)(nil)
	_ backends.Incrementer = (*Store)(nil)
	_ backends.TTLer       = (*Store)(nil)
	_ backends.Pinger      = (*Store)(nil)
	_ backends.Scanner     = (*Store)(nil)
	_ backends.Invalidator = (*Store)(nil)
	_ backends.Paced       = (*Store)(nil)
)

// New returns an empty store.
func New(cfg Config) *Store {
	now := cfg.Now
	if now == nil {
		now = time.Now
	}
	return &Store{
		now:       now,
		maxBytes:  max(cfg.MaxValueBytes, 0),
		items:     make(map[string]entry),
		refreshes: make(map[string]refresh),
	}
}

// Limits implements [backends.Limits].
func (s *Store) Limits() backends.Caps {
	return backends.Caps{Flags: true, Prompt: true, MaxValueBytes: s.maxBytes}
}

// Ping implements [backends.Pinger]: memory can always be reached.
func (s *Store) Ping(ctx context.Context) error { return ctx.Err() }

// Get implements [backends.Store]. The remaining TTL is always known.
func (s *Store) Get(ctx context.Context, key string) (backends.Item, error) {
	if err := checkKey(ctx, key); err != nil {
		return backends.Item{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.get(key, s.now())
}

// Set implements [backends.Store].
func (s *Store) Set(ctx context.Context, key string, it backends.Item) error {
	if err := s.check(ctx, key, it); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(key, it, s.now())
	return nil
}

// Delete implements [backends.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := checkKey(ctx, key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.items, key)
	return nil
}

// Raw returns a copy of the bytes under key as a client that knows nothing of hearth would see
// them, leases and tombstones included; nil when the key is absent.
func (s *Store) Raw(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.look(key, s.now())
	if !ok {
		return nil
	}
	return append([]byte{}, e.value...)
}

// Len returns the number of keys that hold something, leases and tombstones included.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, n := s.now(), 0
	for _, e := range s.items {
		if !e.expired(now) {
			n++
		}
	}
	return n
}

func checkKey(ctx context.Context, key string) error {
	if key == "" {
		return backends.ErrEmptyKey
	}
	return ctx.Err()
}

func (s *Store) check(ctx context.Context, key string, it backends.Item) error {
	if it.TTL < 0 {
		return backends.ErrInvalidTTL
	}
	if s.maxBytes > 0 && len(it.Value) > s.maxBytes {
		return backends.ErrTooLarge
	}
	return checkKey(ctx, key)
}

func checkHold(ctx context.Context, key string, hold time.Duration) error {
	if hold <= 0 {
		return backends.ErrInvalidTTL
	}
	return checkKey(ctx, key)
}

func (e entry) expired(now time.Time) bool {
	return !e.expires.IsZero() && !now.Before(e.expires)
}

// miss says why e, which look found or not, is no value; nil if it is one.
func (e entry) miss(found bool) error {
	if !found {
		return backends.ErrMiss
	}
	switch wire.KindOf(e.value) {
	case wire.Lease:
		return backends.ErrLeased
	case wire.Tombstone:
		return backends.ErrHeldOff
	}
	return nil
}

func (e entry) item(now time.Time) backends.Item {
	it := backends.Item{Value: e.value, Flags: e.flags, Token: backends.IDToken(e.version)}
	if !e.expires.IsZero() {
		it.TTL = e.expires.Sub(now)
	}
	return it
}

// The functions below are called with s.mu held.

func (s *Store) look(key string, now time.Time) (entry, bool) {
	e, ok := s.items[key]
	if ok && e.expired(now) {
		delete(s.items, key)
		return entry{}, false
	}
	return e, ok
}

func (s *Store) get(key string, now time.Time) (backends.Item, error) {
	e, ok := s.look(key, now)
	if err := e.miss(ok); err != nil {
		return backends.Item{}, err
	}
	return e.item(now), nil
}

func (s *Store) put(key string, it backends.Item, now time.Time) {
	s.sweep(now)
	s.sequence++
	e := entry{value: slices.Clip(it.Value), flags: it.Flags, version: s.sequence}
	if it.TTL > 0 {
		e.expires = now.Add(it.TTL)
	}
	s.items[key] = e
}

// sweep removes what it meets of the expired among a few keys. A map is ranged over from a
// random place, and three looks for each write keep ahead of what writes can leave behind.
func (s *Store) sweep(now time.Time) {
	looks := 0
	for key, e := range s.items {
		if e.expired(now) {
			delete(s.items, key)
		}
		if looks++; looks == 3 {
			break
		}
	}
	for key, r := range s.refreshes {
		if !now.Before(r.expires) {
			delete(s.refreshes, key)
		}
		return
	}
}
