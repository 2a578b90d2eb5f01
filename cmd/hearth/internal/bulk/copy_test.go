package bulk

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/internal/wire"
)

func TestCopy_KeepsValuesFlagsAndLifetimes(t *testing.T) {
	kinds := map[string]func(testing.TB) server{
		"redis":     func(t testing.TB) server { return startRedis(t) },
		"cluster":   func(t testing.TB) server { return startCluster(t) },
		"memcached": func(t testing.TB) server { return startMemcached(t, 1) },
	}
	values := map[string]string{
		"plain": "hello", "empty": "", "lines": "a\r\nEND\r\nVA 3\r\n\x00\xff", "large": strings.Repeat("0123456789\n", 40_000),
		"utf-ключ": "ключ", "colon:%41": "x", "number": "17",
	}
	for _, way := range [][2]string{
		{"memcached", "redis"}, {"redis", "memcached"}, {"memcached", "memcached"}, {"redis", "redis"}, {"redis", "cluster"}, {"cluster", "memcached"},
	} {
		for _, mode := range []Mode{Add, Overwrite, Fenced} {
			t.Run(fmt.Sprint(way, mode), func(t *testing.T) {
				from, to := kinds[way[0]](t), kinds[way[1]](t)
				for k, v := range values {
					from.set(k, v, 7, 100*time.Second)
					from.set("stays:"+k, v, 1<<31, 0)
				}
				a, b := openBoth(t, from.url(), to.url(), Options{})
				r := mustCopy(t, Job{From: a, To: b, Mode: mode})
				if n := int64(2 * len(values)); r.Fates[Copied] != n || r.Listed != n || r.NoExpiry != n/2 {
					t.Errorf("copied %d of %d, %d without an end; want %d (%v)", r.Fates[Copied], r.Listed, r.NoExpiry, n, r.Skipped())
				}
				if lost := from.keepsFlags() && !to.keepsFlags(); lost != (r.FlagsLost > 0) {
					t.Errorf("flags lost: %d", r.FlagsLost)
				}
				for k, v := range values {
					got, flags, ttl := to.get(k)
					if got != v || ttl < 98*time.Second || ttl > 101*time.Second {
						t.Errorf("%q: %d bytes, %v left; want %d bytes", k, len(got), ttl, len(v))
					}
					if from.keepsFlags() && to.keepsFlags() && flags != 7 {
						t.Errorf("%q has flags %d", k, flags)
					}
					if got, _, ttl := to.get("stays:" + k); got != v || ttl != 0 {
						t.Errorf("%q: %d bytes, %v left", "stays:"+k, len(got), ttl)
					}
				}
				f, err := Verify(t.Context(), Check{From: a, To: b})
				if err != nil || f.Different() != 0 || f.Equal != int64(2*len(values)) {
					t.Errorf("verify: %+v, %v", f, err)
				}
			})
		}
	}
}

func TestCopy_LeavesWhatTheTargetHasUnlessTold(t *testing.T) {
	from, to := startMemcached(t, 1), startRedis(t)
	from.set("k", "old", 0, 0)
	to.set("k", "newer", 0, 0)
	a, b := openBoth(t, from.url(), to.url(), Options{})
	for _, mode := range []Mode{Add, Fenced} {
		r := mustCopy(t, Job{From: a, To: b, Mode: mode})
		if v, _, _ := to.get("k"); v != "newer" || r.Fates[Exists] != 1 || r.Fates[Copied] != 0 {
			t.Errorf("mode %v: %q, %v", mode, v, r.Fates)
		}
	}
	mustCopy(t, Job{From: a, To: b, Mode: Overwrite})
	if v, _, _ := to.get("k"); v != "old" {
		t.Errorf("not overwritten: %q", v)
	}
}

