// Package serverstest gives a test its own cache servers and ends them with it.
//
//	func TestGet_FindsWhatSetStored(t *testing.T) {
//		srv := serverstest.Redis(t)
//		client := redis.NewClient(&redis.Options{Addr: srv.Addr()})
//		...
//	}
//
// Where the server program is not installed, the stand-in inside the test
// process is used; but where the environment variable CI is set the test fails,
// because a green run without the real server would prove nothing. A test whose
// claim needs the real server's behaviour says so with [Real], [Sentinel] or
// [Need]: where the program is not installed it is skipped, and fails under CI.
package serverstest

import (
	"errors"
	"os"
	"testing"

	"github.com/hearthcache/hearth/internal/servers"
)

// Redis starts a Redis with these extra arguments and closes it when the test ends.
func Redis(t testing.TB, args ...string) *servers.Server {
	t.Helper()
	return server(t, "Redis", servers.StartRedis, args)
}

// Memcached starts a memcached with these extra arguments and closes it when the
// test ends.
func Memcached(t testing.TB, args ...string) *servers.Server {
	t.Helper()
	return server(t, "memcached", servers.StartMemcached, args)
}

// RedisCluster starts a Redis Cluster of n masters and closes it when the test
// ends. The stand-in is one node that owns all slots.
func RedisCluster(t testing.TB, n int, args ...string) *servers.Cluster {
	t.Helper()
	c, err := servers.StartRedisCluster(n, options(args))
	if err != nil {
		t.Fatalf("start a Redis Cluster: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close the Redis Cluster: %v", err)
		}
	})
	return c
}

// Sentinel starts a master, a replica and a Sentinel and closes them when the
// test ends. There is no stand-in: see [Need].
func Sentinel(t testing.TB) *servers.Sentinel {
	t.Helper()
	s, err := servers.StartSentinel(servers.Options{})
	Need(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the Redis Sentinel: %v", err)
		}
	})
	return s
}

// Real ends the test unless s is a real server: see [Need].
func Real(t testing.TB, s interface{ Kind() string }) {
	t.Helper()
	if s.Kind() != servers.Real {
		Need(t, servers.ErrNotInstalled)
	}
}

// Need ends the test if a real server could not be started, for which err is the
// reason. That its program is not installed is a reason to skip the test, except
// under CI; anything else is a failure.
func Need(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, servers.ErrNotInstalled) && !inCI():
		t.Skipf("this test needs the real server: install redis-server and memcached (%v)", err)
	default:
		t.Fatalf("this test needs the real server: %v", err)
	}
}

func server(t testing.TB, what string, start func(servers.Options) (*servers.Server, error), args []string) *servers.Server {
	t.Helper()
	s, err := start(options(args))
	if err != nil {
		t.Fatalf("start %s: %v", what, err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close %s: %v", what, err)
		}
	})
	return s
}

func options(args []string) servers.Options {
	return servers.Options{Args: args, MustBeReal: inCI()}
}

func inCI() bool { return os.Getenv("CI") != "" }
