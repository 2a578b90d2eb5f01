package memcached

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/memcachedtest"
)

// aba: A leases and begins to load v1; the key is invalidated; B leases and loads v2; both fill,
// in either order. It returns what the cache then says.
func aba(t *testing.T, s *Store, aFirst bool) string {
	ctx := t.Context()
	const key = "k"
	ok(t, s.Delete(ctx, key))
	a, _, err := s.Acquire(ctx, key, time.Minute)
	ok(t, err)
	ok(t, s.Delete(ctx, key))
	b, _, err := s.Acquire(ctx, key, time.Minute)
	ok(t, err)
	if aFirst {
		a.Fill(ctx, text("v1"))
	}
	b.Fill(ctx, text("v2"))
	if !aFirst {
		a.Fill(ctx, text("v1"))
	}
	it, err := s.Get(ctx, key)
	ok(t, err)
	return string(it.Value)
}

func TestLease_AnOldLoadNeverFillsOverANewLease(t *testing.T) {
	for _, k := range []LeaseKey{InData, Separate} {
		s := one(t, Config{LeaseKey: k})
		for _, aFirst := range []bool{true, false} {
			if got := aba(t, s, aFirst); got != "v2" {
				t.Errorf("lease key %d: the cache holds %q, the source v2", k, got)
			}
		}
	}
	s := one(t, Config{})
	s.lateCAS = true
	if got := aba(t, s, false); got != "v1" {
		t.Errorf("with the cas id read when filling the cache holds %q: this test sees nothing", got)
	}
}

// The cas id may be read late, as long as the token is seen with it.
func TestLease_AFailedReadOfTheCasIDIsMadeUpFor(t *testing.T) {
	s, ctx := one(t, Config{}), t.Context()
	for _, lost := range []bool{false, true} {
		key := fmt.Sprint("k", lost)
		l, _, err := s.Acquire(ctx, key, time.Minute)
		ok(t, err)
		c := l.(*lease).claim
		<-c.ready
		failed := newClaim(c.srv, c.key, c.want)
		failed.learn(reply{}, errors.New("the network"))
		l.(*lease).claim = failed
		if lost {
			ok(t, s.Set(ctx, key, text("new")))
			is(t, l.Fill(ctx, text("old")), backends.ErrLeaseLost)
			holds(t, s, key, "new")
			continue
		}
		ok(t, l.Fill(ctx, text("filled")))
		holds(t, s, key, "filled")
	}
}

// Every interleaving of one fill and one delete with the lease beside the data: whatever the
// order on the server, nothing stale is left, and for how long it is seen is bounded.
func TestSeparate_ADeleteWithinAFillLeavesNothingBehind(t *testing.T) {
	const steps = 5 // round trips of a fill
	for at := range steps + 1 {
		var count atomic.Int64
		var hook atomic.Pointer[func()]
		srv := memcachedtest.New(memcachedtest.Config{Before: func(line []byte) {
			if h := hook.Load(); h != nil && count.Add(1) == int64(at+1) {
				hook.Store(nil)
				(*h)()
			}
		}})
		ok(t, srv.Listen("127.0.0.1:0"))
		conf := Config{Servers: fleet(srv.Addr()), LeaseKey: Separate}
		filler, deleter := open(t, conf), open(t, conf)
		l, _, err := filler.Acquire(t.Context(), "k", time.Minute)
		ok(t, err)
		del := func() {
			if err := deleter.Delete(context.Background(), "k"); err != nil {
				t.Error(err)
			}
		}
		hook.Store(&del)
		err = l.Fill(t.Context(), text("stale"))
		if at == steps { // after the fill
			hook.Store(nil)
			ok(t, err)
			del()
		} else if !errors.Is(err, backends.ErrLeaseLost) {
			t.Errorf("delete before step %d: fill: %v", at, err)
		}
		if it, err := deleter.Get(t.Context(), "k"); !errors.Is(err, backends.ErrMiss) {
			t.Errorf("delete before step %d: the cache holds %q (%v)", at, it.Value, err)
		}
		srv.Close()
	}
}

func TestSeparate_OthersNeverSeeAPlaceholder(t *testing.T) {
	s, ctx := one(t, Config{LeaseKey: Separate}), t.Context()
	c := foreign(s, "k")
	defer c.Close()
	nothing := func(what string) {
		t.Helper()
		if it, err := c.Get("k"); err == nil {
			t.Errorf("%s: another client sees %q", what, it.Value)
		}
	}
	l, _, err := s.Acquire(ctx, "k", time.Minute)
	ok(t, err)
	nothing("leased")
	_, err = s.Get(ctx, "k")
	is(t, err, backends.ErrLeased)
	ok(t, l.Release(ctx))
	_, err = s.Seize(ctx, "k", time.Minute)
	ok(t, err)
	nothing("seized")
	ok(t, s.DeleteHold(ctx, "k", time.Minute, 3))
	nothing("held off")
	_, err = s.Get(ctx, "k")
	is(t, err, backends.ErrHeldOff)
	ok(t, s.Set(ctx, "k", text("v")))
	holds(t, s, "k", "v")
}

func TestFlags_AllBitsAreTheUsers(t *testing.T) {
	for _, conf := range []Config{{}, {LeaseKey: Separate}} {
		s, ctx := one(t, conf), t.Context()
		for _, key := range []string{"k", "hashed key", strings.Repeat("k", 300)} {
			for _, flags := range []uint32{1, 1 << 31, 0xffffffff} {
				it := backends.Item{Value: []byte("v"), Flags: flags, TTL: time.Hour}
				l, _, err := s.Acquire(ctx, key, time.Minute)
				ok(t, err)
				ok(t, l.Fill(ctx, it))
				ok(t, s.Touch(ctx, key, time.Hour))
				got, err := s.GetTTL(ctx, key)
				if ok(t, err); got.Flags != flags || string(got.Value) != "v" || got.TTL != time.Hour {
					t.Errorf("key %.10q: got %+v", key, got)
				}
				ok(t, s.Delete(ctx, key))
			}
		}
	}
}

func TestTouch_NeverProlongsALeaseOrATombstone(t *testing.T) {
	life := func(s *Store) (time.Duration, bool) {
		raw := make([]reply, 1)
		_, err := s.servers[0].meta.getTTL(t.Context(), []string{"k"}, raw)
		ok(t, err)
		return raw[0].ttl, raw[0].found
	}
	s, ctx := one(t, Config{}), t.Context()
	_, _, err := s.Acquire(ctx, "k", time.Minute)
	ok(t, err)
	is(t, s.Touch(ctx, "k", 0), backends.ErrMiss)
	if ttl, found := life(s); !found || ttl == 0 || ttl > time.Minute {
		t.Errorf("the lease now lives for %v", ttl)
	}
	// Nor one that comes between the look and the touch.
	for _, ttl := range []time.Duration{0, time.Hour} {
		ok(t, s.Set(ctx, "k", text("v")))
		s.beforeTouch = func() { s.Seize(ctx, "k", 10*time.Second) }
		is(t, s.Touch(ctx, "k", ttl), backends.ErrMiss)
		if _, found := life(s); found {
			t.Error("a lease that was prolonged is still there")
		}
		ok(t, s.Set(ctx, "k", text("v")))
		s.beforeTouch = func() { s.DeleteHold(ctx, "k", 10*time.Second, 5) }
		is(t, s.Touch(ctx, "k", ttl), backends.ErrMiss)
		if ttl, found := life(s); !found || ttl == 0 || ttl > overlong {
			t.Errorf("the tombstone now lives for %v", ttl)
		}
		is(t, s.Set(ctx, "k", text("v")), nil)
	}
}
