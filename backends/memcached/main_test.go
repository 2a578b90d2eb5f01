package memcached

import (
	"context"
	"errors"
	"flag"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "64") // parallel tests here wait for lifetimes, not for a processor
	goleak.VerifyTestMain(m)
}

// open makes a Store that is closed with the test. Its timeout suits a busy machine.
func open(t testing.TB, c Config) *Store {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func fleet(addrs ...string) []Server {
	var f []Server
	for _, a := range addrs {
		f = append(f, Server{Addr: a})
	}
	return f
}

// one starts a server and opens a Store over it.
func one(t testing.TB, c Config) *Store {
	t.Helper()
	c.Servers = fleet(serverstest.Memcached(t).Addr())
	return open(t, c)
}

func text(s string) backends.Item { return backends.Item{Value: []byte(s)} }

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func holds(t testing.TB, s *Store, key, want string) {
	t.Helper()
	it, err := s.Get(context.Background(), key)
	if err != nil || string(it.Value) != want {
		t.Fatalf("get %q: got %q, %v; want %q", key, it.Value, err, want)
	}
}

// foreign is a client that knows nothing of hearth, of the server that owns key.
func foreign(s *Store, key string) *memcache.Client {
	c := memcache.New(s.conf.Servers[s.place(key).server].Addr)
	c.Timeout = 5 * time.Second
	return c
}
