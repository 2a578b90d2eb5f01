package fallback

import (
	"fmt"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func redisStore(t testing.TB) backends.Store {
	t.Helper()
	o := redis.Options(serverstest.Redis(t).Addr())
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = 10*time.Second, 10*time.Second, 10*time.Second, 10*time.Second
	client := goredis.NewClient(o)
	t.Cleanup(func() { _ = client.Close() })
	s, err := redis.New(client, redis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func memcachedStore(t testing.TB) backends.Store {
	t.Helper()
	s, err := memcached.New(memcached.Config{
		Servers: []memcached.Server{{Addr: serverstest.Memcached(t).Addr()}}, Timeout: 10 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// patient is a member on a machine that is busy with other tests.
func patient(s backends.Store) Member { return Member{Store: s, Timeout: 15 * time.Second} }

func TestStore_PassesTheSuiteOnRealServers(t *testing.T) {
	r1, r2, m1 := redisStore(t), redisStore(t), memcachedStore(t)
	arrangements := []struct {
		name string
		to   backends.Store
		from []backends.Store
	}{
		{"redis to memcached", m1, []backends.Store{r1}},
		{"memcached to redis", r1, []backends.Store{m1}},
		{"redis to redis", r2, []backends.Store{r1}},
		{"chain of two olds", r2, []backends.Store{m1, r1}},
	}
	for _, a := range arrangements {
		for _, phase := range []Phase{PhaseOld, PhaseMirror, Ramp(50), PhaseNew} {
			t.Run(fmt.Sprint(a.name, "/", phase), func(t *testing.T) {
				t.Parallel()
				cfg := Config{New: patient(a.to), Phase: phase, Both: phase == Ramp(50)}
				for _, o := range a.from {
					cfg.Old = append(cfg.Old, patient(o))
				}
				s := must(t, cfg)
				backendtest.Run(t, func(*testing.T) backendtest.Harness {
					return backendtest.Harness{Store: s, TTLResolution: 2 * time.Second}
				})
			})
		}
	}
}

func TestStore_ChainPassesTheSuite(t *testing.T) {
	for _, phase := range everyPhase {
		t.Run(phase.String(), func(t *testing.T) {
			backendtest.Run(t, func(t *testing.T) backendtest.Harness {
				clock := &manual{now: time.Now()}
				mem := func() Member { return patient(memory.New(memory.Config{Now: clock.Now})) }
				s := must(t, Config{New: mem(), Old: []Member{mem(), mem(), mem()}, Phase: phase})
				return backendtest.Harness{Store: s, Peer: s, Advance: clock.Advance, TTLResolution: time.Nanosecond}
			})
		})
	}
}
