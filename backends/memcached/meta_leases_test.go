package memcached

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// leased acquires keys that are free, and waits for their cas ids.
func leased(t *testing.T, s *Store, keys ...string) []backends.Lease {
	t.Helper()
	leases := make([]backends.Lease, len(keys))
	for i, r := range s.AcquireMany(t.Context(), keys, time.Minute) {
		ok(t, r.Err)
		if leases[i] = r.Lease; r.Lease == nil {
			t.Fatalf("%s: no lease", keys[i])
		}
		<-r.Lease.(*lease).claim.ready
	}
	return leases
}

func numbered(prefix string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprint(prefix, i)
	}
	return keys
}

func TestMeta_BatchesOfLeasesAreOneTrip(t *testing.T) {
	s, p := proxied(t, Config{Transport: Meta})
	ok(t, s.Ping(t.Context()))
	trips := func(what string, want int64, do func()) {
		t.Helper()
		before := p.RoundTrips()
		do()
		if n := p.RoundTrips() - before; n != want {
			t.Errorf("%s: %d round trips, want %d", what, n, want)
		}
	}
	keys := numbered("a key of ", 100) // hashed
	var leases []backends.Lease
	trips("acquire, and gets beside the load", 2, func() { leases = leased(t, s, keys...) })
	items := make([]backends.Item, len(keys))
	for i := range items {
		items[i] = backends.Item{Value: []byte(keys[i]), Flags: uint32(i), TTL: time.Hour}
	}
	trips("fill", 1, func() { ok(t, errors.Join(s.FillMany(t.Context(), leases, items)...)) })
	for i, r := range s.GetMany(t.Context(), keys) {
		if ok(t, r.Err); string(r.Item.Value) != keys[i] || r.Item.Flags != uint32(i) {
			t.Errorf("%s: got %+v", keys[i], r.Item)
		}
	}
	is(t, leases[0].Fill(t.Context(), text("again")), backends.ErrLeaseLost)

	held := leased(t, s, numbered("held", 20)...)
	trips("acquire of what is there, what is leased and what is free", 2, func() {
		all := append(append(numbered("a key of ", 10), numbered("held", 10)...), numbered("free", 10)...)
		for i, r := range s.AcquireMany(t.Context(), append(all, "free0"), time.Minute) {
			switch {
			case i < 10 && (r.Err != nil || r.Lease != nil || string(r.Item.Value) != all[i]),
				i >= 10 && i < 20 && !errors.Is(r.Err, backends.ErrLeased),
				i >= 20 && i < 30 && (r.Err != nil || r.Lease == nil),
				i == 30 && !errors.Is(r.Err, backends.ErrLeased):
				t.Errorf("%d: got %+v", i, r)
			}
		}
	})
	trips("release", 1, func() { ok(t, errors.Join(s.ReleaseMany(t.Context(), held)...)) })
	leased(t, s, numbered("held", 20)...)
}

// Each lease of a batch ends as it would by itself.
func TestMeta_ABatchOfFillsTellsApartWhatBecameOfEach(t *testing.T) {
	s, ctx := one(t, Config{Transport: Meta}), t.Context()
	keys := []string{"stands", "deleted", "written", "spent", "large"}
	leases := leased(t, s, keys...)
	ok(t, s.Set(ctx, "value", text("v")))
	it, err := s.Get(ctx, "value")
	ok(t, err)
	refresh, err := s.AcquireRefresh(ctx, "value", it.Token, time.Minute)
	ok(t, err)
	ok(t, s.Delete(ctx, "deleted"))
	ok(t, s.Set(ctx, "written", text("newer")))
	ok(t, leases[3].Fill(ctx, text("first")))
	failed := leases[0].(*lease)
	failed.claim = newClaim(failed.claim.srv, failed.claim.key, failed.claim.want)
	failed.claim.learn(reply{}, errors.New("the network")) // its cas id has to be read anew

	twice := s.AcquireMany(ctx, []string{"twice"}, time.Minute)[0].Lease // its cas id may still be under way
	all := append(leases, refresh, twice, twice)
	items := make([]backends.Item, len(all))
	for i := range items {
		items[i] = text("filled")
	}
	items[4] = backends.Item{Value: make([]byte, s.limit+1)}
	lost := backends.ErrLeaseLost
	errs := s.FillMany(ctx, append(all, nil), append(items, text("")))
	for i, want := range []error{nil, lost, lost, lost, backends.ErrTooLarge, nil, nil, lost, backends.ErrBadToken} {
		is(t, errs[i], want)
	}
	for key, want := range map[string]string{"stands": "filled", "written": "newer", "spent": "first", "value": "filled", "twice": "filled"} {
		holds(t, s, key, want)
	}
	ok(t, errors.Join(s.ReleaseMany(ctx, all)...)) // that what is over is given back is no failure
	holds(t, s, "stands", "filled")
	leased(t, s, "large")
}

// A complaint among quiet commands names no key. Those it is not about must not suffer.
func TestMeta_AComplaintAboutOneLeaseIsNotAboutTheOthers(t *testing.T) {
	srv := serverstest.Memcached(t, "-I", "128k", "-o", "slab_chunk_max=65536")
	serverstest.Real(t, srv) // the stand-in has no such limit
	s, ctx := open(t, Config{Servers: fleet(srv.Addr()), Transport: Meta}), t.Context()
	keys := []string{"a", "huge", "b", "deleted"}
	leases := leased(t, s, keys...)
	ok(t, s.Delete(ctx, "deleted"))
	huge := text(strings.Repeat("x", 220_000))
	errs := s.FillMany(ctx, leases, []backends.Item{text("a"), huge, text("b"), text("d")})
	for i, want := range []error{nil, backends.ErrTooLarge, nil, backends.ErrLeaseLost} {
		is(t, errs[i], want)
	}
	holds(t, s, "a", "a")
	holds(t, s, "b", "b")
}

// complaining does not carry out the first change of a batch, and says of none which it was.
type complaining struct{ metaTransport }

func (c complaining) storeMany(ctx context.Context, v verb, keys []string, rs []record, exps []int32, errs []error) error {
	err := c.metaTransport.storeMany(ctx, v, keys[1:], rs[1:], exps[1:], errs[1:])
	for i, e := range errs {
		if e == nil {
			errs[i] = backends.ErrUnknown
		}
	}
	return err
}

func TestMeta_AComplaintAboutOneAcquisitionLeasesTheOthers(t *testing.T) {
	s, ctx := one(t, Config{Transport: Meta}), t.Context()
	held := leased(t, s, "held")[0]
	s.servers[0].transport = complaining{s.servers[0].transport.(metaTransport)}
	rs := s.AcquireMany(ctx, []string{"refused", "held", "a", "b"}, time.Minute)
	is(t, rs[1].Err, backends.ErrLeased)
	for i, key := range []string{"refused", "held", "a", "b"} {
		l := rs[i].Lease
		if i == 1 {
			l = held
		}
		if l == nil {
			t.Fatalf("%s: %v", key, rs[i].Err)
		}
		ok(t, l.Fill(ctx, text(key)))
		holds(t, s, key, key)
	}
}
