package fallback

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// Increment implements [backends.Incrementer]. There is one counter, whichever store it is in:
// where new answers, one that only old has is carried there first; where old answers, one that
// has moved to new is counted there, so that processes on both sides of a ramp count on one
// counter. The other store is closed for the key while it is counted, and has lost it then.
//
// With a delta of 0 a counter that is there is only read, and stays in both stores. Caches ask
// like this all the time (a barrier of a namespace or tag is a counter), and one that got lost
// between two askers would take everything that is cached with it.
func (s *Store) Increment(ctx context.Context, key string, delta, initial int64, ttl time.Duration) (n int64, err error) {
	if ttl < 0 {
		return 0, backends.ErrInvalidTTL
	}
	if err := check(ctx, key); err != nil {
		return 0, err
	}
	t := s.begin(ctx)
	defer t.end()
	v := t.view(key)
	if delta == 0 {
		if n, err := s.look(ctx, t, v, key); err == nil || !absent(err) {
			return n, err
		}
	}
	if v.mode == modeMirror && s.moved(ctx, key) {
		v.mode = modeNew
	}
	if err := s.settle(ctx, s.authority(v.mode), key); err != nil {
		return 0, err
	}
	if err := s.bringCounter(ctx, v, key); err != nil {
		return 0, err
	}
	err = s.exclusive(ctx, v, key, func(m *member) error {
		n, err = s.count(ctx, m, key, delta, initial, ttl)
		return err
	})
	return n, err
}

// look reads the counter as a read finds a value: in the authority, then in the other store.
// Whoever is counting there has not returned yet, so either count is right.
func (s *Store) look(ctx context.Context, t *term, v view, key string) (int64, error) {
	m, other := s.authority(v.mode), s.other(v.mode)
	if err := s.settle(ctx, m, key); err != nil {
		return 0, err
	}
	it, err := m.raw(ctx, key, false)
	both := v.mode == modeMirror || v.mode == modeNew
	if both && absent(err) && !errors.Is(err, backends.ErrHeldOff) && !s.barred(other, key) {
		there, otherErr := other.raw(ctx, key, false)
		if otherErr != nil || s.barred(other, key) {
			return 0, err
		}
		if v.mode == modeNew && !errors.Is(err, backends.ErrLeased) {
			s.behind(ctx, t, func(ctx context.Context) { s.carry(ctx, key) })
		}
		it, err = there, nil
	}
	if err != nil {
		return 0, err
	}
	n, bad := strconv.ParseInt(strings.TrimSpace(string(it.Value)), 10, 64) // memcached counts down into blanks
	if bad != nil {
		return 0, backends.ErrNotNumber
	}
	return n, nil
}

// moved reports whether the counter is in new and not in old.
func (s *Store) moved(ctx context.Context, key string) bool {
	if _, err := s.old.raw(ctx, key, false); !absent(err) || s.barred(s.new, key) {
		return false
	}
	_, err := s.new.raw(ctx, key, false)
	return err == nil
}

// bringCounter carries the counter to new if new answers, lacks it, and old has it. An error is
// new's.
func (s *Store) bringCounter(ctx context.Context, v view, key string) error {
	const patience, step = 20, 5 * time.Millisecond // for somebody who counts or carries to end
	for range patience {
		if v.mode != modeNew || s.barred(s.old, key) {
			return nil
		}
		_, err := s.new.raw(ctx, key, false)
		if !absent(err) {
			return err
		}
		if _, oldErr := s.old.raw(ctx, key, false); oldErr != nil {
			return nil // there is nothing to bring
		}
		s.carry(ctx, key)
		if !errors.Is(err, backends.ErrLeased) {
			continue
		}
		if err := pause(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

// carry copies a counter to new as it is, fenced like any copy: whoever counts ends the lease.
func (s *Store) carry(ctx context.Context, key string) {
	l, _, err := s.new.acquire(ctx, key, s.cfg.CopyHold)
	if err != nil || l == nil {
		return
	}
	it, err := s.old.raw(ctx, key, true)
	if err != nil || s.barred(s.old, key) {
		s.giveBack(ctx, key, l)
		return
	}
	s.fillCopy(ctx, key, l, it)
}

// count increments on m. If the other store's counters stop at zero, this one's do too.
func (s *Store) count(ctx context.Context, m *member, key string, delta, initial int64, ttl time.Duration) (int64, error) {
	own := m.keyOf(key)
	add := func(delta int64) (int64, error) {
		n, err := call(ctx, m, func(ctx context.Context) (int64, error) {
			return m.caps.Incrementer.Increment(ctx, own, delta, initial, ttl)
		})
		return n, m.wrap("increment", key, err)
	}
	n, err := add(delta)
	if err == nil && n < 0 && s.caps.Unsigned && !m.caps.Unsigned {
		if n, err = add(-n); err == nil {
			n = max(n, 0)
		}
	}
	return n, err
}