func TestCopy_DryRunChangesNothing(t *testing.T) {
	for _, to := range []server{startRedis(t), startMemcached(t, 1)} {
		from := startRedis(t)
		from.set("a", "1", 0, 0)
		from.set("b", "2", 0, 0)
		to.set("b", "3", 0, 0)
		a, b := openBoth(t, from.url(), to.url(), Options{})
		file := filepath.Join(t.TempDir(), "state")
		for _, mode := range []Mode{Add, Fenced} {
			r := mustCopy(t, Job{From: a, To: b, DryRun: true, Mode: mode, StateFile: file})
			if r.Fates[Copied] != 1 || r.Fates[Exists] != 1 {
				t.Errorf("counted %v", r.Fates)
			}
		}
		if _, _, ttl := to.get("a"); ttl >= 0 {
			t.Error("a dry run wrote a key")
		}
		if found, _ := filepath.Glob(file + "*"); found != nil {
			t.Errorf("a dry run wrote %v", found)
		}
	}
}

func TestCopy_SaysWhyKeysAreLeftAlone(t *testing.T) {
	from, to := startRedis(t), startMemcached(t, 1)
	ctx := t.Context()
	from.set("good", "1", 0, 0)
	from.set(strings.Repeat("x", 251), "1", 0, 0)
	from.set("with blank", "1", 0, 0)
	from.set("line\r\nset evil 0 0 1\r\nx", "1", 0, 0)
	from.set("", "1", 0, 0)
	from.set("large", strings.Repeat("x", 1<<20), 0, 0)
	from.set("leased", string(wire.NewLease()), 0, 0)
	from.set("held off", string(wire.NewTombstone(3)), 0, 0)
	from.set(redis.SideKey("good"), "1", 0, 0)
	from.c.LPush(ctx, "list", "1")
	from.c.HSet(ctx, "hash", "f", "1")
	to.set("large", "small", 0, 0)
	a, b := openBoth(t, from.url(), to.url(), Options{})
	r := mustCopy(t, Job{From: a, To: b})
	want := map[string]int64{"key_not_holdable": 4, "too_large": 1, "lease": 3, "not_a_string": 2}
	if got := r.Skipped(); fmt.Sprint(got) != fmt.Sprint(want) || r.Fates[Copied] != 1 || r.Fates[Failed] != 0 {
		t.Errorf("skipped %v, want %v; copied %d, failed %d", got, want, r.Fates[Copied], r.Fates[Failed])
	}
	if v, _, _ := to.get("large"); v != "small" {
		t.Error("a value that is too large took the old one away")
	}
	if _, _, ttl := to.get("evil"); ttl >= 0 {
		t.Error("a key was a command")
	}
}

