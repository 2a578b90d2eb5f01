package fallback

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/faultproxy"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// program returns the path of another client's program under one of its names; "" where it is not
// installed and need not be.
func program(t *testing.T, names ...string) string {
	t.Helper()
	for _, n := range names {
		if path, err := exec.LookPath(n); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("none of %v is installed", names)
	}
	return ""
}

// lives checks that key is in s with about this much left of its lifetime.
func lives(t *testing.T, s backends.Store, key, value string, left time.Duration) {
	t.Helper()
	it, err := backends.CapsOf(s).TTLer.GetTTL(t.Context(), key)
	if err != nil || string(it.Value) != value {
		t.Errorf("%s: %q, %v; want %q", key, it.Value, err, value)
	}
	if it.TTL < left-3*time.Second || it.TTL > left+time.Second {
		t.Errorf("%s: %v left, want %v", key, it.TTL, left)
	}
}

func TestMigration_ValuesOfMemccpReachRedisWithTheirLifetime(t *testing.T) {
	const value = "line one\r\nline two\x00\xff"
	srv := serverstest.Memcached(t)
	old, err := memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: srv.Addr()}}, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = old.Close() })
	if memccp := program(t, "memccp", "memcp"); memccp != "" { // Debian has it under the former name
		file := filepath.Join(t.TempDir(), "page")
		if err := os.WriteFile(file, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(memccp, "--servers="+srv.Addr(), "--expire=600", file).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	} else if err := old.Set(t.Context(), "page", backends.Item{Value: []byte(value), TTL: 10 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	fresh := redisStore(t)
	s := must(t, Config{New: patient(fresh), Old: []Member{patient(old)}, Phase: PhaseNew})
	if it, err := s.Get(t.Context(), "page"); err != nil || string(it.Value) != value {
		t.Fatalf("%q, %v", it.Value, err)
	}
	lives(t, fresh, "page", value, 10*time.Minute)
}

func TestMigration_ValuesOfRedisCliReachMemcachedWithTheirLifetime(t *testing.T) {
	const value = "ünï code"
	srv := serverstest.Redis(t)
	client := goredis.NewClient(redis.Options(srv.Addr()))
	t.Cleanup(func() { _ = client.Close() })
	old, err := redis.New(client, redis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if cli := program(t, "redis-cli"); cli != "" {
		host, port, _ := net.SplitHostPort(srv.Addr())
		if out, err := exec.Command(cli, "-h", host, "-p", port, "SET", "page", value, "EX", "900").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	} else if err := old.Set(t.Context(), "page", backends.Item{Value: []byte(value), TTL: 15 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	fresh := memcachedStore(t)
	s := must(t, Config{New: patient(fresh), Old: []Member{patient(old)}, Phase: PhaseNew})
	if r := s.GetMany(t.Context(), []string{"page"})[0]; r.Err != nil || string(r.Item.Value) != value {
		t.Fatalf("%q, %v", r.Item.Value, r.Err)
	}
	lives(t, fresh, "page", value, 15*time.Minute)
}

// walk takes a migration through its phases, up and down, and checks at each that what was there
// is found with its lifetime, and that what is changed is seen changed in both directions.
func walk(t *testing.T, old, fresh backends.Store) {
	t.Helper()
	ctx := t.Context()
	s := must(t, Config{New: patient(fresh), Old: []Member{patient(old)}, Both: true})
	const keys = 60
	for i := range keys {
		if err := s.Set(ctx, fmt.Sprint("walk:", i), text("0")); err != nil {
			t.Fatal(err)
		}
	}
	up := []Phase{PhaseOld, PhaseMirror, Ramp(40), PhaseNew, PhaseRetire, PhaseNew, Ramp(40), PhaseMirror, PhaseOld}
	for step, phase := range up {
		if phase == PhaseRetire {
			settled(t, s, keys, "walk:")
		}
		if err := s.SetPhase(phase); err != nil {
			t.Fatal(err)
		}
		misses := 0
		for i := range keys {
			key, want := fmt.Sprint("walk:", i), fmt.Sprint(step)
			if i%10 != 0 { // one in ten changes at each step
				want = "0"
			} else if err := s.Set(ctx, key, text(want)); err != nil {
				t.Errorf("%v: set: %v", phase, err)
			}
			it, err := s.GetTTL(ctx, key)
			switch {
			case errors.Is(err, backends.ErrMiss):
				misses++
			case err != nil || string(it.Value) != want:
				t.Errorf("%v: %s is %q, %v; want %q", phase, key, it.Value, err, want)
			case it.TTL < 59*time.Minute || it.TTL > time.Hour+2*time.Second:
				t.Errorf("%v: %s lives for %v", phase, key, it.TTL)
			}
		}
		if misses > 0 {
			t.Errorf("%v: %d of %d keys are cold", phase, misses, keys)
		}
	}
	if err := s.Delete(ctx, "walk:1"); err != nil {
		t.Error(err)
	}
	for _, m := range []backends.Store{old, fresh} {
		if _, err := m.Get(ctx, "walk:1"); !errors.Is(err, backends.ErrMiss) {
			t.Errorf("after a delete: %v", err)
		}
	}
}

// settled reads all keys until new has answered each of them, as the runbook has it before old is
// retired: copies that the phase before began in the background may still be under way.
func settled(t *testing.T, s *Store, keys int, prefix string) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		before := s.Progress().HitsNew
		for i := range keys {
			_, _ = s.Get(t.Context(), fmt.Sprint(prefix, i))
		}
		if s.Progress().HitsNew == before+int64(keys) {
			return
		}
		if time.Since(start) > 30*time.Second {
			t.Fatalf("old still answers: %+v", s.Progress())
		}
	}
}

func memcachedFleet(t *testing.T, r memcached.Router, prefix string, list []memcached.Server) backends.Store {
	t.Helper()
	s, err := memcached.New(memcached.Config{Servers: list, Router: r, Prefix: prefix, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestMigration_ThreeServersOnAListToFiveOnARing(t *testing.T) {
	var list []memcached.Server
	for range 5 {
		list = append(list, memcached.Server{Addr: serverstest.Memcached(t).Addr()})
	}
	// A key that both lists send to one server would be one entry to both: hence the prefix.
	walk(t, memcachedFleet(t, memcached.Modulo, "", list[:3]), memcachedFleet(t, memcached.Ketama, "5:", list))
}

// A former owner that is down is owed the delete, and the others are not held up.
func TestMigration_ResizeOwesDeletesToFormerOwners(t *testing.T) {
	down, err := faultproxy.New(serverstest.Memcached(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = down.Close() })
	list := []memcached.Server{{Addr: serverstest.Memcached(t).Addr()}, {Addr: serverstest.Memcached(t).Addr()}}
	old := memcachedFleet(t, memcached.Modulo, "", append([]memcached.Server{{Addr: down.Addr()}}, list...))
	fresh := memcachedFleet(t, memcached.Ketama, "n:", list)
	ctx := t.Context()
	var at []string // keys of the server that goes down, and one that is not
	for i := 0; len(at) < 2; i++ {
		key := fmt.Sprint("owed:", i)
		if err := old.Set(ctx, key, text("stale")); err != nil {
			t.Fatal(err)
		}
		raw := memcachedFleet(t, memcached.Modulo, "", []memcached.Server{{Addr: down.Addr()}})
		if _, err := raw.Get(ctx, key); (err == nil) == (len(at) == 0) {
			at = append(at, key)
		}
	}
	down.Set(faultproxy.Fault{Refuse: true})
	down.ResetAll()
	one := must(t, Config{New: patient(fresh), Old: []Member{{Store: old, Timeout: 200 * time.Millisecond, OpenFor: 10 * time.Millisecond}}, Phase: PhaseNew})
	two := must(t, Config{New: patient(fresh), Old: []Member{patient(old)}, Phase: PhaseNew})
	if err := one.Delete(ctx, at[0]); !errors.Is(err, ErrOwed) {
		t.Errorf("delete: %v", err)
	}
	if n := one.Progress().OwedOld; n != 1 {
		t.Errorf("%d owed", n)
	}
	if it, err := one.Get(ctx, at[1]); err != nil || string(it.Value) != "stale" {
		t.Errorf("a key of another server: %q, %v", it.Value, err)
	}
	down.Clear()
	for _, s := range []*Store{one, two} {
		if it, err := s.Get(ctx, at[0]); !errors.Is(err, backends.ErrMiss) {
			t.Errorf("after the delete: %q, %v", it.Value, err)
		}
	}
}

func TestMigration_StandaloneRedisToACluster(t *testing.T) {
	cluster := serverstest.RedisCluster(t, 3)
	o := &goredis.ClusterOptions{
		Addrs: cluster.Addrs(), ContextTimeoutEnabled: true, MaxRetries: -1,
		DialTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, PoolTimeout: 10 * time.Second,
	}
	client := goredis.NewClusterClient(o)
	t.Cleanup(func() { _ = client.Close() })
	fresh, err := redis.New(client, redis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	walk(t, redisStore(t), fresh)
}
