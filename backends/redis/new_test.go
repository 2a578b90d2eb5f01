package redis

import (
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func TestNew_RefusesWhatCannotWork(t *testing.T) {
	ring := goredis.NewRing(&goredis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	t.Cleanup(func() { _ = ring.Close() })
	ok := goredis.NewClient(Options("127.0.0.1:1"))
	t.Cleanup(func() { _ = ok.Close() })
	for _, c := range []struct {
		name, want string
		client     goredis.UniversalClient
		cfg        Config
	}{
		{"nil", "nil client", nil, Config{}},
		{"a typed nil", "nil client", (*goredis.Client)(nil), Config{}},
		{"a nil cluster client", "nil client", (*goredis.ClusterClient)(nil), Config{}},
		{"a ring", "Ring", ring, Config{}},
		{"a mode that is none", "LeaseKey", ok, Config{LeaseKey: 7}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := New(c.client, c.cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) || s != nil {
				t.Fatalf("got %v, want an error about %q", err, c.want)
			}
		})
	}
}

func TestOptions_NeedNoWarning(t *testing.T) {
	node := goredis.NewClient(Options("127.0.0.1:1"))
	cluster := goredis.NewClusterClient(ClusterOptions("127.0.0.1:1"))
	failover := goredis.NewFailoverClient(FailoverOptions("m", "127.0.0.1:1"))
	for name, c := range map[string]goredis.UniversalClient{"one server": node, "cluster": cluster, "sentinel": failover} {
		t.Cleanup(func() { _ = c.Close() })
		if w := Warnings(c); len(w) != 0 {
			t.Errorf("%s: %q", name, w)
		}
	}
}

func TestWarnings_NameEverySettingThatHurts(t *testing.T) {
	node := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1"})
	endless := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1", ReadTimeout: -1, WriteTimeout: -2})
	cluster := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, MaxRetries: 3, RouteRandomly: true})
	for _, c := range []struct {
		name   string
		client goredis.UniversalClient
		want   []string
	}{
		{"the defaults of one server", node, []string{"ContextTimeoutEnabled", "MaxRetries is 3", "DialerRetries is 5", "DialTimeout is 5s", "ReadTimeout is 5s", "WriteTimeout is 5s", "PoolTimeout is 6s"}},
		{"no timeouts", endless, []string{"ContextTimeoutEnabled", "MaxRetries is 3", "DialerRetries is 5", "DialTimeout is 5s", "ReadTimeout is off", "WriteTimeout is off", "PoolTimeout is 30s"}},
		{"a cluster", cluster, []string{"ContextTimeoutEnabled", "MaxRetries is 3", "DialerRetries is 5", "DialTimeout is 5s", "ReadTimeout is 5s", "WriteTimeout is 5s", "PoolTimeout is 6s", "replicas"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() { _ = c.client.Close() })
			got := newStore(t, c.client, Config{}).Warnings()
			if len(got) != len(c.want) {
				t.Fatalf("got %d warnings, want %d: %q", len(got), len(c.want), got)
			}
			for i, w := range c.want {
				if !strings.Contains(got[i], w) {
					t.Errorf("warning %d is %q, want it to say %q", i, got[i], w)
				}
			}
		})
	}
}

func TestOpen_KeepsWhatTheURLSaysAndSetsTheRest(t *testing.T) {
	for _, c := range []struct {
		name, url string
		check     func(goredis.UniversalClient) bool
	}{
		{"one server", "redis://u:p@127.0.0.1:1/3?read_timeout=90ms", func(c goredis.UniversalClient) bool {
			o := c.(*goredis.Client).Options()
			return o.DB == 3 && o.ReadTimeout == 90*time.Millisecond && o.WriteTimeout == timeout && o.Username == "u"
		}},
		{"cluster", "redis://127.0.0.1:1?addr=127.0.0.1:2", func(c goredis.UniversalClient) bool {
			return len(c.(*goredis.ClusterClient).Options().Addrs) == 2
		}},
		{"sentinel", "redis://127.0.0.1:1?master_name=main", func(c goredis.UniversalClient) bool {
			_, ok := c.(*goredis.Client)
			return ok
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := Open(c.url)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = client.Close() })
			if !c.check(client) {
				t.Error("the URL's settings were not kept")
			}
			if w := Warnings(client); len(w) != 0 {
				t.Errorf("warnings: %q", w)
			}
		})
	}
	for _, bad := range []string{"http://x", "redis://h?no_such=1", "redis://u:secret@[h", "redis://h?addr=a&nope=1", "secret", "secret:secret@h:1"} {
		_, err := Open(bad)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v, want an error without the password", bad, err)
		}
	}
}