// Keys that memcached cannot hold travel under the name that the service knows.
func TestCopy_KeysUnderAHashAreFoundByTheDriver(t *testing.T) {
	m, m2, r := startMemcached(t, 1), startMemcached(t, 1), startRedis(t)
	keys := []string{"with blank", strings.Repeat("long", 100), "plain"}
	driver := func(s *memcachedServer) *memcached.Store {
		d, err := memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: s.addrs[0]}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	d, d2 := driver(m), driver(m2)
	for _, k := range append(keys, strings.Repeat("x", 600)) {
		if err := d.Set(t.Context(), k, backends.Item{Value: []byte("value of " + k), TTL: time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range []Mode{Overwrite, Fenced} {
		a, b := openBoth(t, m.url(), r.url(), Options{})
		rep := mustCopy(t, Job{From: a, To: b, Mode: mode})
		if rep.Fates[Unnamed] != 1 || rep.Fates[Copied] != 3 {
			t.Errorf("fates %v, want one unnamed", rep.Fates)
		}
		for _, k := range keys {
			if v, _, _ := r.get(k); v != "value of "+k {
				t.Errorf("%q is %q in Redis", k, v)
			}
			r.del(k)
		}
	}
	for _, k := range keys {
		r.set(k, "back to "+k, 0, 0)
	}
	a, b := openBoth(t, r.url(), m2.url(), Options{HashKeys: true})
	mustCopy(t, Job{From: a, To: b})
	for _, k := range keys {
		if it, err := d2.Get(t.Context(), k); err != nil || string(it.Value) != "back to "+k {
			t.Errorf("%q is %q in memcached (%v)", k, it.Value, err)
		}
	}
}

// A store with a prefix keeps it in front of its hashes: keys that memcached cannot hold are found
// by such a store after a copy, and lead back to their names.
func TestCopy_KeysUnderAHashGoWithThePrefixOfTheirStore(t *testing.T) {
	m := startMemcached(t, 3)
	other, r := startMemcached(t, 1), startRedis(t)
	store := func(prefix string, addrs ...string) *memcached.Store {
		c := memcached.Config{Prefix: prefix, Timeout: 10 * time.Second}
		for _, a := range addrs {
			c.Servers = append(c.Servers, memcached.Server{Addr: a})
		}
		d, err := memcached.New(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	old, grown, last := store("", m.addrs[:2]...), store("v2:", m.addrs...), store("", other.addrs...)
	keys := []string{"with blank", strings.Repeat("long", 100), "plain", strings.Repeat("x", 249)}
	for _, k := range keys {
		if err := old.Set(t.Context(), k, backends.Item{Value: []byte("value of " + k), TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(from, to *Endpoint, f Filter, d *memcached.Store) {
		t.Helper()
		rep := mustCopy(t, Job{From: from, To: to, Filter: f, Mode: Fenced})
		found, err := Verify(t.Context(), Check{From: from, To: to, Filter: f, BothWays: true})
		if n := int64(len(keys)); rep.Fates[Copied] != n || err != nil || found.Equal != n || found.Back != n || found.Different() != 0 {
			t.Errorf("fates %v, %+v, %v", rep.Fates, found, err)
		}
		for _, k := range keys {
			if d == nil {
				if v, _, _ := r.get(k); v != "value of "+k {
					t.Errorf("%q is %q in Redis", k, v)
				}
				continue
			}
			if it, err := d.Get(t.Context(), k); err != nil || string(it.Value) != "value of "+k {
				t.Errorf("%q is %q (%v)", k, it.Value, err)
			}
		}
	}
	o := Options{HashKeys: true}
	small := "memcached://" + strings.Join(m.addrs[:2], ",")
	a, b := openBoth(t, small, m.url(), o)
	check(a, b, Filter{AddPrefix: "v2:"}, grown)
	a, b = openBoth(t, m.url(), other.url(), o)
	check(a, b, Filter{StripPrefix: "v2:"}, last)
	_, b = openBoth(t, m.url(), r.url(), o)
	check(a, b, Filter{StripPrefix: "v2:"}, nil)
}

func TestCopy_FleetChangesItsServers(t *testing.T) {
	small, big := startMemcached(t, 2), startMemcached(t, 3)
	store := func(s *memcachedServer, r memcached.Router) *memcached.Store {
		var list []memcached.Server
		for _, a := range s.addrs {
			list = append(list, memcached.Server{Addr: a})
		}
		d, err := memcached.New(memcached.Config{Servers: list, Router: r})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	from, to := store(small, memcached.Modulo), store(big, memcached.Ketama)
	const n = 300
	for i := range n {
		if err := from.Set(t.Context(), fmt.Sprint("key:", i), backends.Item{Value: fmt.Append(nil, i), TTL: time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	// A leftover on a server that is not the key's: nobody reads it, so nobody may get it.
	for i := range 20 {
		small.set(fmt.Sprint("left:", i), "stale", 0, 0)
	}
	a, b := openBoth(t, small.url()+"?router=modulo", big.url()+"?router=ketama", Options{})
	r := mustCopy(t, Job{From: a, To: b})
	if r.Fates[Misplaced] == 0 || r.Fates[Misplaced]+r.Fates[Copied] != n+20 {
		t.Errorf("fates %v", r.Fates)
	}
	for i := range n {
		if it, err := to.Get(t.Context(), fmt.Sprint("key:", i)); err != nil || string(it.Value) != fmt.Sprint(i) {
			t.Fatalf("key %d: %q, %v", i, it.Value, err)
		}
	}
}

func TestCopy_FiltersAndRenames(t *testing.T) {
	for _, from := range []server{startRedis(t), startMemcached(t, 1)} {
		to := startRedis(t)
		for _, k := range []string{"app:user:1", "app:user:2", "app:order:1", "other", "app:*"} {
			from.set(k, k, 0, 0)
		}
		a, b := openBoth(t, from.url(), to.url(), Options{})
		f := Filter{Prefix: "app:", Match: "*:[0-9]", StripPrefix: "app:", AddPrefix: "new/"}
		r := mustCopy(t, Job{From: a, To: b, Filter: f})
		if r.Fates[Copied] != 3 {
			t.Errorf("copied %d", r.Fates[Copied])
		}
		for _, k := range []string{"new/user:1", "new/user:2", "new/order:1"} {
			if _, _, ttl := to.get(k); ttl < 0 {
				t.Errorf("no %q", k)
			}
		}
		r = mustCopy(t, Job{From: a, To: b, Filter: Filter{Prefix: "app:*"}})
		if r.Fates[Copied] != 1 {
			t.Errorf("prefix with a star: copied %d", r.Fates[Copied])
		}
	}
}

func TestCopy_GoesOnWhereItStopped(t *testing.T) {
	const n = 20_000
	for _, from := range []server{startRedis(t), startMemcached(t, 1)} {
		to := startRedis(t)
		fill(t, from, n)
		a, b := openBoth(t, from.url(), to.url(), Options{})
		ctx, cancel := context.WithCancel(t.Context())
		j := Job{From: a, To: b, StateFile: filepath.Join(t.TempDir(), "state"), Rate: 40_000, Progress: func(p Progress) {
			if p.Done > n/4 {
				cancel()
			}
		}}
		r, err := Copy(ctx, j)
		if err == nil || r.Complete {
			t.Fatal("the copy was not stopped")
		}
		j.Rate, j.Progress = 0, nil
		again := mustCopy(t, j)
		if !again.Resumed || again.Runs != 2 || again.Listed < n {
			t.Errorf("resumed %t, runs %d, listed %d", again.Resumed, again.Runs, again.Listed)
		}
		if twice := again.Fates[Exists]; twice > 10_000 || again.Fates[Copied]+twice < n {
			t.Errorf("%d copied, %d seen twice", again.Fates[Copied], twice)
		}
		if got := b.estimate(t.Context()); got != n {
			t.Errorf("%d keys in the target", got)
		}
		third, err := Copy(t.Context(), j)
		if !errors.Is(err, ErrFinished) || !strings.Contains(err.Error(), "remove the file") || third.Listed != again.Listed {
			t.Errorf("a finished copy that is begun again says %v", err)
		}
		for what, other := range map[string]Job{
			"another mode":         {From: a, To: b, Mode: Overwrite},
			"another filter":       {From: a, To: b, Filter: Filter{Except: "x"}},
			"other keys held back": {From: a, To: &Endpoint{endpoint: b.endpoint, name: b.name, hashKeys: true}},
		} {
			other.StateFile = j.StateFile
			if _, err := Copy(t.Context(), other); err == nil || !strings.Contains(err.Error(), "another copy") {
				t.Errorf("%s: its state was accepted: %v", what, err)
			}
		}
	}
}

// Keys that the list alone settles count once, however often the copy was stopped.
func TestCopy_CountsFilteredKeysOnceOverAllRuns(t *testing.T) {
	const n = 20_000
	from, to := startMemcached(t, 1), startRedis(t)
	fill(t, from, n)
	a, b := openBoth(t, from.url(), to.url(), Options{})
	j := Job{From: a, To: b, Filter: Filter{Match: "*[02468]"}, StateFile: filepath.Join(t.TempDir(), "state"), Rate: 20_000}
	for stop := int64(2000); ; stop += 4000 {
		ctx, cancel := context.WithCancel(t.Context())
		j.Progress = func(p Progress) {
			if p.Done > stop {
				cancel()
			}
		}
		r, err := Copy(ctx, j)
		cancel()
		if err == nil {
			if r.Runs < 3 || r.Fates[Filtered] != n/2 || r.Listed != n/2+r.Fates[Copied]+r.Fates[Exists] {
				t.Errorf("%d runs, %d listed, fates %v", r.Runs, r.Listed, r.Fates)
			}
			return
		}
	}
}

// fill sets n short-lived keys by the copier's own session, quickly.
func fill(t testing.TB, s server, n int) {
	t.Helper()
	e, err := Open(s.url(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := e.session()
	defer w.close()
	for i := 0; i < n; i += 500 {
		var recs []*Record
		for k := i; k < min(i+500, n); k++ {
			recs = append(recs, &Record{Key: fmt.Sprint("key:", k), Value: fmt.Append(nil, "value ", k), Deadline: time.Now().Add(time.Hour)})
		}
		if err := w.write(t.Context(), recs, true); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCopy_ARestartedRedisIsListedAnew(t *testing.T) {
	srv := serverstest.Redis(t)
	serverstest.Real(t, srv)
	s := redisAt(t, srv.Addr())
	s.set("k", "v", 0, 0)
	a, _ := openBoth(t, s.url(), s.url(), Options{})
	e := a.endpoint.(*redisEnd)
	at := srv.Addr() + " " + runID(t.Context(), e.one) + " 77"
	all, _ := e.masters(t.Context())
	if _, pos, err := redisResume(t.Context(), all, at); err != nil || pos != 77 {
		t.Fatalf("position %d, %v", pos, err)
	}
	if _, pos, err := redisResume(t.Context(), all, srv.Addr()+" of-another-run 77"); err != nil || pos != 0 {
		t.Errorf("a position of another run was believed: %d, %v", pos, err)
	}
	if _, _, err := redisResume(t.Context(), all, "192.0.2.1:1 x 77"); err == nil {
		t.Error("a master that is gone was accepted")
	}
}

func TestCopy_OutlivesASilentServer(t *testing.T) {
	for name, start := range map[string]func() (server, func() error, func() error){
		"redis": func() (server, func() error, func() error) {
			s := serverstest.Redis(t)
			serverstest.Real(t, s)
			return redisAt(t, s.Addr()), s.Pause, s.Resume
		},
		"memcached": func() (server, func() error, func() error) {
			s := serverstest.Memcached(t)
			serverstest.Real(t, s)
			return memcachedAt(t, s.Addr()), s.Pause, s.Resume
		},
	} {
		to, freeze, thaw := start()
		from := startMemcached(t, 1)
		fill(t, from, 5000)
		a, b := openBoth(t, from.url(), to.url(), Options{Timeout: 200 * time.Millisecond})
		if err := freeze(); err != nil {
			t.Fatal(err)
		}
		heard := false
		r := mustCopy(t, Job{From: a, To: b, Progress: func(p Progress) {
			if p.Trouble != "" && !heard {
				heard = true
				if err := thaw(); err != nil {
					t.Error(err)
				}
			}
		}})
		if !heard || r.Fates[Copied]+r.Fates[Exists] != 5000 || b.estimate(t.Context()) != 5000 {
			t.Errorf("%s: heard of the trouble: %t, fates %v", name, heard, r.Fates)
		}
	}
}

func TestCopy_GivesUpOnADeadServer(t *testing.T) {
	srv := serverstest.Redis(t)
	from, to := startMemcached(t, 1), redisAt(t, srv.Addr())
	from.set("k", "v", 0, 0)
	a, b := openBoth(t, from.url(), to.url(), Options{Timeout: 200 * time.Millisecond})
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	r, err := Copy(t.Context(), Job{From: a, To: b, Patience: 300 * time.Millisecond, StateFile: filepath.Join(t.TempDir(), "s")})
	if err == nil || r.Complete || r.Fates[Copied] != 0 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestCopy_SaysAtOnceWhatWaitingDoesNotMend(t *testing.T) {
	from, to := startMemcached(t, 1), startRedis(t)
	from.set("k", "v", 0, 0)
	if got := from.ask("lru_crawler disable\r\n"); got != "OK" {
		t.Fatal(got)
	}
	a, b := openBoth(t, from.url(), to.url(), Options{})
	began := time.Now()
	_, err := Copy(t.Context(), Job{From: a, To: b})
	if err == nil || !strings.Contains(err.Error(), "lru_crawler enable") || time.Since(began) > 10*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}
