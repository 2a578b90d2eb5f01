package memory

import (
	"context"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// refresh is a right to replace one version of a key's value.
type refresh struct {
	id      uint64 // unique per right
	expires time.Time
}

type refreshLease struct {
	store   *Store
	key     string
	id      uint64
	version uint64
}

// AcquireRefresh implements [backends.Refresher]. A version that is no longer there is
// [backends.ErrConflict], or [backends.ErrMiss] if the key is gone.
func (s *Store) AcquireRefresh(ctx context.Context, key string, tok backends.Token, hold time.Duration) (backends.Lease, error) {
	if err := checkHold(ctx, key, hold); err != nil {
		return nil, err
	}
	version, ok := tok.ID()
	if !ok {
		return nil, backends.ErrBadToken
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if err := s.holds(key, version, now); err != nil {
		return nil, err
	}
	if r, busy := s.refreshes[key]; busy && now.Before(r.expires) {
		return nil, backends.ErrLeased
	}
	s.sequence++
	s.refreshes[key] = refresh{id: s.sequence, expires: now.Add(hold)}
	return &refreshLease{store: s, key: key, id: s.sequence, version: version}, nil
}

// Fill implements [backends.Lease].
func (l *refreshLease) Fill(ctx context.Context, it backends.Item) error {
	if err := l.store.check(ctx, l.key, it); err != nil {
		return err
	}
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	now := l.store.now()
	if !l.stands(now) {
		return backends.ErrLeaseLost
	}
	delete(l.store.refreshes, l.key)
	if l.store.holds(l.key, l.version, now) != nil {
		return backends.ErrLeaseLost
	}
	l.store.put(l.key, it, now)
	return nil
}

// Release implements [backends.Lease].
func (l *refreshLease) Release(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	if l.stands(l.store.now()) {
		delete(l.store.refreshes, l.key)
	}
	return nil
}

// stands is called with the store's mu held.
func (l *refreshLease) stands(now time.Time) bool {
	r, ok := l.store.refreshes[l.key]
	return ok && r.id == l.id && now.Before(r.expires)
}

func (l *refreshLease) of(s *Store) bool { return l.store == s }