func TestOpen_SaysWhatAURLLooksLike(t *testing.T) {
	const form = "redis://user:password@host:port/db"
	for _, c := range []struct{ name, url, says string }{
		{"host and port", "localhost:6379", `"localhost:6379" is no URL, redis://localhost:6379/0 is one`},
		{"address and port", "127.0.0.1:6379", "redis://127.0.0.1:6379/0 is one"},
		{"IPv6", "[::1]:6379", "redis://[::1]:6379/0 is one"},
		{"a host", "localhost", "does not begin with redis://"},
		{"another server", "memcached://localhost:11211", "does not begin with redis://"},
		{"a variable that is not set", "", "the URL is empty"},
		{"unreadable", "redis://[h", "cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := OpenStore(c.url, Config{})
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), form) {
				t.Errorf("got %v, want it to say %q and %q", err, c.says, form)
			}
		})
	}
}

func TestOpenStore_OwnsItsClientAndNewDoesNot(t *testing.T) {
	srv := serverstest.Redis(t)
	own, err := OpenStore("redis://"+srv.Addr(), Config{LeaseKey: Separate})
	if err != nil {
		t.Fatal(err)
	}
	if !own.separate {
		t.Error("the Config was not used")
	}
	given := goredis.NewClient(Options(srv.Addr()))
	t.Cleanup(func() { given.Close() })
	lent := newStore(t, given, Config{})
	if err := lent.Close(); err != nil {
		t.Fatal(err)
	}
	if err := lent.Ping(t.Context()); err != nil {
		t.Errorf("the client that was given is closed: %v", err)
	}
	if err := own.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := own.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := own.Ping(t.Context()); err == nil {
		t.Error("the client that OpenStore made goes on after Close")
	}
	if _, err := OpenStore("redis://"+srv.Addr(), Config{LeaseKey: 9}); err == nil || !strings.Contains(err.Error(), "LeaseKey") {
		t.Errorf("got %v", err)
	}
}

func TestStore_RefusesBeforeItSends(t *testing.T) {
	s := open(t, "127.0.0.1:1", Config{})
	ctx := t.Context()
	wantErr(t, s.Set(ctx, "", text("v")), backends.ErrEmptyKey, "empty key")
	wantErr(t, s.Set(ctx, "k", backends.Item{TTL: -1}), backends.ErrInvalidTTL, "TTL of -1 ns, which go-redis takes for KEEPTTL")
	wantErr(t, s.Set(ctx, "k", backends.Item{TTL: backends.TTLUnknown}), backends.ErrInvalidTTL, "unknown TTL")
	wantErr(t, s.Set(ctx, "k", backends.Item{Value: make([]byte, maxValueBytes+1)}), backends.ErrTooLarge, "513 MiB")
	wantErr(t, s.CompareAndSwap(ctx, "k", backends.Token{}, text("v")), backends.ErrBadToken, "zero token")
	wantErr(t, s.CompareAndSwap(ctx, "k", backends.IDToken(7), text("v")), backends.ErrBadToken, "another store's token")
	wantErr(t, s.CompareAndDelete(ctx, "k", backends.ValueToken("v").At(1)), backends.ErrBadToken, "a composite's token")
	_, _, err := s.Acquire(ctx, "k", 0)
	wantErr(t, err, backends.ErrInvalidTTL, "a lease for no time")
}
