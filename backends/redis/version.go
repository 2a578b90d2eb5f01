package redis

import (
	"context"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

// SetNewer implements [backends.Versioner] by a script: one round trip.
func (s *Store) SetNewer(ctx context.Context, key string, it backends.Item) error {
	if err := check(ctx, key, it); err != nil {
		return err
	}
	v := wire.VersionOf(it.Value)
	code, err := s.decide(ctx, scriptNewer, s.keys(key), it.Value, millis(it.TTL), v>>32, v&0xffffffff)
	if err == nil && code == differs {
		return backends.ErrOlder
	}
	return err
}

// DeleteHold implements [backends.Tombstoner] in one round trip.
func (s *Store) DeleteHold(ctx context.Context, key string, hold time.Duration, version uint64) error {
	if err := checkHold(ctx, key, hold); err != nil {
		return err
	}
	return s.mark(ctx, key, wire.NewTombstone(version), hold)
}
