package servers_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func TestMain(m *testing.M) {
	if how := os.Getenv(actAsParent); how != "" {
		parent(how)
	}
	goleak.VerifyTestMain(m)
}

func client(t *testing.T, addr string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestRedis_AnswersAndForgetsOnRestart(t *testing.T) {
	s := serverstest.Redis(t)
	serverstest.Real(t, s)
	c := client(t, s.Addr())
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	first := s.PID()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if s.PID() == first {
		t.Fatalf("process %d still there after Restart", first)
	}
	// The pooled connection is from before: a fresh client sees the new server.
	err := client(t, s.Addr()).Get(t.Context(), "k").Err()
	if !errors.Is(err, redis.Nil) {
		t.Fatalf("Get after Restart = %v, want redis.Nil", err)
	}
}

func TestRedis_KeepsItsFileOverStopWithAppendOnly(t *testing.T) {
	s := serverstest.Redis(t, "--appendonly", "yes")
	serverstest.Real(t, s)
	if err := client(t, s.Addr()).Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if s.PID() != 0 {
		t.Fatalf("PID after Stop = %d, want 0", s.PID())
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	got, err := client(t, s.Addr()).Get(t.Context(), "k").Result()
	if err != nil || got != "v" {
		t.Fatalf("Get after Stop and Start = %q, %v", got, err)
	}
}

func TestRedisCluster_IsInOrder(t *testing.T) {
	c := serverstest.RedisCluster(t, 3)
	serverstest.Real(t, c)
	cc := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	defer func() { _ = cc.Close() }()
	for _, k := range []string{"a", "b", "c", "d", "e", "f"} {
		if err := cc.Set(t.Context(), k, k, 0).Err(); err != nil {
			t.Fatal(err)
		}
		if got, err := cc.Get(t.Context(), k).Result(); err != nil || got != k {
			t.Fatalf("Get(%q) = %q, %v", k, got, err)
		}
	}
}

func TestSentinel_MakesTheReplicaTheMaster(t *testing.T) {
	s := serverstest.Sentinel(t)
	c := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: s.Name, SentinelAddrs: []string{s.Watcher.Addr()}, MaxRetries: -1,
	})
	defer func() { _ = c.Close() }()
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Master.Kill(); err != nil {
		t.Fatal(err)
	}
	var err error
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = c.Set(t.Context(), "k", "w", 0).Err(); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("no master came back: %v", err)
	}
	if got, err := client(t, s.Replica.Addr()).Get(t.Context(), "k").Result(); err != nil || got != "w" {
		t.Fatalf("the replica has %q, %v", got, err)
	}
}

func TestMemcached_PausedIsSilentAndResumes(t *testing.T) {
	s := serverstest.Memcached(t)
	serverstest.Real(t, s)
	c := memcache.New(s.Addr())
	defer func() { _ = c.Close() }()
	c.Timeout = 50 * time.Millisecond
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(); err == nil {
		t.Fatal("a paused server answered")
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	c.Timeout = 5 * time.Second
	if err := c.Ping(); err != nil {
		t.Fatal(err)
	}
}

func TestServer_StopEndsAPausedProcess(t *testing.T) {
	s := serverstest.Redis(t)
	serverstest.Real(t, s)
	if err := errors.Join(s.Pause(), s.Stop()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Stop(), s.Kill()); err != nil {
		t.Fatalf("a second Stop: %v", err)
	}
	if err := s.Pause(); err == nil {
		t.Fatal("Pause of a stopped server succeeded")
	}
}

func TestStart_OfARunningServerIsAnError(t *testing.T) {
	for name, o := range map[string]servers.Options{"default": {}, "embedded": {Embedded: true}} {
		s, err := servers.StartRedis(o)
		if err != nil {
			t.Fatal(name, err)
		}
		if err := s.Start(); err == nil {
			t.Errorf("%s: a second Start succeeded", name)
		}
		if err := s.Close(); err != nil {
			t.Fatal(name, err)
		}
	}
}

func TestStart_ShowsWhatTheServerPrinted(t *testing.T) {
	_, err := servers.StartRedis(servers.Options{MustBeReal: true, Args: []string{"--no-such-option", "1"}})
	if errors.Is(err, servers.ErrNotInstalled) {
		serverstest.Need(t, err)
	}
	if err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Fatalf("err = %v, want the text of the server", err)
	}
}

func TestStart_SaysWhatIsNotInstalled(t *testing.T) {
	for _, start := range []func(servers.Options) (*servers.Server, error){servers.StartRedis, servers.StartMemcached} {
		if _, err := start(servers.Options{Binary: "/no/such/program"}); !errors.Is(err, servers.ErrNotInstalled) {
			t.Errorf("err = %v, want ErrNotInstalled", err)
		}
	}
}

func TestEmbedded_ServesExpiresAndForgets(t *testing.T) {
	s, err := servers.StartRedis(servers.Options{Embedded: true, Args: []string{"--requirepass", "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if s.Kind() != servers.Embedded || s.PID() != 0 {
		t.Fatalf("Kind %q, PID %d", s.Kind(), s.PID())
	}
	if err := s.Pause(); !errors.Is(err, errors.ErrUnsupported) {
		t.Fatalf("Pause = %v, want ErrUnsupported", err)
	}
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), Password: "secret"})
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := c.Set(ctx, "k", "v", 20*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	for c.Get(ctx, "k").Err() == nil { // until it has expired
	}
	if err := c.Get(ctx, "k").Err(); !errors.Is(err, redis.Nil) {
		t.Fatalf("Get = %v, want redis.Nil", err)
	}
	if err := c.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Exists(ctx, "k").Result(); err != nil || n != 0 {
		t.Fatalf("after Restart: %d keys, %v", n, err)
	}
}

func TestEmbeddedMemcached_ServesTheRealProtocol(t *testing.T) {
	s, err := servers.StartMemcached(servers.Options{Embedded: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	c := memcache.New(s.Addr())
	defer func() { _ = c.Close() }()
	if err := c.Set(&memcache.Item{Key: "k", Value: []byte("a\r\nb")}); err != nil {
		t.Fatal(err)
	}
	it, err := c.Get("k")
	if err != nil || string(it.Value) != "a\r\nb" {
		t.Fatalf("Get = %v, %v", it, err)
	}
}

func ExampleStartRedis() {
	srv, err := servers.StartRedis(servers.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = srv.Close() }()
	client := redis.NewClient(&redis.Options{Addr: srv.Addr()})
	defer func() { _ = client.Close() }()
	fmt.Println(client.Ping(context.Background()).Val())
	// Output: PONG
}
