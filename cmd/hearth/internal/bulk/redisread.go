package bulk

import (
	"context"
	"errors"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/internal/wire"
)

// read implements session. On one server value and lifetime are read in one transaction, so that
// they belong together.
func (e *redisEnd) read(ctx context.Context, server int, recs []*Record) error {
	if len(recs) == 0 {
		return nil
	}
	keys := make([]string, len(recs))
	for i, r := range recs {
		if server >= 0 {
			r.Key = r.Listed
		}
		keys[i] = r.Key
	}
	now := time.Now()
	ttls := make([]*redis.DurationCmd, len(recs))
	if e.one == nil {
		return e.readEach(ctx, keys, recs, now)
	}
	pipe := e.one.TxPipeline()
	values := pipe.MGet(ctx, keys...)
	for i, k := range keys {
		ttls[i] = pipe.PTTL(ctx, k)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for i, r := range recs {
		s, ok := values.Val()[i].(string)
		r.take(s, ok, ttls[i].Val(), now)
	}
	return nil
}

func (e *redisEnd) readEach(ctx context.Context, keys []string, recs []*Record, now time.Time) error {
	values, ttls := make([]*redis.StringCmd, len(recs)), make([]*redis.DurationCmd, len(recs))
	pipe := e.client.Pipeline()
	for i, k := range keys {
		values[i], ttls[i] = pipe.Get(ctx, k), pipe.PTTL(ctx, k)
	}
	_, _ = pipe.Exec(ctx) // every command has its own
	for i, r := range recs {
		s, err := values[i].Result()
		if err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "WRONGTYPE") {
			return err
		}
		if err2 := ttls[i].Err(); err2 != nil {
			return err2
		}
		r.take(s, err == nil, ttls[i].Val(), now)
	}
	return nil
}

// take fills in what Redis answered. PTTL says -2 for no key, -1 for no end.
func (r *Record) take(s string, ok bool, ttl time.Duration, now time.Time) {
	switch {
	case !ok && ttl == -2:
		r.Fate = Expired
		return
	case !ok:
		r.Fate = NotString
		return
	case ttl == -2:
		r.Fate = Expired
		return
	case ttl >= 0:
		r.Deadline = now.Add(ttl)
	}
	r.setValue(unsafe.Slice(unsafe.StringData(s), len(s))) // the string is nobody else's
}

func (r *Record) setValue(v []byte) {
	r.Value = v
	switch wire.KindOf(v) {
	case wire.Lease, wire.Tombstone:
		r.Fate = Lease
	}
}
