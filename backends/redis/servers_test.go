package redis

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// shared is one cluster for all tests that do not harm it; starting one takes seconds.
var shared struct {
	once  sync.Once
	nodes *servers.Cluster
	err   error
}

func TestMain(m *testing.M) {
	logging.Disable() // these tests kill servers on purpose
	code := m.Run()
	if shared.nodes != nil {
		_ = shared.nodes.Close()
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// cluster returns the options of a client for three masters that other tests use too.
func cluster(t testing.TB) *goredis.ClusterOptions {
	t.Helper()
	shared.once.Do(func() {
		shared.nodes, shared.err = servers.StartRedisCluster(3, servers.Options{MustBeReal: os.Getenv("CI") != ""})
	})
	if shared.err != nil {
		t.Fatalf("start a cluster: %v", shared.err)
	}
	return patientCluster(shared.nodes.Addrs())
}

// patient are the settings of a cache, but for machines that are busy with other tests.
func patient(addr string) *goredis.Options {
	o := Options(addr)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = 10*time.Second, 10*time.Second, 10*time.Second, 10*time.Second
	return o
}

func patientCluster(addrs []string) *goredis.ClusterOptions {
	o := ClusterOptions(addrs...)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = 10*time.Second, 10*time.Second, 10*time.Second, 10*time.Second
	return o
}

func openCluster(t testing.TB, o *goredis.ClusterOptions, cfg Config) *Store {
	t.Helper()
	c := goredis.NewClusterClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return newStore(t, c, cfg)
}

// open returns a store on a client with the settings of a cache.
func open(t testing.TB, addr string, cfg Config) *Store {
	t.Helper()
	return openWith(t, patient(addr), cfg)
}

func openWith(t testing.TB, o *goredis.Options, cfg Config) *Store {
	t.Helper()
	c := goredis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return newStore(t, c, cfg)
}

func newStore(t testing.TB, c goredis.UniversalClient, cfg Config) *Store {
	t.Helper()
	s, err := New(c, cfg)
	if err != nil {
		t.Fatalf("new: %v", err)
	}
	return s
}

// server returns the address of a Redis, or of the stand-in where none is installed.
func server(t testing.TB, args ...string) string {
	t.Helper()
	return serverstest.Redis(t, args...).Addr()
}

// realServer returns the address of a Redis for a test of what only a real one does; false where
// none is installed, which serverstest fails for in CI.
func realServer(t testing.TB, args ...string) (addr string, ok bool) {
	t.Helper()
	srv := serverstest.Redis(t, args...)
	return srv.Addr(), isReal(t, srv)
}

func isReal(t testing.TB, srv interface{ Kind() string }) bool {
	t.Helper()
	if srv.Kind() == servers.Real {
		return true
	}
	t.Log("redis-server is not installed: what only a real server does was not looked at")
	return false
}

// mini returns the address of a stand-in.
func mini(t testing.TB) *miniredis.Miniredis {
	t.Helper()
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		t.Fatalf("start miniredis: %v", err)
	}
	t.Cleanup(m.Close)
	return m
}

// do sends a command as another client would.
func do(t testing.TB, s *Store, args ...any) any {
	t.Helper()
	v, err := s.client.Do(t.Context(), args...).Result()
	if err != nil && !errors.Is(err, goredis.Nil) {
		t.Fatalf("%v: %v", args[0], err)
	}
	return v
}

func set(t testing.TB, s *Store, key, v string) {
	t.Helper()
	if err := s.Set(t.Context(), key, text(v)); err != nil {
		t.Fatalf("set %q: %v", key, err)
	}
}

func get(t testing.TB, s *Store, key string) backends.Item {
	t.Helper()
	it, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	return it
}

func holds(t testing.TB, s *Store, key, want string) {
	t.Helper()
	if it := get(t, s, key); string(it.Value) != want {
		t.Fatalf("get %q: got %.60q, want %.60q", key, it.Value, want)
	}
}

func wantErr(t testing.TB, err, want error, what string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: got %v, want %v", what, err, want)
	}
}

func text(v string) backends.Item { return backends.Item{Value: []byte(v)} }

// processHook lets a test change what happens to single commands.
type processHook struct {
	fn func(next goredis.ProcessHook) goredis.ProcessHook
}

func (h processHook) DialHook(next goredis.DialHook) goredis.DialHook          { return next }
func (h processHook) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook { return h.fn(next) }
func (h processHook) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

// reply is an error that a server answered with.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}
