package firstof

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/bus"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/backends/redis/stream"
	"github.com/hearthcache/hearth/backends/redis/tracking"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/tier"
)

// A cache that takes its link for dead before the slowest source has given a sign of life is refused,
// whichever source is in use.
func TestPace_IsThatOfTheSlowestSource(t *testing.T) {
	c := sinktest.Connect(t, "127.0.0.1:1") // nobody is asked
	fast := must(tracking.New(c, tracking.Config{Namespace: "user", Ping: 10 * time.Millisecond}))(t)
	usual := must(bus.New(c, bus.Config{Namespace: "user"}))(t)
	slow := must(stream.New(c, stream.Config{Namespace: "user", Ping: 4 * time.Second}))(t)
	all := must(New(Config{Sources: []backends.Invalidator{fast, slow, usual, silent{}}}))(t)
	for _, s := range []struct {
		backends.Paced
		want time.Duration
	}{{fast, 10 * time.Millisecond}, {usual, time.Second}, {slow, 4 * time.Second}, {all, 4 * time.Second}} {
		if got := s.Pace(); got != s.want {
			t.Errorf("%v has the pace %v, want %v", s.Paced, got, s.want)
		}
	}
	_, err := tier.New(tier.Config[string]{Namespace: "user", Local: tier.Local[string]{Invalidator: all},
		Remotes: []tier.Remote{{Name: "redis", Store: must(redis.New(c, redis.Config{}))(t)}}})
	if err == nil || !strings.Contains(err.Error(), "Local.DeadAfter: 3s is not above the Ping of Local.Invalidator, 4s") {
		t.Errorf("got %v, want both names and both values", err)
	}
}

// Any source may come into use, so all have to hear of every change.
func TestFits_AsTheMostSelectiveSourceDoes(t *testing.T) {
	c := sinktest.Connect(t, "127.0.0.1:1") // nobody is asked
	store := must(redis.New(c, redis.Config{}))(t)
	team := must(backends.Prefix(store, "team:"))(t)
	second := must(redis.New(c, redis.Config{}))(t)
	byServer := must(tracking.New(c, tracking.Config{Namespace: "user"}))(t)
	byServerOfTeam := must(tracking.New(c, tracking.Config{Namespace: "user", KeyPrefix: "team:"}))(t)
	byWord := must(bus.New(c, bus.Config{Namespace: "user"}))(t)
	for _, tc := range []struct {
		name    string
		sources []backends.Invalidator
		stores  []backends.Store
		says    string // empty: taken
	}{
		{"one store", []backends.Invalidator{byServer, byWord}, []backends.Store{store}, ""},
		{"a prefixed one", []backends.Invalidator{byServerOfTeam, byWord}, []backends.Store{team}, ""},
		{"a prefix that is not known", []backends.Invalidator{byServer, byWord}, []backends.Store{team}, `tracking user:*: it hears of keys that the server knows with the prefix "", and the store gives them the prefix "team:"`},
		{"a prefix that is not there, in second place", []backends.Invalidator{byWord, byServerOfTeam}, []backends.Store{store}, `tracking team:user:*: it hears`},
		{"two stores", []backends.Invalidator{byServer, byWord}, []backends.Store{store, second}, "there are 2 remote tiers"},
		{"two stores, told by word", []backends.Invalidator{byWord}, []backends.Store{store, second}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := tier.Config[string]{Namespace: "user", Local: tier.Local[string]{Invalidator: must(New(Config{Sources: tc.sources}))(t)}}
			for i, s := range tc.stores {
				cfg.Remotes = append(cfg.Remotes, tier.Remote{Name: fmt.Sprint("redis", i), Store: s})
			}
			cache, err := tier.New(cfg)
			if err == nil {
				_ = cache.Close(context.Background())
			}
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %q", err, tc.says)
			}
		})
	}
}

// silent is a source that does not say its pace.
type silent struct{ backends.Invalidator }

// Two processes that cannot track: of one user who may do everything but CLIENT TRACKING, and behind a
// proxy that says OK to it and passes no push.
func TestWatch_ACacheThatCannotTrackIsCoherentByTheBus(t *testing.T) {
	srv := serverstest.Redis(t)
	serverstest.Real(t, srv)
	if err := sinktest.Connect(t, srv.Addr()).Do(t.Context(), "ACL", "SETUSER", "meagre", "on", ">secret",
		"~*", "&*", "+@all", "-client|tracking").Err(); err != nil {
		t.Fatal(err)
	}
	meagre := redis.Options(srv.Addr())
	meagre.Username, meagre.Password = "meagre", "secret"
	for _, tc := range []struct {
		name   string
		way    *goredis.Options
		reason string
	}{
		{"no right", meagre, "CLIENT TRACKING: NOPERM"},
		{"no pushes", redis.Options(sinktest.LatePushes(t, srv.Addr(), sinktest.Never)), tracking.ErrNoPush.Error()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := process(t, tc.way), process(t, tc.way)
			for _, c := range []*tier.Cache[string]{a, b} {
				within(t, "the link is up", func() bool { return c.Health().Link == "up" })
				if note := c.Health().LinkNote; !strings.Contains(note, "using bus") || !strings.Contains(note, tc.reason) {
					t.Errorf("Health says %q, want what is used, and what was refused", note)
				}
			}
			for _, v := range []string{"1", "2", "3"} {
				if err := a.Set(t.Context(), "k", v); err != nil {
					t.Fatal(err)
				}
				within(t, "the other process has "+v+" in its L1", func() bool {
					e, err := b.Lookup(t.Context(), "k")
					return err == nil && e.Value == v && e.Source == "L1"
				})
			}
		})
	}
}

// process is one process's cache.
func process(t *testing.T, way *goredis.Options) *tier.Cache[string] {
	t.Helper()
	o := *way
	client := sinktest.ConnectWith(t, &o)
	cache, err := tier.New(tier.Config[string]{
		Namespace: "user",
		Local:     tier.Local[string]{Invalidator: preferTracking(t, client), DeadAfter: 30 * time.Second, TTL: time.Hour},
		Remotes:   []tier.Remote{{Name: "redis", Store: must(redis.New(client, redis.Config{}))(t), Timeout: 10 * time.Second}},
		TTL:       time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.Close(context.Background()) })
	return cache
}

func preferTracking(t *testing.T, c *goredis.Client) *Source {
	t.Helper()
	const ping, dead = 100 * time.Millisecond, 30 * time.Second
	return must(New(Config{Sources: []backends.Invalidator{
		must(tracking.New(c, tracking.Config{Namespace: "user", Ping: ping, DeadAfter: 2 * time.Second}))(t), // waits half of it for a push
		must(bus.New(c, bus.Config{Namespace: "user", Ping: ping, DeadAfter: dead, Timeout: 10 * time.Second}))(t),
	}}))(t)
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// within is patient with a busy machine.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}
