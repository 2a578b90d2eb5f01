package tier

import (
	"context"
	"fmt"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/faultproxy"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// A wired is a store on a real server, with a proxy between them.
type wired struct {
	backends.Store
	kind  string // "redis" or "memcached"
	srv   *servers.Server
	proxy *faultproxy.Proxy
}

// throughProxy starts a server of this kind and a store that talks to it through a proxy.
func throughProxy(t testing.TB, kind string, args ...string) *wired {
	t.Helper()
	w := &wired{kind: kind}
	if kind == "redis" {
		w.srv = serverstest.Redis(t, args...)
	} else {
		w.srv = serverstest.Memcached(t, args...)
	}
	var err error
	if w.proxy, err = faultproxy.New(w.srv.Addr()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.proxy.Close() })
	w.Store = dial(t, kind, w.proxy.Addr())
	return w
}

// patience is the timeout of clients and tiers where a test is about what they say and not when: a
// starved machine makes nobody wait for so long.
const patience = 10 * time.Second

// patiently is throughProxy with a client that has patience.
func patiently(t testing.TB, kind string) *wired {
	t.Helper()
	w := throughProxy(t, kind)
	w.Store = dialWith(t, kind, w.proxy.Addr(), patience)
	return w
}

// dial opens a store on the server at addr, with the timeouts of its client's defaults.
func dial(t testing.TB, kind, addr string) backends.Store {
	t.Helper()
	return dialWith(t, kind, addr, 0)
}

// dialWith is dial with another timeout; 0 = the client's default.
func dialWith(t testing.TB, kind, addr string, timeout time.Duration) backends.Store {
	t.Helper()
	if kind == "memcached" {
		s, err := memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: addr}}, Timeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	o := redis.Options(addr)
	if timeout > 0 {
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = timeout, timeout, timeout, timeout
	}
	client := goredis.NewClient(o)
	t.Cleanup(func() { _ = client.Close() })
	s, err := redis.New(client, redis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Caps implements [backends.Composite]: those of the store.
func (w *wired) Caps() backends.Caps { return backends.CapsOf(w.Store) }

// beside is how many round trips a lease costs besides the one that acquires it: memcached tells
// the cas id in an answer of its own, which is read beside the load.
func (w *wired) beside() int64 {
	if w.kind == "memcached" {
		return 1
	}
	return 0
}

// writes is how many round trips n writes take that are made together: memcached's text protocol
// has no command for that, so they are made side by side, a round trip each.
func (w *wired) writes(n int64) int64 {
	if w.kind == "memcached" {
		return n
	}
	return 1
}

// within reports whether got keeps the budget; nothing at all would mean that nothing was counted.
func within(got, budget int64) bool { return got <= budget && (got > 0) == (budget > 0) }

var bothKinds = []string{"redis", "memcached"}

func TestRoundTrips_OneRemoteTierKeepsTheBudget(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			w := patiently(t, kind)
			src := newSource()
			keys := func(prefix string) (out []string) {
				for i := range 10 {
					out = append(out, fmt.Sprintf("%s%d", prefix, i))
					src.set(out[i], "v")
				}
				return out
			}
			keys("k")
			warm, far, first, cold := keys("warm"), keys("far"), keys("first"), keys("cold")
			cfg := over(src, w)
			cfg.Remotes[0].Timeout = patience
			cfg.Loader = &manySource{source: src}
			c, other := open(t, cfg), open(t, cfg)
			for _, k := range append(warm, far...) { // makes the connections too
				if _, err := other.Get(ctx, k); err != nil {
					t.Fatal(err)
				}
			}
			// A script that the server has not seen yet takes one more.
			if _, err := other.GetMany(ctx, first); err != nil {
				t.Fatal(err)
			}
			for _, step := range []struct {
				name string
				want int64
				do   func() error
			}{
				{"hit at the remote tier", 1, func() error { _, err := c.Get(ctx, warm[0]); return err }},
				{"hit in L1", 0, func() error { _, err := c.Get(ctx, warm[0]); return err }},
				{"miss: read, lease, fill", 3 + w.beside(), func() error { _, err := c.Get(ctx, "k0"); return err }},
				{"what was filled is in L1", 0, func() error { _, err := c.Get(ctx, "k0"); return err }},
				{"many hits at the remote tier", 1, func() error { _, err := c.GetMany(ctx, far); return err }},
				{"many hits in L1", 0, func() error { _, err := c.GetMany(ctx, far); return err }},
				{"many misses: read, leases, fills", 1 + 2*w.writes(10) + w.beside(), func() error { _, err := c.GetMany(ctx, cold); return err }},
				{"set", 1, func() error { return c.Set(ctx, "k1", "w") }},
				{"what was set is in L1", 0, func() error { _, err := c.Get(ctx, "k1"); return err }},
				{"set many", w.writes(2), func() error { return c.SetMany(ctx, map[string]string{"k2": "w", "k3": "w"}) }},
				{"delete", 1, func() error { return c.Delete(ctx, "k1") }},
				{"invalidate many", w.writes(10), func() error { return c.Invalidate(ctx, far...) }},
				{"lookup of what is in no tier", 1, func() error {
					if _, err := c.Lookup(ctx, "k1"); err != ErrMiss {
						return fmt.Errorf("got %v, want a miss", err)
					}
					return nil
				}},
			} {
				before := w.proxy.RoundTrips()
				if err := step.do(); err != nil {
					t.Fatalf("%s: %v", step.name, err)
				}
				quiet(t, c)
				if got := w.proxy.RoundTrips() - before; !within(got, step.want) {
					t.Errorf("%s: %d round trips, the budget is %d", step.name, got, step.want)
				}
			}
		})
	}
}

