package memcached

import (
	"context"
	"errors"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

// Add implements [backends.CASer]: one add; where that finds something, one gets to see what, and
// a cas if it was a lease.
func (s *Store) Add(ctx context.Context, key string, it backends.Item) error {
	if err := s.check(it); err != nil {
		return err
	}
	p, srv, err := s.at(key)
	if err != nil {
		return err
	}
	r, exp := p.pack(it)
	if !s.separate {
		if err := srv.store(ctx, add, p.wire, r, exp); !errors.Is(err, backends.ErrExists) {
			return err
		}
	}
	return s.rewrite(ctx, srv, p, func(st *state) (record, int32, error) {
		switch st.kind {
		case wire.Tombstone:
			return r, exp, backends.ErrHeldOff
		case wire.Lease, none:
			return r, exp, nil
		}
		return r, exp, backends.ErrExists
	})
}

// rewrite reads p and replaces it by what next returns, until nobody else came in between or next
// says no. Every round but the last was lost to a writer who won, so somebody gets on.
func (s *Store) rewrite(ctx context.Context, srv *server, p place, next func(st *state) (record, int32, error)) error {
	for range attempts {
		st, err := s.read(ctx, srv, p)
		if err != nil {
			return err
		}
		r, exp, err := next(&st)
		if err != nil {
			return err
		}
		if err := s.replace(ctx, srv, p, &st, r, exp); !errors.Is(err, backends.ErrConflict) {
			return err
		}
	}
	return backends.ErrConflict
}

// CompareAndSwap implements [backends.CASer] with memcached's cas.
func (s *Store) CompareAndSwap(ctx context.Context, key string, tok backends.Token, it backends.Item) error {
	if err := s.check(it); err != nil {
		return err
	}
	return s.ifStill(ctx, key, tok, func(p place) (record, int32) { return p.pack(it) })
}

// CompareAndDelete implements [backends.CASer]: a cas whose lifetime is over.
func (s *Store) CompareAndDelete(ctx context.Context, key string, tok backends.Token) error {
	return s.ifStill(ctx, key, tok, func(place) (record, int32) { return record{}, gone })
}

func (s *Store) ifStill(ctx context.Context, key string, tok backends.Token, pack func(place) (record, int32)) error {
	p, srv, err := s.at(key)
	if err != nil {
		return err
	}
	id, ok := tok.ID()
	if !ok {
		return backends.ErrBadToken
	}
	r, exp := pack(p)
	r.cas = id
	err = srv.store(ctx, cas, p.wire, r, exp)
	if !errors.Is(err, backends.ErrConflict) || s.separate {
		return err
	}
	// Changed: into another value, or into the lease or tombstone of a key that is gone?
	if st, rerr := s.read(ctx, srv, p); rerr == nil {
		if _, gone := st.item(); gone != nil {
			return backends.ErrMiss
		}
	}
	return backends.ErrConflict
}

// SetNewer implements [backends.Versioner]: gets, compare, and cas or add, again while others
// write in between.
func (s *Store) SetNewer(ctx context.Context, key string, it backends.Item) error {
	if err := s.check(it); err != nil {
		return err
	}
	p, srv, err := s.at(key)
	if err != nil {
		return err
	}
	r, exp := p.pack(it)
	version := wire.VersionOf(it.Value)
	return s.rewrite(ctx, srv, p, func(st *state) (record, int32, error) {
		if st.kind != none && st.kind != wire.Lease && wire.VersionOf(st.value) >= version {
			return r, exp, backends.ErrOlder
		}
		return r, exp, nil
	})
}

// DeleteHold implements [backends.Tombstoner]. The newest hold-off replaces an older one.
func (s *Store) DeleteHold(ctx context.Context, key string, hold time.Duration, version uint64) error {
	if hold <= 0 {
		return backends.ErrInvalidTTL
	}
	p, srv, err := s.at(key)
	if err != nil {
		return err
	}
	return s.cover(ctx, srv, p, wire.NewTombstone(version), hold)
}

// cover puts a lease or tombstone over whatever p holds.
func (s *Store) cover(ctx context.Context, srv *server, p place, mark []byte, hold time.Duration) error {
	exp := expiry(hold, time.Now())
	if !s.separate {
		return srv.store(ctx, set, p.wire, record{value: p.label(mark)}, exp)
	}
	if err := srv.store(ctx, set, s.beside(p, asLease), record{value: mark}, exp); err != nil {
		return err
	}
	if err := srv.remove(ctx, p.wire); err != nil && !errors.Is(err, backends.ErrMiss) {
		return err
	}
	return nil
}

// overlong bounds a tombstone whose own lifetime a touch has overwritten.
const overlong = time.Minute

// Touch implements [backends.Toucher], and keeps the version. memcached's touch does not see what
// it touches, and would prolong a lease or a tombstone as well, for ever if it came to that. So the
// key is read before, and read again after: a lease that slipped in between is removed, which only
// costs its fill; a tombstone is cut to a minute.
func (s *Store) Touch(ctx context.Context, key string, ttl time.Duration) error {
	if ttl < 0 {
		return backends.ErrInvalidTTL
	}
	p, srv, err := s.at(key)
	if err != nil {
		return err
	}
	exp := expiry(ttl, time.Now())
	if s.separate { // only values lie there
		return srv.touch(ctx, p.wire, exp)
	}
	st, err := s.read(ctx, srv, p)
	if err != nil {
		return err
	}
	if _, err := st.item(); err != nil {
		return err
	}
	if s.beforeTouch != nil {
		s.beforeTouch()
	}
	if err := srv.touch(ctx, p.wire, exp); err != nil {
		return err
	}
	if st, err = s.read(ctx, srv, p); err != nil {
		return err
	}
	switch st.kind {
	case wire.Lease:
		err = srv.store(ctx, cas, p.wire, record{cas: st.data.cas}, gone)
	case wire.Tombstone:
		hold := overlong
		if ttl > 0 {
			hold = min(ttl, overlong)
		}
		err = srv.store(ctx, cas, p.wire, st.data.record, expiry(hold, time.Now()))
	default:
		return nil
	}
	if err == nil || errors.Is(err, backends.ErrConflict) {
		err = backends.ErrMiss // what was to be touched is gone
	}
	return err
}
