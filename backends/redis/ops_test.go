package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func TestTTL_RoundsUpAndNeverOverflows(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	for _, c := range []struct {
		name     string
		ttl      time.Duration
		min, max time.Duration
	}{
		{"none", 0, 0, 0},
		{"a nanosecond still expires", 1, 0, time.Millisecond},
		{"a fraction is not cut", time.Hour + 1, time.Hour - time.Minute, time.Hour + time.Millisecond},
		{"the longest there is", math.MaxInt64, maxTTL - time.Hour, maxTTL},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, write := range []func() error{
				func() error { return s.Set(t.Context(), "k", backends.Item{TTL: c.ttl}) },
				func() error {
					return errors.Join(s.SetMany(t.Context(), []backends.KeyItem{{Key: "k", Item: backends.Item{TTL: c.ttl}}})...)
				},
				func() error { return s.SetNewer(t.Context(), "k", backends.Item{TTL: c.ttl}) },
				func() error { return s.Touch(t.Context(), "k", c.ttl) },
			} {
				do(t, s, "set", "k", "") // an empty value is a value
				do(t, s, "del", "k")
				if err := write(); err != nil {
					do(t, s, "set", "k", "")
					if err := write(); err != nil { // touch
						t.Fatal(err)
					}
				}
				it, err := s.GetTTL(t.Context(), "k")
				if errors.Is(err, backends.ErrMiss) && c.ttl == 1 {
					continue // gone already
				}
				if err != nil || it.TTL < c.min || it.TTL > c.max {
					t.Fatalf("TTL %v, %v; want %v to %v", it.TTL, err, c.min, c.max)
				}
			}
		})
	}
}

func TestGetTTL_KeyThatExpiresInBetweenIsAMiss(t *testing.T) {
	hit := backends.Result{Item: backends.Item{Value: []byte("v")}}
	wantErr(t, lived(hit, -2).Err, backends.ErrMiss, "PTTL -2")
	if r := lived(hit, 0); r.Err != nil || r.Item.TTL != time.Millisecond {
		t.Errorf("PTTL 0: got %v; less than a millisecond left is not 'no expiry'", r.Item.TTL)
	}
	if r := lived(hit, -1); r.Err != nil || r.Item.TTL != 0 {
		t.Errorf("PTTL -1: got %v, want no expiry", r.Item.TTL)
	}
}

func TestIncrement_IsExactOnAll64Bits(t *testing.T) {
	t.Parallel()
	for name, addr := range map[string]string{"real": server(t), "stand-in": mini(t).Addr()} {
		s := open(t, addr, Config{})
		for _, c := range []struct{ start, delta, want int64 }{
			{1 << 53, 1, 1<<53 + 1}, // a Lua number cannot tell these two apart
			{math.MaxInt64 - 1, 1, math.MaxInt64},
			{math.MinInt64 + 1, -1, math.MinInt64},
		} {
			key := fmt.Sprint(c.start)
			if n, err := s.Increment(t.Context(), key, 7, c.start, 0); n != c.start || err != nil {
				t.Fatalf("%s: start: %d, %v", name, n, err)
			}
			if n, err := s.Increment(t.Context(), key, c.delta, 0, 0); n != c.want || err != nil {
				t.Errorf("%s: %d%+d: got %d, %v", name, c.start, c.delta, n, err)
			}
		}
		_, err := s.Increment(t.Context(), fmt.Sprint(math.MaxInt64-1), 1, 0, 0)
		wantErr(t, err, backends.ErrNotNumber, name+": overflow")
	}
}

func TestCompareAndSwap_DoesNotSendABigOldValueAgain(t *testing.T) {
	t.Parallel()
	addr := server(t)
	for _, m := range modes {
		s, p := tapOn(t, addr, m.cfg, -1)
		do(t, s, "flushall")
		old := strings.Repeat("o", 1<<20)
		set(t, s, "k", old)
		tok := get(t, s, "k").Token
		before := p.written.Load()
		wantErr(t, s.CompareAndSwap(t.Context(), "k", tok, text("new")), nil, "swap")
		if n := p.written.Load() - before; n > 10<<10 {
			t.Errorf("%d bytes were sent to replace 1 MiB by 3 bytes", n)
		}
		holds(t, s, "k", "new")
		wantErr(t, s.CompareAndSwap(t.Context(), "k", tok, text("newer")), backends.ErrConflict, "swap with the old token")
		wantErr(t, s.CompareAndDelete(t.Context(), "k", tok), backends.ErrConflict, "delete with the old token")
		set(t, s, "k", old[1:]+"x")
		wantErr(t, s.CompareAndSwap(t.Context(), "k", tok, text("newer")), backends.ErrConflict, "one byte differs")
		set(t, s, "k", old)
		wantErr(t, s.CompareAndDelete(t.Context(), "k", tok), nil, "delete")
		wantErr(t, s.CompareAndDelete(t.Context(), "k", tok), backends.ErrMiss, "delete what is gone")
	}
}

