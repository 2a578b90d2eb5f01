package memory_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	store := memory.New(memory.Config{Now: func() time.Time { return now }})
	ctx := context.Background()

	_ = store.Set(ctx, "user:1", backends.Item{Value: []byte("Ada"), TTL: time.Minute})
	now = now.Add(59 * time.Second)
	it, err := store.Get(ctx, "user:1")
	fmt.Printf("%s, %v left, %v\n", it.Value, it.TTL, err)

	now = now.Add(time.Second)
	_, err = store.Get(ctx, "user:1")
	fmt.Println(err)
	// Output:
	// Ada, 1s left, <nil>
	// cache: miss
}

func TestStore_ZeroConfigKeepsRealTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Config{})
		if err := s.Set(t.Context(), "k", backends.Item{TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - 1)
		if it, err := s.Get(t.Context(), "k"); err != nil || it.TTL != 1 {
			t.Errorf("just before: %v, %v", it.TTL, err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := s.Get(t.Context(), "k"); !errors.Is(err, backends.ErrMiss) {
			t.Errorf("at the very moment: %v, want a miss", err)
		}
	})
}

func TestStore_RawShowsLeasesAndTombstonesAsTheyAreOnTheWire(t *testing.T) {
	s := memory.New(memory.Config{})
	lease, _, err := s.Acquire(t.Context(), "k", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if raw := s.Raw("k"); wire.KindOf(raw) != wire.Lease {
		t.Errorf("leased: %q", raw)
	}
	if err := lease.Fill(t.Context(), backends.Item{Value: []byte("v")}); err != nil || !bytes.Equal(s.Raw("k"), []byte("v")) {
		t.Errorf("filled: %q, %v", s.Raw("k"), err)
	}
	if err := s.DeleteHold(t.Context(), "k", time.Hour, 5); err != nil || wire.VersionOf(s.Raw("k")) != 5 {
		t.Errorf("held off: %q, %v", s.Raw("k"), err)
	}
	if raw := s.Raw("none"); raw != nil {
		t.Errorf("absent: %q", raw)
	}
	if err := s.Set(t.Context(), "empty", backends.Item{}); err != nil || s.Raw("empty") == nil {
		t.Errorf("empty: %q, %v; want an empty value that is not nil", s.Raw("empty"), err)
	}
}

func TestStore_ExpiredItemsDoNotPileUp(t *testing.T) {
	clock := &manual{now: time.Unix(1, 0)}
	s := memory.New(memory.Config{Now: clock.Now})
	for i := range 10_000 {
		if err := s.Set(t.Context(), fmt.Sprint(i), backends.Item{TTL: time.Second}); err != nil {
			t.Fatal(err)
		}
		clock.Advance(10 * time.Millisecond) // a hundred are alive at any time
	}
	if n := s.Len(); n > 101 {
		t.Errorf("%d items count as alive", n)
	}
	if n := s.Kept(); n > 1000 {
		t.Errorf("%d items are kept, a hundred of them alive", n)
	}
}

func TestStore_IncrementBeyondSixtyFourBitsIsRefused(t *testing.T) {
	s := memory.New(memory.Config{})
	const most = int64(1<<63 - 1)
	if _, err := s.Increment(t.Context(), "k", 0, most, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Increment(t.Context(), "k", 1, 0, 0); !errors.Is(err, backends.ErrNotNumber) {
		t.Errorf("above: %v", err)
	}
	if n, err := s.Increment(t.Context(), "k", -1, 0, 0); n != most-1 || err != nil {
		t.Errorf("the counter changed: %d, %v", n, err)
	}
	if _, err := s.Increment(t.Context(), "low", 0, -most, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Increment(t.Context(), "low", -2, 0, 0); !errors.Is(err, backends.ErrNotNumber) {
		t.Errorf("below: %v", err)
	}
}

// counting counts what it hears.
type counting struct{ forgotten, flushes, alive int }

func (c *counting) Forget(keys []string) { c.forgotten += len(keys) }
func (c *counting) Flush(string)         { c.flushes++ }
func (c *counting) Alive()               { c.alive++ }
func (c *counting) Down(error)           {}

func TestWatch_ReachesAllListenersUntilTheirCtxEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		var sinks [2]counting
		ended := make(chan error, 2)
		for i := range sinks {
			go func() { ended <- s.Watch(ctx, &sinks[i]) }()
		}
		synctest.Wait()
		if err := s.Publish(t.Context(), []string{"a", "b"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Second + 1)
		synctest.Wait()
		cancel()
		for range sinks {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("watch: %v", err)
			}
		}
		if err := s.Publish(t.Context(), []string{"late"}); err != nil {
			t.Fatal(err)
		}
		for _, c := range sinks {
			if c != (counting{forgotten: 2, flushes: 1, alive: 11}) {
				t.Errorf("heard %+v; want 2 keys, the first flush, and one sign of life a second", c)
			}
		}
	})
}
