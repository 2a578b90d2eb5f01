package bulk

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a server of either kind, spoken to by other means than the copier's.
type server interface {
	url() string
	set(key, value string, flags int, ttl time.Duration)
	// get returns ttl -1 for a key that is not there, and 0 for one that stays.
	get(key string) (value string, flags int, ttl time.Duration)
	del(key string)
	keepsFlags() bool
}

type redisServer struct {
	t testing.TB
	c redis.UniversalClient
	u string
}

func startRedis(t testing.TB) *redisServer {
	t.Helper()
	s := serverstest.Redis(t)
	serverstest.Real(t, s)
	return redisAt(t, s.Addr())
}

func redisAt(t testing.TB, addr string) *redisServer {
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { c.Close() })
	return &redisServer{t, c, "redis://" + addr + "/0"}
}

func startCluster(t testing.TB) *redisServer {
	t.Helper()
	cl := serverstest.RedisCluster(t, 3)
	serverstest.Real(t, cl)
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cl.Addrs()})
	t.Cleanup(func() { c.Close() })
	return &redisServer{t, c, "redis+cluster://" + strings.Join(cl.Addrs(), ",")}
}

func (s *redisServer) url() string      { return s.u }
func (s *redisServer) keepsFlags() bool { return false }

func (s *redisServer) set(key, value string, _ int, ttl time.Duration) {
	s.t.Helper()
	if err := s.c.Set(s.t.Context(), key, value, ttl).Err(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *redisServer) get(key string) (string, int, time.Duration) {
	s.t.Helper()
	v, err := s.c.Get(s.t.Context(), key).Result()
	if err == redis.Nil {
		return "", 0, -1
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return v, 0, max(0, s.c.PTTL(s.t.Context(), key).Val())
}

func (s *redisServer) del(key string) { s.c.Del(s.t.Context(), key) }

// memcachedServer is a fleet, or one server.
type memcachedServer struct {
	t     testing.TB
	addrs []string
	conn  net.Conn // to the first
	r     *bufio.Reader
}

func startMemcached(t testing.TB, n int, args ...string) *memcachedServer {
	t.Helper()
	var addrs []string
	for range n {
		s := serverstest.Memcached(t, args...)
		serverstest.Real(t, s)
		addrs = append(addrs, s.Addr())
	}
	return memcachedAt(t, addrs...)
}

func memcachedAt(t testing.TB, addrs ...string) *memcachedServer {
	t.Helper()
	m := &memcachedServer{t: t, addrs: addrs}
	c, err := net.Dial("tcp", m.addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	m.conn, m.r = c, bufio.NewReader(c)
	return m
}

func (s *memcachedServer) url() string      { return "memcached://" + strings.Join(s.addrs, ",") }
func (s *memcachedServer) keepsFlags() bool { return true }

func (s *memcachedServer) ask(format string, a ...any) string {
	s.t.Helper()
	fmt.Fprintf(s.conn, format, a...)
	line, err := s.r.ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func (s *memcachedServer) set(key, value string, flags int, ttl time.Duration) {
	s.t.Helper()
	if got := s.ask("set %s %d %d %d\r\n%s\r\n", key, flags, int(ttl/time.Second), len(value), value); got != "STORED" {
		s.t.Fatalf("set %q: %s", key, got)
	}
}

func (s *memcachedServer) get(key string) (string, int, time.Duration) {
	s.t.Helper()
	line := s.ask("mg %s v f t\r\n", key)
	if line == "EN" {
		return "", 0, -1
	}
	f := strings.Fields(line)
	n, _ := strconv.Atoi(f[1])
	flags, _ := strconv.Atoi(f[2][1:])
	ttl, _ := strconv.Atoi(f[3][1:])
	b := make([]byte, n+2)
	if _, err := io.ReadFull(s.r, b); err != nil {
		s.t.Fatal(err)
	}
	return string(b[:n]), flags, max(0, time.Duration(ttl)*time.Second)
}

func (s *memcachedServer) del(key string) { s.ask("delete %s\r\n", key) }

// openBoth opens two URLs for the test.
func openBoth(t testing.TB, from, to string, o Options) (a, b *Endpoint) {
	t.Helper()
	for _, p := range []struct {
		u string
		e **Endpoint
	}{{from, &a}, {to, &b}} {
		e, err := Open(p.u, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		if err := e.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		*p.e = e
	}
	return a, b
}

// mustCopy copies and fails the test where that is not complete.
func mustCopy(t testing.TB, j Job) Report {
	t.Helper()
	r, err := Copy(context.WithoutCancel(t.Context()), j)
	if err != nil || !r.Complete {
		t.Fatalf("copy: %v, complete %t", err, r.Complete)
	}
	return r
}
