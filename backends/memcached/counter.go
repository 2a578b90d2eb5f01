package memcached

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

// Increment implements [backends.Incrementer] with incr, decr and add. Counters are unsigned:
// what would be below zero is zero. A sum beyond 63 bits is [backends.ErrNotNumber], and is taken
// back.
func (s *Store) Increment(ctx context.Context, key string, delta, initial int64, ttl time.Duration) (int64, error) {
	if ttl < 0 {
		return 0, backends.ErrInvalidTTL
	}
	p, srv, err := s.at(key)
	if err != nil {
		return 0, err
	}
	up, by := delta >= 0, uint64(delta)
	if !up {
		by = -by // also right for the smallest int64
	}
	initial = max(initial, 0)
	start := record{value: strconv.AppendInt(nil, initial, 10)}
	for range attempts {
		n, err := srv.count(ctx, p.wire, up, by)
		switch {
		case err == nil:
			return s.counted(ctx, srv, p, n, up, by)
		case !errors.Is(err, backends.ErrMiss) && !errors.Is(err, backends.ErrNotNumber):
			return 0, err
		}
		st, rerr := s.read(ctx, srv, p)
		switch {
		case rerr != nil:
			return 0, rerr
		case st.kind == wire.Tombstone:
			return 0, backends.ErrHeldOff
		case st.kind != none && st.kind != wire.Lease:
			if errors.Is(err, backends.ErrMiss) || isCounter(st.value) {
				continue // it came in between
			}
			return 0, backends.ErrNotNumber
		}
		err = s.replace(ctx, srv, p, &st, start, expiry(ttl, time.Now()))
		if err == nil {
			return initial, nil
		}
		if !errors.Is(err, backends.ErrConflict) {
			return 0, err
		}
	}
	return 0, backends.ErrConflict
}

// counted returns the new value n of a counter, unless it left what an int64 holds: memcached
// counts modulo 2^64, so adding what is missing to 2^64 takes the step back, also after a wrap and
// beside other callers.
func (s *Store) counted(ctx context.Context, srv *server, p place, n uint64, up bool, by uint64) (int64, error) {
	if n <= math.MaxInt64 && (!up || n >= by) {
		return int64(n), nil
	}
	back := by
	if up {
		back = -by
	}
	if _, err := srv.count(ctx, p.wire, true, back); err != nil {
		return 0, fmt.Errorf("counter left 63 bits and could not be taken back: %w: %w", backends.ErrUnknown, err)
	}
	return 0, fmt.Errorf("counter would leave 63 bits (%w)", backends.ErrNotNumber)
}