func TestRoundTrips_TwoRemoteTiersKeepTheBudget(t *testing.T) {
	t.Parallel()
	for i, kind := range bothKinds {
		t.Run(kind+" nearer", func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			near, far := patiently(t, kind), patiently(t, bothKinds[1-i])
			src := newSource("a", "v", "b", "v", "c", "v", "d", "v", "e", "v", "f", "v")
			cold := make([]string, 10) // with two that do not exist
			for i := range cold {
				cold[i] = fmt.Sprint("cold", i)
				if i < 8 {
					src.set(cold[i], "v")
				}
			}
			cfg := over(src, near, far)
			cfg.Remotes[0].Timeout, cfg.Remotes[1].Timeout = patience, patience
			cfg.Loader = &manySource{source: src}
			c, other := open(t, cfg), open(t, cfg)
			for _, k := range []string{"a", "b", "c", "d"} {
				if _, err := other.Get(ctx, k); err != nil {
					t.Fatal(err)
				}
			}
			evict := func(keys ...string) {
				for _, k := range keys {
					if err := near.Delete(ctx, "t:"+k); err != nil {
						t.Fatal(err)
					}
				}
			}
			evict("b", "c", "d")
			// A script that the server has not seen yet takes one more.
			if _, err := other.GetMany(ctx, []string{"g", "h", "e0"}); err != nil {
				t.Fatal(err)
			}
			for _, step := range []struct {
				name      string
				near, far int64
				do        func() error
			}{
				{"hit at the nearer tier", 1, 0, func() error { _, err := c.Get(ctx, "a"); return err }},
				{"hit at the farther tier, and copied behind it under a lease", 3 + near.beside(), 2, func() error { _, err := c.Get(ctx, "b"); return err }},
				{"hit in L1", 0, 0, func() error { _, err := c.Get(ctx, "b"); return err }},
				{"miss: read, lease and fill in both", 3 + near.beside(), 3 + far.beside(), func() error { _, err := c.Get(ctx, "e"); return err }},
				{"many misses: read, leases, fills, and the leases of what does not exist back", 1 + near.writes(10) + near.beside() + near.writes(8) + near.writes(2), 1 + far.writes(10) + far.beside() + far.writes(8) + far.writes(2), func() error {
					m, err := c.GetMany(ctx, cold)
					if err == nil && len(m) != 8 {
						err = fmt.Errorf("got %d values, want 8", len(m))
					}
					return err
				}},
				{"many hits in L1", 0, 0, func() error { _, err := c.GetMany(ctx, cold[:8]); return err }},
				{"delete", 1, 1, func() error { return c.Delete(ctx, "a") }},
				{"set, and copied behind it", 3 + near.beside(), 2, func() error { return c.Set(ctx, "f", "w") }},
				{"invalidate many", near.writes(3), far.writes(3), func() error { return c.Invalidate(ctx, "a", "b", "e") }},
			} {
				n, f := near.proxy.RoundTrips(), far.proxy.RoundTrips()
				if err := step.do(); err != nil {
					t.Fatalf("%s: %v", step.name, err)
				}
				quiet(t, c)
				if n, f = near.proxy.RoundTrips()-n, far.proxy.RoundTrips()-f; !within(n, step.near) || !within(f, step.far) {
					t.Errorf("%s: %d round trips nearer and %d farther, the budget is %d and %d", step.name, n, f, step.near, step.far)
				}
			}
		})
	}
}
