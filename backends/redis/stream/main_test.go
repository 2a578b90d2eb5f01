package stream

import (
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/backends/redis/internal/talktest"
)

func TestMain(m *testing.M) { talktest.Main(m) }

// connect returns a client that is patient with a busy machine.
func connect(t testing.TB, addr string) *goredis.Client { return sinktest.Connect(t, addr) }

// calm are settings for tests in which nothing may be given up.
func calm(ns string) Config {
	return Config{Namespace: ns, Ping: 50 * time.Millisecond, DeadAfter: 30 * time.Second, Timeout: 10 * time.Second}
}

func source(t testing.TB, c goredis.UniversalClient, cfg Config) *Source {
	t.Helper()
	s, err := New(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publish(t testing.TB, s *Source, keys ...string) {
	t.Helper()
	if err := s.Publish(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
}
