package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
)

// Increment implements [backends.Incrementer] by a script: one round trip. Counters are signed
// 64-bit; one that would overflow stays as it is, and is ErrNotNumber. A tombstone refuses a
// counter as it refuses an Add: ErrHeldOff.
func (s *Store) Increment(ctx context.Context, key string, delta, initial int64, ttl time.Duration) (int64, error) {
	if err := check(ctx, key, backends.Item{TTL: ttl}); err != nil {
		return 0, err
	}
	v, err := s.run(ctx, scriptCount, s.keys(key), delta, initial, millis(ttl)).Text()
	switch {
	case err == nil:
		return strconv.ParseInt(v, 10, 64)
	case errors.Is(err, goredis.Nil):
		return 0, backends.ErrHeldOff
	case strings.Contains(err.Error(), "not an integer"), strings.Contains(err.Error(), "would overflow"):
		return 0, fmt.Errorf("%w: %w", backends.ErrNotNumber, err)
	}
	return 0, ambiguous(ctx, err)
}
