package memory

import (
	"bytes"
	"context"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

// lease is the right to fill a key that holds mark.
type lease struct {
	store *Store
	key   string
	mark  []byte
}

// Acquire implements [backends.Leaser].
func (s *Store) Acquire(ctx context.Context, key string, hold time.Duration) (backends.Lease, backends.Item, error) {
	if err := checkHold(ctx, key, hold); err != nil {
		return nil, backends.Item{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	e, found := s.look(key, now)
	if !found {
		return s.grant(key, hold, now), backends.Item{}, nil
	}
	if err := e.miss(found); err != nil {
		return nil, backends.Item{}, err
	}
	return nil, e.item(now), nil
}

// Seize implements [backends.Fencer]. A tombstone is replaced too.
func (s *Store) Seize(ctx context.Context, key string, hold time.Duration) (backends.Lease, error) {
	if err := checkHold(ctx, key, hold); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant(key, hold, s.now()), nil
}

// grant is called with s.mu held.
func (s *Store) grant(key string, hold time.Duration, now time.Time) *lease {
	l := &lease{store: s, key: key, mark: wire.NewLease()}
	s.put(key, backends.Item{Value: l.mark, TTL: hold}, now)
	return l
}

// Fill implements [backends.Lease].
func (l *lease) Fill(ctx context.Context, it backends.Item) error {
	if err := l.store.check(ctx, l.key, it); err != nil {
		return err
	}
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	now := l.store.now()
	if !l.stands(now) {
		return backends.ErrLeaseLost
	}
	l.store.put(l.key, it, now)
	return nil
}

// Release implements [backends.Lease].
func (l *lease) Release(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	if l.stands(l.store.now()) {
		delete(l.store.items, l.key)
	}
	return nil
}

// stands is called with the store's mu held.
func (l *lease) stands(now time.Time) bool {
	e, ok := l.store.look(l.key, now)
	return ok && bytes.Equal(e.value, l.mark)
}

func (l *lease) of(s *Store) bool { return l.store == s }

// AcquireMany implements [backends.BatchLeaser]. Of a key that is asked for twice, the second
// finds it leased.
func (s *Store) AcquireMany(ctx context.Context, keys []string, hold time.Duration) []backends.LeaseResult {
	rs := make([]backends.LeaseResult, len(keys))
	for i, key := range keys {
		rs[i].Lease, rs[i].Item, rs[i].Err = s.Acquire(ctx, key, hold)
	}
	return rs
}

// owned is what both kinds of leases of this package can say.
type owned interface {
	backends.Lease
	of(s *Store) bool
}

// FillMany implements [backends.BatchLeaser].
func (s *Store) FillMany(ctx context.Context, leases []backends.Lease, items []backends.Item) []error {
	return each(len(leases), func(i int) error {
		l, ok := leases[i].(owned)
		if !ok || !l.of(s) {
			return backends.ErrBadToken
		}
		return l.Fill(ctx, items[i])
	})
}

// ReleaseMany implements [backends.BatchLeaser].
func (s *Store) ReleaseMany(ctx context.Context, leases []backends.Lease) []error {
	return each(len(leases), func(i int) error {
		l, ok := leases[i].(owned)
		if !ok || !l.of(s) {
			return backends.ErrBadToken
		}
		return l.Release(ctx)
	})
}
