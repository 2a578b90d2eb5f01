package bulk

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/internal/wire"
)

// frame returns a value as hearth keeps it.
func frame(payload string) string {
	return string([]byte{wire.Magic, byte(wire.Frame), wire.FormatVersion, 0, 0, 0, 0, 0, 0, 0, 0, 1}) + payload
}

// A foreign value that hearth keeps in a frame is no difference that anybody can mend; the other
// way round it is a foreign write to the target.
func TestVerify_TellsReframedValuesFromDifferences(t *testing.T) {
	from, to := startMemcached(t, 1), startRedis(t)
	for key, v := range map[string][2]string{
		"legacy": {"plain", frame("plain")}, "foreign": {frame("x"), "plain"}, "both": {frame("x"), frame("y")}, "plain": {"a", "b"}, "same": {"a", "a"},
	} {
		from.set(key, v[0], 0, 0)
		to.set(key, v[1], 0, 0)
	}
	a, b := openBoth(t, from.url(), to.url(), Options{})
	f, err := Verify(t.Context(), Check{From: a, To: b})
	if err != nil || f.Compared != 5 || f.Equal != 1 || f.Reframed != 1 || f.Diffs[Value] != 3 || f.Different() != 3 {
		t.Errorf("%+v, %v", f, err)
	}
	f, err = Verify(t.Context(), Check{From: a, To: b, Strict: true})
	if err != nil || f.Reframed != 0 || f.Different() != 4 {
		t.Errorf("strict: %+v, %v", f, err)
	}
}

// What a client wrote to the target alone is not in the list of the source.
func TestVerify_BothWaysFindsWhatOnlyTheTargetHas(t *testing.T) {
	for _, way := range [][2]func(testing.TB) server{
		{func(t testing.TB) server { return startRedis(t) }, func(t testing.TB) server { return startMemcached(t, 2) }},
		{func(t testing.TB) server { return startMemcached(t, 2) }, func(t testing.TB) server { return startCluster(t) }},
	} {
		from, to := way[0](t), way[1](t)
		a, b := openBoth(t, from.url(), to.url(), Options{})
		f := Filter{Prefix: "app:user:", StripPrefix: "app:", AddPrefix: "new/"}
		put := func(e *Endpoint, left time.Duration, keys ...string) {
			s := e.session()
			defer s.close()
			for _, k := range keys {
				r := &Record{Key: k, Value: []byte("v"), Deadline: time.Now().Add(left)}
				if err := s.write(t.Context(), []*Record{r}, true); err != nil || r.Fate != Copied {
					t.Fatal(k, err, r.Fate)
				}
			}
		}
		put(a, time.Hour, "app:user:1", "app:user:2", "app:order:1", "other")
		put(b, time.Hour, "new/user:1", "new/user:2", "new/user:alone", "new/order:alone", "alone")
		put(b, 1500*time.Millisecond, "new/user:ending")
		found, err := Verify(t.Context(), Check{From: a, To: b, Filter: f, BothWays: true, Tolerance: 5 * time.Second})
		if err != nil || found.Compared != 2 || found.Equal != 2 || found.Different() != 1 || found.Diffs[Extra] != 1 {
			t.Fatalf("%+v, %v", found, err)
		}
		if e := found.Samples[0]; e.Key != "app:user:alone" || e.What != "only_in_target" || e.Old != "expired" || e.New != "1 bytes" {
			t.Errorf("told of %+v", e)
		}
		if found, err := Verify(t.Context(), Check{From: a, To: b, Filter: f}); err != nil || found.Different() != 0 || found.Back != 0 {
			t.Errorf("one way: %+v, %v", found, err)
		}
	}
}