func TestRoundTrips_EachOperationIsOne(t *testing.T) {
	t.Parallel()
	addr := server(t)
	many := make([]string, chunkKeys)
	entries := make([]backends.KeyItem, chunkKeys)
	for i := range many {
		many[i] = fmt.Sprint("many", i)
		entries[i] = backends.KeyItem{Key: many[i], Item: text("v")}
	}
	for _, m := range modes {
		s, p := tapOn(t, addr, m.cfg, -1)
		s.ifEqual.Store(refused)
		ctx, tok := t.Context(), backends.ValueToken("v")
		var l backends.Lease
		var ls []backends.LeaseResult
		ops := []struct {
			name string
			want int64
			run  func()
		}{
			{"Get", 1, func() { _, _ = s.Get(ctx, "k") }},
			{"GetTTL", 1, func() { _, _ = s.GetTTL(ctx, "k") }},
			{"Set", 1, func() { _ = s.Set(ctx, "k", text("v")) }},
			{"Add", 1, func() { _ = s.Add(ctx, "k", text("v")) }},
			{"CompareAndSwap", 1, func() { _ = s.CompareAndSwap(ctx, "k", tok, text("v")) }},
			{"SetNewer", 1, func() { _ = s.SetNewer(ctx, "k", text("v")) }},
			{"Increment", 1, func() { _, _ = s.Increment(ctx, "n", 1, 1, 0) }},
			{"Touch", 1, func() { _ = s.Touch(ctx, "k", time.Hour) }},
			{"AcquireRefresh", 1, func() { l, _ = s.AcquireRefresh(ctx, "k", tok, time.Minute) }},
			{"Fill of a refresh", 1, func() { _ = l.Fill(ctx, text("v")) }},
			{"CompareAndDelete", 1, func() { _ = s.CompareAndDelete(ctx, "k", tok) }},
			{"Delete", 1, func() { _ = s.Delete(ctx, "k") }},
			{"Acquire", 1, func() { l, _, _ = s.Acquire(ctx, "k", time.Minute) }},
			{"Fill", 1, func() { _ = l.Fill(ctx, text("v")) }},
			{"Seize", 1, func() { l, _ = s.Seize(ctx, "k", time.Minute) }},
			{"Release", 1, func() { _ = l.Release(ctx) }},
			{"Release again", 0, func() { _ = l.Release(ctx) }},
			{"DeleteHold", 1, func() { _ = s.DeleteHold(ctx, "k", time.Minute, 3) }},
			{"Ping", 1, func() { _ = s.Ping(ctx) }},
			{"GetMany of none", 0, func() { _ = s.GetMany(ctx, nil) }},
			{"DeleteMany", 1, func() { _ = s.DeleteMany(ctx, many) }},
			{"AcquireMany", 1, func() { ls = s.AcquireMany(ctx, many[:50], time.Minute) }},
			{"FillMany", 1, func() { _ = s.FillMany(ctx, leasesOf(ls), itemsOf(entries[:50])) }},
			{"SetMany", 1, func() { _ = s.SetMany(ctx, entries[:100]) }},
			{"ReleaseMany of spent leases", 0, func() { _ = s.ReleaseMany(ctx, leasesOf(ls)) }},
			{"GetMany", 1, func() { _ = s.GetMany(ctx, many[:100]) }},
		}
		for _, op := range ops { // connections and scripts
			op.run()
		}
		wantErr(t, s.Delete(ctx, "k"), nil, "delete")
		wantErr(t, errors.Join(s.DeleteMany(ctx, many)...), nil, "delete many")
		for _, op := range ops {
			if n := p.trips(op.run); n != op.want {
				t.Errorf("%s: %s took %d round trips, want %d", m.name, op.name, n, op.want)
			}
		}
	}
}

func leasesOf(rs []backends.LeaseResult) (ls []backends.Lease) {
	for _, r := range rs {
		ls = append(ls, r.Lease)
	}
	return ls
}

func itemsOf(es []backends.KeyItem) (items []backends.Item) {
	for _, e := range es {
		items = append(items, e.Item)
	}
	return items
}

