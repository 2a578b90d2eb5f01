package memory

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// Touch implements [backends.Toucher]. The version of the value stays what it was.
func (s *Store) Touch(ctx context.Context, key string, ttl time.Duration) error {
	if ttl < 0 {
		return backends.ErrInvalidTTL
	}
	if err := checkKey(ctx, key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	e, ok := s.look(key, now)
	if err := e.miss(ok); err != nil {
		return err
	}
	e.expires = time.Time{}
	if ttl > 0 {
		e.expires = now.Add(ttl)
	}
	s.items[key] = e
	return nil
}

// Increment implements [backends.Incrementer]. A lease is no value and is replaced; a key that
// is held off is refused with [backends.ErrHeldOff]. A sum beyond 64 bits is
// [backends.ErrNotNumber] and leaves the counter alone.
func (s *Store) Increment(ctx context.Context, key string, delta, initial int64, ttl time.Duration) (int64, error) {
	if ttl < 0 {
		return 0, backends.ErrInvalidTTL
	}
	if err := checkKey(ctx, key); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	e, ok := s.look(key, now)
	switch err := e.miss(ok); {
	case errors.Is(err, backends.ErrHeldOff):
		return 0, err
	case err != nil:
		s.put(key, backends.Item{Value: strconv.AppendInt(nil, initial, 10), TTL: ttl}, now)
		return initial, nil
	}
	old, err := strconv.ParseInt(string(e.value), 10, 64)
	if err != nil {
		return 0, backends.ErrNotNumber
	}
	sum := old + delta
	if (sum > old) != (delta > 0) && delta != 0 {
		return 0, fmt.Errorf("cache: %d%+d does not fit into 64 bits (%w)", old, delta, backends.ErrNotNumber)
	}
	s.sequence++
	e.value, e.version = strconv.AppendInt(nil, sum, 10), s.sequence
	s.items[key] = e
	return sum, nil
}
