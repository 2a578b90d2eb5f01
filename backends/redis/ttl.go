package redis

import (
	"context"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// Touch implements [backends.Toucher] by a script: leases and tombstones are no values, and are
// not kept alive.
func (s *Store) Touch(ctx context.Context, key string, ttl time.Duration) error {
	if err := check(ctx, key, backends.Item{TTL: ttl}); err != nil {
		return err
	}
	code, err := s.run(ctx, scriptTouch, []string{key}, millis(ttl)).Int64()
	if err != nil {
		return failure(ctx, err)
	}
	if code == 0 {
		return backends.ErrMiss
	}
	return nil
}

// GetTTL implements [backends.TTLer]: GET and PTTL travel together. If the key is written
// between the two, the lifetime is that of the newer value.
func (s *Store) GetTTL(ctx context.Context, key string) (backends.Item, error) {
	r := s.GetTTLMany(ctx, []string{key})
	return r[0].Item, r[0].Err
}

// GetTTLMany implements [backends.TTLer].
func (s *Store) GetTTLMany(ctx context.Context, keys []string) []backends.Result {
	return s.getPairs(ctx, keys, true)
}

// lived puts the answer to a PTTL into r: -1 = no expiry, -2 = it expired since it was read.
func lived(r backends.Result, ms int64) backends.Result {
	switch {
	case r.Err != nil:
	case ms == -2:
		return backends.Result{Err: backends.ErrMiss}
	case ms == -1:
		r.Item.TTL = 0
	default:
		// What remains is between this and 1 ms more, and never "no expiry".
		r.Item.TTL = time.Duration(max(ms, 1)) * time.Millisecond
	}
	return r
}