func TestBatches_OfMoreKeysThanOneCommandTakes(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]goredis.UniversalClient{
		"one server": open(t, server(t), Config{}).client, "cluster": openCluster(t, cluster(t), Config{}).client,
	} {
		for _, m := range modes {
			t.Run(name+"/"+m.name, func(t *testing.T) {
				s := newStore(t, client, m.cfg)
				n := 2*chunkKeys + 7
				entries := make([]backends.KeyItem, n)
				keys := make([]string, n)
				for i := range n {
					keys[i] = fmt.Sprintf("%s{%d", m.name, i) // a brace that is no tag
					entries[i] = backends.KeyItem{Key: keys[i], Item: text(strings.Repeat("x", i))}
				}
				entries[3].Key, keys[3] = "", ""
				errs := s.SetMany(t.Context(), entries)
				wantErr(t, errs[3], backends.ErrEmptyKey, "set of the empty key")
				errs[3] = nil
				wantErr(t, errors.Join(errs...), nil, "set many")
				for i, r := range s.GetMany(t.Context(), keys) {
					if i == 3 {
						wantErr(t, r.Err, backends.ErrEmptyKey, "get of the empty key")
					} else if r.Err != nil || len(r.Item.Value) != i {
						t.Fatalf("key %d: %d bytes, %v", i, len(r.Item.Value), r.Err)
					}
				}
				errs = s.DeleteMany(t.Context(), keys)
				wantErr(t, errs[3], backends.ErrEmptyKey, "delete of the empty key")
				for i, r := range s.GetTTLMany(t.Context(), keys) {
					if i != 3 {
						wantErr(t, r.Err, backends.ErrMiss, "get after the delete")
					}
				}
			})
		}
	}
}

func TestBatches_WhatWasNotSentIsNotUnknown(t *testing.T) {
	t.Parallel()
	s, p := tapOn(t, server(t), Config{}, -1)
	keys := make([]string, 2*chunkKeys)
	for i := range keys {
		keys[i] = fmt.Sprint(i)
	}
	got := s.AcquireMany(t.Context(), keys, time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	p.swallow(true)
	errs := s.FillMany(ctx, leasesOf(got), make([]backends.Item, len(keys)))
	wantErr(t, errs[0], backends.ErrUnknown, "fill in the first pipeline")
	last := errs[len(errs)-1]
	wantErr(t, last, context.DeadlineExceeded, "fill in the second pipeline")
	if errors.Is(last, backends.ErrUnknown) {
		t.Fatalf("what was never sent is unknown: %v", last)
	}
}

func TestCluster_ClientThatSplitsCommandsItselfWorksToo(t *testing.T) {
	t.Parallel()
	c := goredis.NewClusterClient(cluster(t))
	t.Cleanup(func() { _ = c.Close() })
	c.SetCommandInfoResolver(c.NewDynamicResolver())
	for _, m := range modes {
		s := newStore(t, c, m.cfg)
		keys := []string{"split:a", "split:b", "split:c", "split:d"}
		for _, k := range keys {
			set(t, s, k, "v")
		}
		wantErr(t, errors.Join(s.DeleteMany(t.Context(), keys)...), nil, "delete many")
		for _, r := range s.GetMany(t.Context(), keys) {
			wantErr(t, r.Err, backends.ErrMiss, "get after the delete")
		}
	}
}

func TestCluster_SideKeyOfAnotherSlotWouldBeRefused(t *testing.T) {
	t.Parallel()
	s := openCluster(t, cluster(t), Config{LeaseKey: Separate})
	for _, key := range []string{"plain", "a{b}c", "a}b", "{}x", "}{"} {
		wantErr(t, s.Set(t.Context(), key, text("v")), nil, "set of "+key)
		wantErr(t, s.Delete(t.Context(), key), nil, "delete of "+key)
	}
	if !isReal(t, shared.nodes) {
		return
	}
	err := s.run(t.Context(), scriptSet, []string{"plain", "plain~hearth"}, "v", 0).Err()
	if err == nil || !strings.Contains(err.Error(), "same slot") && !strings.Contains(err.Error(), "CROSSSLOT") {
		t.Fatalf("got %v; a side key in another slot is no longer seen", err)
	}
	for _, r := range s.GetMany(t.Context(), []string{"a", "b", "c"}) {
		wantErr(t, r.Err, backends.ErrMiss, "get many across slots")
	}
}

func TestScan_ListsStringsWithoutSideKeysAndResumes(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]goredis.UniversalClient{
		"one server": open(t, server(t), Config{}).client, "cluster": openCluster(t, cluster(t), Config{}).client,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, client, Config{})
			want := map[string]bool{}
			var entries []backends.KeyItem
			for i := range 5000 {
				k := fmt.Sprint("scan:", i)
				want[k] = true
				entries = append(entries, backends.KeyItem{Key: k, Item: text("v")})
			}
			wantErr(t, errors.Join(s.SetMany(t.Context(), entries)...), nil, "set many")
			_, err := s.AcquireRefresh(t.Context(), "scan:1", backends.ValueToken("v"), time.Minute)
			wantErr(t, err, nil, "refresh")
			do(t, s, "rpush", "scan:list", "x")

			got := map[string]bool{}
			cursor, rounds := "", 0
			enough := errors.New("enough for now")
			for {
				err := s.Scan(t.Context(), cursor, func(keys []string, next string) error {
					for _, k := range keys {
						if strings.HasPrefix(k, "scan:") || isSideKey(k) { // the cluster has other guests
							got[k] = true
						}
					}
					cursor = next
					if next == "" {
						return nil
					}
					return enough // after every batch, so that every cursor is resumed from
				})
				rounds++
				if err == nil {
					break
				}
				wantErr(t, err, enough, "scan")
			}
			if !maps.Equal(got, want) {
				t.Fatalf("%d keys in %d rounds, want %d", len(got), rounds, len(want))
			}
			if cursor != "" || (rounds < 3 && shared.nodes.Kind() == servers.Real) {
				t.Fatalf("ended at %q after %d rounds", cursor, rounds)
			}
			for _, bad := range []string{"7", "#", "127.0.0.1:1#7", "x#y"} {
				if err := s.Scan(t.Context(), bad, nil); err == nil {
					t.Errorf("cursor %q was taken", bad)
				}
			}
		})
	}
}

