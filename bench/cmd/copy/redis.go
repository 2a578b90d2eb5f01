package main

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

type redisSide struct {
	addr   string
	client *redis.Client
}

func newRedisSide(addr string) redisSide {
	return redisSide{addr, redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second})}
}

func (s redisSide) url() string             { return "redis://" + s.addr + "/0" }
func (s redisSide) keepsFlags() bool        { return false }
func (s redisSide) worker() (worker, error) { return s, nil }
func (s redisSide) close()                  {}
func (s redisSide) flush() error            { return s.client.FlushAll(context.Background()).Err() }

func (s redisSide) count() (int, error) {
	n, err := s.client.DBSize(context.Background()).Result()
	return int(n), err
}

func (s redisSide) fill(a, b int, began time.Time) error {
	for ; a < b; a += plainBatch {
		var batch []entry
		for i := a; i < min(a+plainBatch, b); i++ {
			e := entryOf(i)
			if e.ttl > 0 {
				e.ttl -= time.Since(began)
			}
			batch = append(batch, e)
		}
		if err := s.write(batch); err != nil {
			return err
		}
	}
	return nil
}

func (s redisSide) list(yield func([]string)) error {
	for pos := uint64(0); ; {
		keys, next, err := s.client.Scan(context.Background(), pos, "", 1000).Result()
		if err != nil {
			return err
		}
		if yield(keys); next == 0 {
			return nil
		}
		pos = next
	}
}

func (s redisSide) read(keys []string, out []entry) error {
	ctx := context.Background()
	pipe := s.client.Pipeline()
	values := pipe.MGet(ctx, keys...)
	ttls := make([]*redis.DurationCmd, len(keys))
	for i, k := range keys {
		ttls[i] = pipe.PTTL(ctx, k)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for i, k := range keys {
		v, ok := values.Val()[i].(string)
		out[i] = entry{key: k, value: []byte(v), ttl: ttls[i].Val()}
		switch {
		case !ok:
			out[i].ttl = -1
		case out[i].ttl < 0:
			out[i].ttl = 0
		}
	}
	return nil
}

func (s redisSide) write(in []entry) error {
	ctx := context.Background()
	pipe := s.client.Pipeline()
	for _, e := range in {
		pipe.Set(ctx, e.key, e.value, e.ttl.Round(time.Millisecond))
	}
	_, err := pipe.Exec(ctx)
	return err
}
