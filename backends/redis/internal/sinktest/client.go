package sinktest

import (
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis"
)

// Connect returns a client of the server at addr that is patient with a busy machine. The test
// closes it.
func Connect(t testing.TB, addr string) *goredis.Client {
	t.Helper()
	return ConnectWith(t, redis.Options(addr))
}

// ConnectWith is Connect with other options; all timeouts are made long.
func ConnectWith(t testing.TB, o *goredis.Options) *goredis.Client {
	t.Helper()
	const long = 10 * time.Second
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = long, long, long, long
	c := goredis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}
