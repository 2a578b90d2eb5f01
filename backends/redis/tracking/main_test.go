package tracking

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// shared are servers for all tests that do not harm them.
var shared struct {
	once sync.Once
	one  *servers.Server
	err  error
}

func TestMain(m *testing.M) {
	logging.Disable() // these tests kill servers on purpose
	skipExampleWithoutRedis()
	code := m.Run()
	if shared.one != nil {
		_ = shared.one.Close()
	}
	// The client of a server that is gone tries it once a second until it is closed, and then for
	// the rest of that second.
	dials := goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial")
	if err := goleak.Find(dials); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// skipExampleWithoutRedis leaves the example out where there is no Redis, since an example cannot
// skip itself; not under CI.
func skipExampleWithoutRedis() {
	flag.Parse()
	if os.Getenv("CI") != "" || flag.Lookup("test.skip").Value.String() != "" {
		return
	}
	s, err := servers.StartRedis(servers.Options{MustBeReal: true})
	if errors.Is(err, servers.ErrNotInstalled) {
		_ = flag.Set("test.skip", "^Example$")
	}
	if err == nil {
		_ = s.Close()
	}
}

// server returns the address of a real Redis: no stand-in tracks.
func server(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() {
		shared.one, shared.err = servers.StartRedis(servers.Options{MustBeReal: true, Args: []string{"--hz", "100"}})
	})
	serverstest.Need(t, shared.err)
	return shared.one.Addr()
}

// own starts a Redis for one test.
func own(t testing.TB, args ...string) *servers.Server {
	t.Helper()
	s := serverstest.Redis(t, args...)
	serverstest.Real(t, s)
	return s
}

// connect returns a client that is patient with a busy machine.
func connect(t testing.TB, addr string) *goredis.Client { return sinktest.Connect(t, addr) }

func connectWith(t testing.TB, o *goredis.Options) *goredis.Client { return sinktest.ConnectWith(t, o) }

// quick are settings for tests that wait for the watchdog.
func quick(ns string) Config {
	return Config{Namespace: ns, Ping: 50 * time.Millisecond, DeadAfter: 500 * time.Millisecond, Refresh: 50 * time.Millisecond}
}

// calm are settings for tests in which nothing may be given up.
func calm(ns string) Config {
	return Config{Namespace: ns, Ping: 100 * time.Millisecond, DeadAfter: 30 * time.Second}
}

func source(t testing.TB, c goredis.UniversalClient, cfg Config) *Source {
	t.Helper()
	s, err := New(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
