package memcached

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func TestMeta_AGarbledSizeCostsOnlyWhatComes(t *testing.T) {
	for _, size := range []string{"999999999", "1073741824", "18446744073709551615"} {
		s := open(t, Config{
			Servers: fleet(scripted(t, "VA "+size+" kk f0 c1 t-1\r\nabc\r\n")), Transport: Meta, Timeout: 50 * time.Millisecond,
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := s.Get(t.Context(), "k")
		runtime.ReadMemStats(&after)
		if err == nil || backends.IsAnswer(err) {
			t.Errorf("size %s: %v", size, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
			t.Errorf("size %s made us allocate %d bytes", size, n)
		}
	}
}

func TestMeta_AReplyForAnotherKeyIsNoValue(t *testing.T) {
	s := open(t, Config{Servers: fleet(scripted(t, "VA 1 kother f0 c1 t-1\r\na\r\n")), Transport: Meta})
	if it, err := s.Get(t.Context(), "k"); err == nil || backends.IsAnswer(err) {
		t.Errorf("got %q, %v", it.Value, err)
	}
}

func TestMeta_TheLifetimeComesWithTheValue(t *testing.T) {
	s := one(t, Config{Transport: Meta})
	ok(t, s.Set(t.Context(), "k", backends.Item{Value: []byte("v"), TTL: time.Minute, Flags: 7}))
	ok(t, s.Set(t.Context(), "forever", text("v")))
	it, err := s.Get(t.Context(), "k")
	if ok(t, err); it.TTL <= 50*time.Second || it.TTL > time.Minute || it.Flags != 7 {
		t.Errorf("got %+v", it)
	}
	for _, r := range s.GetTTLMany(t.Context(), []string{"forever"}) {
		if ok(t, r.Err); r.Item.TTL != 0 {
			t.Errorf("no expiry is told as %v", r.Item.TTL)
		}
	}
	for _, r := range s.GetMany(t.Context(), []string{"forever", "k"}) {
		if ok(t, r.Err); r.Item.TTL != backends.TTLUnknown {
			t.Errorf("GetMany has %v, not asked for lifetimes", r.Item.TTL)
		}
	}
}

func TestMeta_BatchesAreOneTrip(t *testing.T) {
	s, p := proxied(t, Config{Transport: Meta})
	ok(t, s.Ping(t.Context()))
	var keys []string
	var entries []backends.KeyItem
	for i := range 300 {
		keys = append(keys, fmt.Sprint("k", i))
		entries = append(entries, backends.KeyItem{Key: keys[i], Item: text(fmt.Sprint("v", i))})
	}
	for _, c := range []struct {
		what string
		do   func() []error
	}{
		{"setmany", func() []error { return s.SetMany(t.Context(), entries) }},
		{"getmany", func() (errs []error) {
			for i, r := range s.GetMany(t.Context(), keys) {
				if errs = append(errs, r.Err); string(r.Item.Value) != fmt.Sprint("v", i) {
					t.Errorf("%s: %q", keys[i], r.Item.Value)
				}
			}
			return errs
		}},
		{"deletemany", func() []error { return s.DeleteMany(t.Context(), append(keys, "never there")) }},
	} {
		before := p.RoundTrips()
		if err := errors.Join(c.do()...); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		if n := p.RoundTrips() - before; n != 1 {
			t.Errorf("%s: %d round trips, want 1", c.what, n)
		}
	}
	_, err := s.Get(t.Context(), keys[0])
	is(t, err, backends.ErrMiss)
}

// The server's limit is smaller than ours, and it does not say which entry was too large: the
// others are stored, and told apart.
func TestMeta_OneEntryRefusedIsNotAllRefused(t *testing.T) {
	srv := serverstest.Memcached(t, "-I", "512k")
	serverstest.Real(t, srv) // the stand-in has no such limit
	s := open(t, Config{Servers: fleet(srv.Addr()), Transport: Meta})
	errs := s.SetMany(t.Context(), []backends.KeyItem{
		{Key: "a", Item: text("a")}, {Key: "big", Item: text(strings.Repeat("x", 200_000))},
		{Key: "huge", Item: text(strings.Repeat("x", 700_000))}, {Key: "b", Item: text("b")},
	})
	if len(errs) != 4 || errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], backends.ErrTooLarge) || errs[3] != nil {
		t.Errorf("got %v", errs)
	}
	holds(t, s, "a", "a")
	holds(t, s, "b", "b")
	small := open(t, Config{Servers: fleet(serverstest.Memcached(t, "-I", "200k", "-o", "slab_chunk_max=64").Addr()), Transport: Meta})
	errs = small.SetMany(t.Context(), []backends.KeyItem{
		{Key: "a", Item: text("a")}, {Key: "huge", Item: text(strings.Repeat("x", 220_000))}, {Key: "b", Item: text("b")},
	})
	if len(errs) != 3 || errs[0] != nil || !errors.Is(errs[1], backends.ErrTooLarge) || errs[2] != nil {
		t.Errorf("in one trip: got %v", errs)
	}
}

func TestMeta_AGetAllocatesItsValueOnly(t *testing.T) {
	srv := serverstest.Memcached(t)
	serverstest.Real(t, srv) // what a stand-in allocates would count
	s := open(t, Config{Servers: fleet(srv.Addr()), Transport: Meta})
	ok(t, s.Set(t.Context(), "k", text("v")))
	ctx := t.Context()
	if n := testing.AllocsPerRun(200, func() { s.Get(ctx, "k") }); n > 4 {
		t.Errorf("%v allocations", n)
	}
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
		ok(t, s.Set(ctx, keys[i], text("a value of a hundred bytes or so"+strings.Repeat(".", 70))))
	}
	if n := testing.AllocsPerRun(50, func() { s.GetMany(ctx, keys) }); n > 40 {
		t.Errorf("%v allocations for 100 keys", n)
	}
}
