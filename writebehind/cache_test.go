package writebehind_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/journaltest"
)

// Load makes the source one that a cache can read.
func (s *source) Load(_ context.Context, key string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.rows[key]; ok {
		return v, nil
	}
	return "", tier.ErrMiss
}

func newCache(t *testing.T, s *source, store backends.Store, w tier.Writer[string]) *tier.Cache[string] {
	t.Helper()
	c, err := tier.New(tier.Config[string]{
		Namespace: "q", Loader: s, Writer: w, TTL: 50 * time.Millisecond,
		Remotes: []tier.Remote{{Name: "shared", Store: store, Timeout: 5 * time.Second}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// holds checks what a cache reads under key; "" is a miss.
func holds(t *testing.T, c *tier.Cache[string], key, want string) {
	t.Helper()
	v, err := c.Get(t.Context(), key)
	if v != want || (err != nil) != (want == "") || err != nil && !errors.Is(err, tier.ErrMiss) {
		t.Errorf("%s: %q, %v, want %q", key, v, err, want)
	}
	m, err := c.GetMany(t.Context(), []string{key})
	if m[key] != want || err != nil {
		t.Errorf("many %s: %q, %v, want %q", key, m[key], err, want)
	}
}

func TestCache_ReadsItsOwnWritesUntilAndAfterTheSourceHasThem(t *testing.T) {
	for name, journal := range map[string]writebehind.Journal{"memory": nil, "journal": journaltest.NewMemory()} {
		t.Run(name, func(t *testing.T) {
			s, store := newSource(), memory.New(memory.Config{})
			s.rows["k"], s.rows["gone"] = "old", "old"
			s.fail(poison(errDown, "k", "gone"))
			w := newWriter(t, writebehind.Config[string]{
				Sink: s, Journal: journal, Linger: -1, RetryMin: time.Millisecond, RetryMax: time.Millisecond,
			})
			t.Cleanup(func() { closeNow(t, w) })
			here, other := newCache(t, s, store, w), newCache(t, s, store, nil)
			for _, k := range []string{"k", "gone"} {
				holds(t, here, k, "old")
				holds(t, other, k, "old")
			}
			if err := here.Set(t.Context(), "k", "new"); err != nil {
				t.Fatal(err)
			}
			if err := here.Delete(t.Context(), "gone"); err != nil {
				t.Fatal(err)
			}
			accepted := func() {
				t.Helper()
				holds(t, here, "k", "new")
				holds(t, here, "gone", "") // a pending delete is a miss, and is not loaded
				holds(t, other, "k", "old")
			}
			accepted()
			// Whatever L1 and the tiers forget, the write is not in their hands.
			if err := here.Invalidate(t.Context(), "k", "gone"); err != nil {
				t.Fatal(err)
			}
			accepted()
			time.Sleep(100 * time.Millisecond) // an outage longer than the cache's TTL
			accepted()

			s.fail(nil)
			flush(t, w)
			if st := w.Stats(); st.Applied != 2 || st.Expired != 0 || st.Unreported != 0 {
				t.Errorf("stats %+v", st)
			}
			for _, c := range []*tier.Cache[string]{here, newCache(t, s, store, nil)} {
				holds(t, c, "k", "new")
				holds(t, c, "gone", "")
			}
			time.Sleep(200 * time.Millisecond) // no Invalidator: the other's L1 lives for its TTL
			holds(t, other, "k", "new")
			holds(t, other, "gone", "")
		})
	}
}
