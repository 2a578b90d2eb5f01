package coalesce

import (
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func TestMain(m *testing.M) {
	logging.Disable() // a test kills a node on purpose
	// The pool of a node that is down looks for it once a second, and only then sees that it is closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

func wrap(t testing.TB, inner backends.Store, cfg Config) *Store {
	t.Helper()
	s, err := New(inner, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// crowded is wrap with nobody going alone, so that every call takes the way of a batch.
func crowded(t testing.TB, inner backends.Store) *Store {
	s := wrap(t, inner, Config{})
	s.gets.crowd = true
	if s.deletes != nil {
		s.deletes.crowd = true
	}
	if s.ttls != nil {
		s.ttls.crowd = true
	}
	if s.acquires != nil {
		s.acquires.crowd, s.fills.crowd, s.releases.crowd = true, true, true
	}
	return s
}

// patience is how long a starved machine may take for an answer.
const patience = time.Minute

func onRedis(t testing.TB) backends.Store {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{
		Addr: serverstest.Redis(t).Addr(), ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
		ReadTimeout: patience, WriteTimeout: patience, DialTimeout: patience, PoolTimeout: patience,
	})
	t.Cleanup(func() { c.Close() })
	s, err := redis.New(c, redis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func onMemcached(t testing.TB, addr string, over memcached.Transport) backends.Store {
	t.Helper()
	s, err := memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: addr}}, Timeout: patience, Transport: over})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
