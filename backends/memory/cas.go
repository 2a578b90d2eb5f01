package memory

import (
	"context"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

// Add implements [backends.CASer].
func (s *Store) Add(ctx context.Context, key string, it backends.Item) error {
	if err := s.check(ctx, key, it); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if e, ok := s.look(key, now); ok {
		switch wire.KindOf(e.value) {
		case wire.Tombstone:
			return backends.ErrHeldOff
		case wire.Frame, wire.Foreign:
			return backends.ErrExists
		}
	}
	s.put(key, it, now)
	return nil
}

// CompareAndSwap implements [backends.CASer].
func (s *Store) CompareAndSwap(ctx context.Context, key string, tok backends.Token, it backends.Item) error {
	if err := s.check(ctx, key, it); err != nil {
		return err
	}
	version, ok := tok.ID()
	if !ok {
		return backends.ErrBadToken
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if err := s.holds(key, version, now); err != nil {
		return err
	}
	s.put(key, it, now)
	return nil
}

// CompareAndDelete implements [backends.CASer].
func (s *Store) CompareAndDelete(ctx context.Context, key string, tok backends.Token) error {
	if err := checkKey(ctx, key); err != nil {
		return err
	}
	version, ok := tok.ID()
	if !ok {
		return backends.ErrBadToken
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.holds(key, version, s.now()); err != nil {
		return err
	}
	delete(s.items, key)
	return nil
}

// holds returns nil if key holds that version of a value. It is called with s.mu held.
func (s *Store) holds(key string, version uint64, now time.Time) error {
	e, ok := s.look(key, now)
	if err := e.miss(ok); err != nil {
		return err
	}
	if e.version != version {
		return backends.ErrConflict
	}
	return nil
}

// SetNewer implements [backends.Versioner].
func (s *Store) SetNewer(ctx context.Context, key string, it backends.Item) error {
	if err := s.check(ctx, key, it); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	e, ok := s.look(key, now)
	if ok && wire.KindOf(e.value) != wire.Lease && wire.VersionOf(it.Value) <= wire.VersionOf(e.value) {
		return backends.ErrOlder
	}
	s.put(key, it, now)
	return nil
}

// DeleteHold implements [backends.Tombstoner]. The newest hold-off replaces an older one.
func (s *Store) DeleteHold(ctx context.Context, key string, hold time.Duration, version uint64) error {
	if err := checkHold(ctx, key, hold); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(key, backends.Item{Value: wire.NewTombstone(version), TTL: hold}, s.now())
	return nil
}
