package backends_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
)

func TestChunks_KeepBothBoundsAndMissNothing(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name  string
		sizes []int
		want  []int // where the chunks end
		why   string
	}{
		{"none", nil, nil, "no request for nothing"},
		{"one", []int{1}, []int{1}, "the usual one"},
		{"500", make([]int, 500), []int{500}, "just one request"},
		{"501", make([]int, 501), []int{500, 501}, "the bound on keys"},
		{"1 MiB", []int{mib / 2, mib / 2, 1}, []int{2, 3}, "the bound on bytes"},
		{"large alone", []int{1, 3 * mib, 1}, []int{1, 2, 3}, "what is larger than a chunk is sent all the same"},
		{"large first", []int{3 * mib, 3 * mib}, []int{1, 2}, "no empty chunk before it"},
	} {
		var got []int
		from := 0
		for lo, hi := range backends.Chunks(len(c.sizes), func(i int) int { return c.sizes[i] }) {
			if lo != from || hi <= lo {
				t.Errorf("%s: chunk [%d, %d) after %d", c.name, lo, hi, from)
			}
			from = hi
			got = append(got, hi)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: chunks end at %v, want %v (%s)", c.name, got, c.want, c.why)
		}
	}
	for range backends.Chunks(2000, func(int) int { return 1 }) {
		break // a caller may stop
	}
}

// both runs f on a store that is a Batcher and on one that is not.
func both(t *testing.T, f func(t *testing.T, s backends.Store)) {
	t.Run("batcher", func(t *testing.T) { f(t, memory.New(memory.Config{})) })
	t.Run("loop", func(t *testing.T) { f(t, plain{memory.New(memory.Config{})}) })
}

func TestBatch_EveryKeyHasItsOutcome(t *testing.T) {
	both(t, func(t *testing.T, s backends.Store) {
		const n = 1203
		entries, keys := make([]backends.KeyItem, n), make([]string, n)
		for i := range n {
			keys[i] = fmt.Sprint("k", i)
			entries[i] = backends.KeyItem{Key: keys[i], Item: backends.Item{Value: []byte(keys[i])}}
		}
		entries[700].Item.TTL = -1
		errs := backends.SetMany(t.Context(), s, entries)
		if len(errs) != n || !errors.Is(errs[700], backends.ErrInvalidTTL) || errs[699] != nil || errs[701] != nil {
			t.Fatalf("setmany: %d outcomes", len(errs))
		}
		for i, r := range backends.GetMany(t.Context(), s, keys) {
			switch {
			case i == 700:
				if !errors.Is(r.Err, backends.ErrMiss) {
					t.Errorf("key 700: %v", r.Err)
				}
			case r.Err != nil || string(r.Item.Value) != keys[i]:
				t.Fatalf("key %d: %q, %v", i, r.Item.Value, r.Err)
			}
		}
		if errs := backends.DeleteMany(t.Context(), s, keys); errs != nil {
			t.Errorf("deletemany: %v, want nil when all are gone", errs)
		}
		for i, r := range backends.GetTTLMany(t.Context(), s, keys) {
			if !errors.Is(r.Err, backends.ErrMiss) {
				t.Fatalf("key %d after delete: %v", i, r.Err)
			}
		}
	})
}

func TestBatch_NothingAskedNothingSaid(t *testing.T) {
	both(t, func(t *testing.T, s backends.Store) {
		if rs := backends.GetMany(t.Context(), s, nil); len(rs) != 0 {
			t.Errorf("getmany: %v", rs)
		}
		if errs := backends.SetMany(t.Context(), s, nil); errs != nil {
			t.Errorf("setmany: %v", errs)
		}
		if errs := backends.DeleteMany(t.Context(), s, nil); errs != nil {
			t.Errorf("deletemany: %v", errs)
		}
	})
}

func TestBatch_LaterOfTwoEntriesStays(t *testing.T) {
	both(t, func(t *testing.T, s backends.Store) {
		var entries []backends.KeyItem
		for i := range 100 {
			entries = append(entries, backends.KeyItem{Key: "k", Item: backends.Item{Value: fmt.Append(nil, i)}})
		}
		backends.SetMany(t.Context(), s, entries)
		if it, err := s.Get(t.Context(), "k"); err != nil || string(it.Value) != "99" {
			t.Errorf("got %q, %v", it.Value, err)
		}
	})
}

func TestBatch_NotAskedIsNeverAMiss(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := backendtest.NewFaulty(memory.New(memory.Config{}), 1)
	f.After(func(backendtest.Op, string) { cancel() }) // the ctx ends after the first request
	keys := make([]string, 1200)
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
	}
	for i, r := range backends.GetMany(ctx, f, keys) {
		if want := i < 500; errors.Is(r.Err, backends.ErrMiss) != want || !want && !errors.Is(r.Err, context.Canceled) {
			t.Fatalf("key %d: %v", i, r.Err)
		}
	}
	if n := f.Calls(backendtest.OpGetMany); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	for i, err := range backends.DeleteMany(ctx, plain{f}, keys) {
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("key %d: %v", i, err)
		}
	}
}

func TestBatch_LoopAsksSeveralAtOnceAndNotTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := backendtest.NewFaulty(memory.New(memory.Config{}), 1)
		release := make(chan struct{})
		f.Inject(backendtest.Fault{Block: release, Times: -1})
		done := make(chan []backends.Result)
		go func() { done <- backends.GetMany(t.Context(), plain{f}, make50()) }()
		synctest.Wait()
		if n := f.Calls(backendtest.OpGet); n != 8 {
			t.Errorf("%d calls at once, want 8", n)
		}
		close(release)
		if rs := <-done; len(rs) != 50 || f.Calls(backendtest.OpGet) != 50 {
			t.Errorf("%d results, %d calls", len(rs), f.Calls(backendtest.OpGet))
		}
	})
}

func make50() []string {
	keys := make([]string, 50)
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
	}
	return keys
}

// panicking is a store with a bug.
type panicking struct {
	plain
	calls atomic.Int32
}

func (p *panicking) Get(context.Context, string) (backends.Item, error) {
	p.calls.Add(1)
	panic("bug in a driver")
}

func TestBatch_PanicReachesTheCaller(t *testing.T) {
	defer func() {
		if p := recover(); p != "bug in a driver" {
			t.Errorf("recovered %v", p)
		}
	}()
	backends.GetMany(t.Context(), &panicking{}, make50())
	t.Error("no panic")
}

func TestGetTTL_KnowsWhereTheStoreKnows(t *testing.T) {
	both(t, func(t *testing.T, s backends.Store) {
		if err := s.Set(t.Context(), "k", backends.Item{Value: []byte("v"), TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
		it, err := backends.GetTTL(t.Context(), s, "k")
		if err != nil || it.TTL <= 0 || it.TTL > time.Hour {
			t.Errorf("got %v, %v", it.TTL, err)
		}
		if _, err := backends.GetTTL(t.Context(), s, "none"); !errors.Is(err, backends.ErrMiss) {
			t.Errorf("absent: %v", err)
		}
	})
}
