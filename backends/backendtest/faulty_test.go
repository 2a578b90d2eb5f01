package backendtest_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
)

// clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_700_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func faultyHarness(*testing.T) backendtest.Harness {
	clock := newClock()
	f := backendtest.NewFaulty(memory.New(memory.Config{Now: clock.Now, MaxValueBytes: 1 << 20}), 1)
	return backendtest.Harness{Store: f, Peer: f, Advance: clock.Advance, TTLResolution: 1}
}

func TestFaulty_WithoutFaultsPassesTheSuite(t *testing.T) { backendtest.Run(t, faultyHarness) }

func TestFaulty_WithoutFaultsFollowsTheModel(t *testing.T) { backendtest.RunModel(t, faultyHarness) }

// faulty is a Faulty over memory that holds a = "A" and b = "B".
func faulty(t *testing.T) (*backendtest.Faulty, *memory.Store) {
	t.Helper()
	inner := memory.New(memory.Config{})
	for k, v := range map[string]string{"a": "A", "b": "B"} {
		if err := inner.Set(t.Context(), k, backends.Item{Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	return backendtest.NewFaulty(inner, 7), inner
}

func TestFaulty_DefiniteFailureIsNotCarriedOut(t *testing.T) {
	f, inner := faulty(t)
	f.Inject(backendtest.Fault{Op: backendtest.OpDelete, Key: "a"})
	if err := f.Delete(t.Context(), "b"); err != nil {
		t.Errorf("delete of another key: %v", err)
	}
	if err := f.Delete(t.Context(), "a"); !errors.Is(err, backendtest.ErrInjected) {
		t.Errorf("delete: %v, want ErrInjected", err)
	}
	if inner.Raw("a") == nil {
		t.Error("a failed delete was carried out")
	}
	if err := f.Delete(t.Context(), "a"); err != nil {
		t.Errorf("the fault happened twice: %v", err)
	}
}

func TestFaulty_AppliedFailureIsCarriedOutAndUnknown(t *testing.T) {
	f, inner := faulty(t)
	f.Inject(backendtest.Fault{Op: backendtest.OpAdd, Applied: true})
	err := f.Caps().CASer.Add(t.Context(), "new", backends.Item{Value: []byte("N")})
	if !errors.Is(err, backends.ErrUnknown) {
		t.Errorf("add: %v, want ErrUnknown", err)
	}
	if string(inner.Raw("new")) != "N" {
		t.Error("the add was not carried out")
	}
}

func TestFaulty_FailsSomeKeysOfABatch(t *testing.T) {
	f, inner := faulty(t)
	f.Inject(backendtest.Fault{Op: backendtest.OpGetMany, Key: "a", Times: -1})
	rs := f.Caps().Batcher.GetMany(t.Context(), []string{"a", "b", "none"})
	if !errors.Is(rs[0].Err, backendtest.ErrInjected) || string(rs[1].Item.Value) != "B" || !errors.Is(rs[2].Err, backends.ErrMiss) {
		t.Errorf("getmany: %v", rs)
	}
	f.Heal()

	f.Inject(backendtest.Fault{Op: backendtest.OpDeleteMany, Key: "a"})
	f.Inject(backendtest.Fault{Op: backendtest.OpDeleteMany, Key: "b", Applied: true})
	errs := f.Caps().Batcher.DeleteMany(t.Context(), []string{"a", "b", "none"})
	if !errors.Is(errs[0], backendtest.ErrInjected) || !errors.Is(errs[1], backends.ErrUnknown) || errs[2] != nil {
		t.Errorf("deletemany: %v", errs)
	}
	if inner.Raw("a") == nil || inner.Raw("b") != nil {
		t.Error("deletemany: the wrong key is gone")
	}
}

func TestFaulty_FailsAWholeBatch(t *testing.T) {
	f, _ := faulty(t)
	f.Inject(backendtest.Fault{Op: backendtest.OpGetMany, Err: backends.ErrUnavailable})
	for _, r := range f.Caps().Batcher.GetMany(t.Context(), []string{"a", "b"}) {
		if !errors.Is(r.Err, backends.ErrUnavailable) {
			t.Errorf("getmany: %v", r)
		}
	}
	if n := f.Calls(backendtest.OpGetMany); n != 1 {
		t.Errorf("one batch counted as %d calls", n)
	}
}

func TestFaulty_PartialRateFailsSomeEntriesTheSameWayEachRun(t *testing.T) {
	keys := make([]string, 200)
	for i := range keys {
		keys[i] = string(rune('a' + i))
	}
	run := func() (failed []int) {
		f, _ := faulty(t)
		f.Inject(backendtest.Fault{Op: backendtest.OpGetMany, Partial: true, Rate: 0.5, Times: -1})
		for i, r := range f.Caps().Batcher.GetMany(t.Context(), keys) {
			if errors.Is(r.Err, backendtest.ErrInjected) {
				failed = append(failed, i)
			}
		}
		return failed
	}
	first, second := run(), run()
	if len(first) < 50 || len(first) > 150 {
		t.Errorf("%d of 200 entries failed at a rate of a half", len(first))
	}
	if len(first) != len(second) || first[0] != second[0] {
		t.Errorf("the same seed failed other entries: %v, %v", first, second)
	}
}

func TestFaulty_CorruptionChangesTheReadersCopyOnly(t *testing.T) {
	f, inner := faulty(t)
	f.Inject(backendtest.Fault{Op: backendtest.OpGet, Corrupt: true})
	it, err := f.Get(t.Context(), "a")
	if err != nil || bytes.Equal(it.Value, []byte("A")) || len(it.Value) != 1 {
		t.Errorf("get: %q, %v; want one other byte", it.Value, err)
	}
	if string(inner.Raw("a")) != "A" {
		t.Error("corruption reached the store")
	}
}

func TestFaulty_BlockedCallWaitsUntilReleasedOrItsCtxEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := faulty(t)
		release := make(chan struct{})
		f.Inject(backendtest.Fault{Op: backendtest.OpGet, Block: release, Times: 2})
		got := make(chan error, 1)
		go func() {
			_, err := f.Get(t.Context(), "a")
			got <- err
		}()
		synctest.Wait()
		if len(got) > 0 {
			t.Fatal("a blocked call returned")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("blocked get: %v, want its ctx's error", err)
		}
		close(release)
		if err := <-got; err != nil {
			t.Errorf("released get: %v", err)
		}
	})
}

