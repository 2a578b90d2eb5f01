package talktest

import (
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/servers"
)

// Cluster returns a client of a cluster, some of whose nodes are at addrs, that is patient with a busy machine. The test closes it.
func Cluster(t testing.TB, addrs ...string) *goredis.ClusterClient {
	t.Helper()
	const long = 10 * time.Second
	o := redis.ClusterOptions(addrs...)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = long, long, long, long
	c := goredis.NewClusterClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// failover is [Cluster] for the master that a Sentinel names.
func failover(t testing.TB, s *servers.Sentinel) *goredis.Client {
	t.Helper()
	const long = 10 * time.Second
	o := redis.FailoverOptions(s.Name, s.Watcher.Addr())
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = long, long, long, long
	c := goredis.NewFailoverClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}