// Keys that memcached holds under their hash are compared with what they stand for, on either side.
func TestVerify_LooksUnderHashes(t *testing.T) {
	m, m2, r := startMemcached(t, 1), startMemcached(t, 1), startRedis(t)
	d, err := memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: m.addrs[0]}}, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	for _, k := range []string{"with blank", strings.Repeat("long", 100), "plain"} {
		if err := d.Set(t.Context(), k, backends.Item{Value: []byte("value of " + k), TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	for _, to := range []server{m2, r} {
		a, b := openBoth(t, m.url(), to.url(), Options{})
		mustCopy(t, Job{From: a, To: b})
		f, err := Verify(t.Context(), Check{From: a, To: b, BothWays: true})
		if err != nil || f.Equal != 3 || f.Back != 3 || f.Different() != 0 {
			t.Errorf("%+v, %v", f, err)
		}
	}
	r.set("alone and blank", "v", 0, 0)
	a, b := openBoth(t, m.url(), r.url(), Options{})
	if f, err := Verify(t.Context(), Check{From: a, To: b, BothWays: true}); err != nil || f.Diffs[Extra] != 1 || f.Different() != 1 {
		t.Errorf("a key that memcached would hold under its hash: %+v, %v", f, err)
	}
}

// A server that is away for a moment does not end a comparison, and no key counts twice.
func TestVerify_OutlivesASilentServer(t *testing.T) {
	const n = 5000
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
		one, freeze, thaw := start()
		other := startRedis(t)
		fill(t, one, n)
		fill(t, other, n)
		for _, way := range [][2]string{{one.url(), other.url()}, {other.url(), one.url()}} {
			a, b := openBoth(t, way[0], way[1], Options{Timeout: 200 * time.Millisecond})
			if err := freeze(); err != nil {
				t.Fatal(err)
			}
			var heard atomic.Bool
			f, err := Verify(t.Context(), Check{From: a, To: b, Tolerance: time.Minute, Trouble: func(string) {
				if heard.CompareAndSwap(false, true) {
					if err := thaw(); err != nil {
						t.Error(err)
					}
				}
			}})
			if err != nil || !heard.Load() || f.Compared != n || f.Equal != n {
				t.Errorf("%s: heard of the trouble: %t, %+v, %v", name, heard.Load(), f, err)
			}
		}
	}
}

func TestVerify_GivesUpOnADeadServer(t *testing.T) {
	srv := serverstest.Redis(t)
	from, to := startMemcached(t, 1), redisAt(t, srv.Addr())
	from.set("k", "v", 0, 0)
	a, b := openBoth(t, from.url(), to.url(), Options{Timeout: 200 * time.Millisecond})
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	f, err := Verify(t.Context(), Check{From: a, To: b, Patience: 300 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "given up after 300ms") || f.Compared != 0 {
		t.Errorf("%+v, %v", f, err)
	}
}

// memcached pads a counter that lost digits; Redis takes no number with blanks.
func TestCopy_DecrementedCountersCanBeCountedOn(t *testing.T) {
	from, to, again := startMemcached(t, 1), startRedis(t), startMemcached(t, 1)
	from.set("n", "100", 0, 0)
	if got := from.ask("decr n 95\r\n"); got != "5" {
		t.Fatal(got)
	}
	from.set("text", "5 apples ", 0, 0)
	from.set("blank", "  ", 0, 0)
	if v, _, _ := from.get("n"); v != "5  " {
		t.Fatalf("memcached keeps %q", v)
	}
	for _, mode := range []Mode{Overwrite, Fenced} {
		a, b := openBoth(t, from.url(), to.url(), Options{})
		mustCopy(t, Job{From: a, To: b, Mode: mode})
		if n, err := to.c.Incr(t.Context(), "n").Result(); err != nil || n != 6 {
			t.Errorf("mode %v: counted on to %d, %v", mode, n, err)
		}
		to.set("n", "5", 0, 0)
		f, err := Verify(t.Context(), Check{From: a, To: b})
		back, err2 := Verify(t.Context(), Check{From: b, To: a})
		if err != nil || err2 != nil || f.Equal != 3 || back.Equal != 3 {
			t.Errorf("mode %v: %+v, %+v, %v, %v", mode, f, back, err, err2)
		}
		for _, k := range []string{"text", "blank"} {
			want, _, _ := from.get(k)
			if v, _, _ := to.get(k); v != want {
				t.Errorf("%s is %q, want %q", k, v, want)
			}
		}
		to.del("n")
	}
	a, b := openBoth(t, from.url(), again.url(), Options{})
	mustCopy(t, Job{From: a, To: b})
	if v, _, _ := again.get("n"); v != "5  " {
		t.Errorf("memcached to memcached: %q", v)
	}
}

// The sample is one of the keys that are wanted, however many others are on the server.
func TestVerify_DrawsItsSampleFromTheKeysThatAreWanted(t *testing.T) {
	for name, start := range map[string]func() server{
		"redis":     func() server { return startRedis(t) },
		"memcached": func() server { return startMemcached(t, 1) },
	} {
		from, to := start(), startRedis(t)
		fill(t, from, 5000)
		for i := range 60 {
			from.set(fmt.Sprint("p:", i), "v", 0, 0)
			to.set(fmt.Sprint("p:", i), "v", 0, 0)
		}
		a, b := openBoth(t, from.url(), to.url(), Options{})
		for sample, want := range map[int64]int64{50: 50, 60: 60, 1000: 60, 0: 60} {
			f, err := Verify(t.Context(), Check{From: a, To: b, Filter: Filter{Prefix: "p:"}, Sample: sample})
			if err != nil || f.Compared != want || f.Equal != want {
				t.Errorf("%s: %d of 60 wanted: %+v, %v", name, sample, f, err)
			}
		}
		f, err := Verify(t.Context(), Check{From: a, To: b, Sample: 700, Seed: 1})
		if err != nil || f.Compared != 700 {
			t.Errorf("%s: of all: %+v, %v", name, f, err)
		}
	}
}

func TestLot_DrawsAKeyOnceHoweverOftenItIsListed(t *testing.T) {
	drawn := func(most int, keys ...string) (all []string) {
		l := lot{most: most}
		for _, k := range keys {
			l.add(batch{keys: []string{k, k}})
		}
		for _, b := range l.batches() {
			all = append(all, b.keys...)
		}
		slices.Sort(all)
		return all
	}
	once, again := drawn(3, "a", "b", "c", "d", "e"), drawn(3, "e", "a", "d", "b", "a", "c", "e")
	if len(once) != 3 || !slices.Equal(once, again) {
		t.Errorf("drew %q and %q", once, again)
	}
	if got := drawn(9, "b", "a", "b"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("drew %q", got)
	}
}