func TestFaulty_DownFailsEverythingUntilHealed(t *testing.T) {
	f, inner := faulty(t)
	lease, _, err := f.Caps().Leaser.Acquire(t.Context(), "leased", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	f.Down(true)
	if _, err := f.Get(t.Context(), "a"); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("get: %v", err)
	}
	if err := lease.Fill(t.Context(), backends.Item{}); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("fill: %v", err)
	}
	if err := f.Caps().Pinger.Ping(t.Context()); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("ping: %v", err)
	}
	f.Heal()
	if err := lease.Fill(t.Context(), backends.Item{Value: []byte("L")}); err != nil || string(inner.Raw("leased")) != "L" {
		t.Errorf("fill after healing: %v", err)
	}
}

func TestFaulty_HooksForceAnInterleaving(t *testing.T) {
	f, inner := faulty(t)
	lease, _, err := f.Caps().Leaser.Acquire(t.Context(), "k", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	f.Before(func(op backendtest.Op, key string) {
		order = append(order, "before "+string(op)+" "+key)
		if op == backendtest.OpFill {
			_ = inner.Delete(t.Context(), key) // exactly between the load and the fill
		}
	})
	f.After(func(op backendtest.Op, key string) { order = append(order, "after "+string(op)+" "+key) })
	if err := lease.Fill(t.Context(), backends.Item{}); !errors.Is(err, backends.ErrLeaseLost) {
		t.Errorf("fill: %v, want ErrLeaseLost", err)
	}
	if len(order) != 2 || order[0] != "before fill k" || order[1] != "after fill k" {
		t.Errorf("hooks: %q", order)
	}
}

func TestFaulty_CountsRoundTrips(t *testing.T) {
	f, _ := faulty(t)
	f.Get(t.Context(), "a")
	f.Get(t.Context(), "b")
	f.Caps().Batcher.GetMany(t.Context(), []string{"a", "b"})
	if f.Calls() != 3 || f.Calls(backendtest.OpGet) != 2 || f.Calls(backendtest.OpGet, backendtest.OpSet) != 2 {
		t.Errorf("counted %d, %d gets", f.Calls(), f.Calls(backendtest.OpGet))
	}
	f.ResetCalls()
	if f.Calls() != 0 {
		t.Errorf("%d after a reset", f.Calls())
	}
}

func TestFaulty_CanExactlyWhatTheStoreCan(t *testing.T) {
	full := memory.New(memory.Config{MaxValueBytes: 9})
	everything := reflect.ValueOf(backends.CapsOf(full))
	for i := range everything.NumField() {
		one := reflect.New(everything.Type()).Elem()
		one.Field(i).Set(everything.Field(i))
		f := backendtest.NewFaulty(&broken{Store: full, caps: one.Interface().(backends.Caps)}, 1)
		got := reflect.ValueOf(f.Caps())
		for j := range got.NumField() {
			if got.Field(j).IsZero() != one.Field(j).IsZero() {
				t.Errorf("a store with %s only: %s differs", got.Type().Field(i).Name, got.Type().Field(j).Name)
			}
		}
	}
}