func TestScan_NeedsAClientItKnows(t *testing.T) {
	t.Parallel()
	type wrapped struct{ *goredis.Client }
	s := newStore(t, wrapped{open(t, mini(t).Addr(), Config{}).client.(*goredis.Client)}, Config{})
	wantErr(t, s.Scan(t.Context(), "", nil), backends.ErrUnsupported, "scan")
	set(t, s, "k", "v")
	if r := s.GetMany(t.Context(), []string{"k"}); string(r[0].Item.Value) != "v" {
		t.Fatalf("get many: %v", r)
	}
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "wrapped") {
		t.Fatalf("warnings: %q", w)
	}
}

func TestPing_ReportsEveryMasterThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	nodes := serverstest.RedisCluster(t, 3)
	if !isReal(t, nodes) {
		return
	}
	s := openCluster(t, patientCluster(nodes.Addrs()), Config{})
	wantErr(t, s.Ping(t.Context()), nil, "ping")
	dead := nodes.Nodes()[1]
	if err := dead.Kill(); err != nil {
		t.Fatal(err)
	}
	err := s.Ping(t.Context())
	if err == nil || !strings.Contains(err.Error(), dead.Addr()) {
		t.Fatalf("got %v, want the address of the dead master", err)
	}
	t.Run("and a batch fails for its keys only", func(t *testing.T) {
		keys := make([]string, 60)
		for i := range keys {
			keys[i] = fmt.Sprint(i)
		}
		failed := 0
		for _, r := range s.GetMany(t.Context(), keys) {
			if !errors.Is(r.Err, backends.ErrMiss) {
				failed++
			}
		}
		if failed == 0 || failed == len(keys) {
			t.Fatalf("%d of %d keys failed", failed, len(keys))
		}
	})
}

func TestGet_CostsNoAllocationMoreThanTheClient(t *testing.T) {
	s := open(t, mini(t).Addr(), Config{})
	set(t, s, "k", strings.Repeat("v", 100))
	ctx := t.Context()
	bare := testing.AllocsPerRun(200, func() { _, _ = s.client.Get(ctx, "k").Result() })
	ours := testing.AllocsPerRun(200, func() { _, _ = s.Get(ctx, "k") })
	if ours > bare+0.5 { // the stand-in allocates in the same process, not always alike
		t.Errorf("a Get allocates %v times, the client's own %v", ours, bare)
	}
}

func TestItem_TokenSharesTheValuesMemory(t *testing.T) {
	it, err := item("value")
	if err != nil {
		t.Fatal(err)
	}
	v, _ := it.Token.Value()
	if &bytesOf(v)[0] != &it.Value[0] {
		t.Error("the value is in memory twice")
	}
	if it, _ := item(""); it.Value == nil || !bytes.Equal(it.Value, nil) {
		t.Error("an empty value is nil")
	}
	if !slices.Equal(it.Value, []byte("value")) {
		t.Errorf("got %q", it.Value)
	}
}
