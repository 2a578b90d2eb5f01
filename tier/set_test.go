package tier

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/internal/fence"
)

func TestSet_IsReadBackHereAndElsewhere(t *testing.T) {
	near, far := newProbe(), newProbe()
	a, b := open(t, over(nil, near, far)), open(t, over(nil, near, far))
	if err := a.Set(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*Cache[string]{a, b} {
		v, err := c.Get(t.Context(), "k")
		want(t, v, err, "v")
	}
	quiet(t, a)
	quiet(t, b)
	e, err := open(t, over(nil, near, far)).Lookup(t.Context(), "k")
	if err != nil || e.Source != "a" {
		t.Errorf("after promotion found in %q, %v; want the near tier", e.Source, err)
	}
}

func TestSet_KeepsTheRemainingLifetimeOnItsWayDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := newProbe(), newProbe()
		cfg := over(nil, near, far)
		cfg.TTL, cfg.Local.TTL = 10*time.Second, time.Minute
		a := open(t, cfg)
		if err := a.Set(t.Context(), "k", "v"); err != nil {
			t.Fatal(err)
		}
		near.Delete(t.Context(), "t:k")
		time.Sleep(6 * time.Second)
		b := open(t, cfg)
		v, err := b.Get(t.Context(), "k")
		want(t, v, err, "v")
		synctest.Wait()
		it, err := near.GetTTL(t.Context(), "t:k")
		if err != nil || it.TTL > 4*time.Second || it.TTL < 3*time.Second {
			t.Errorf("promoted with %v left, %v; want 4 s", it.TTL, err)
		}
		time.Sleep(4100 * time.Millisecond)
		_, err = b.Get(t.Context(), "k")
		wantErr(t, err, ErrMiss) // gone from L1 too
	})
}

func TestSet_RefusesBadInputAndChangesNothing(t *testing.T) {
	small := memory.New(memory.Config{MaxValueBytes: 100})
	c := open(t, over(nil, small))
	if err := c.Set(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	wantErr(t, c.Set(t.Context(), "", "v"), ErrEmptyKey)
	wantErr(t, c.SetWith(t.Context(), "k", "w", SetOptions{TTL: -1}), ErrInvalidTTL)
	err := c.Set(t.Context(), "k", strings.Repeat("x", 200))
	wantErr(t, err, ErrTooLarge)
	if !strings.Contains(err.Error(), `"k"`) || !strings.Contains(err.Error(), "at most 100") {
		t.Errorf("%q does not name the key and the limit", err)
	}
	v, err := c.Get(t.Context(), "k")
	want(t, v, err, "v")

	nan := open(t, Config[float64]{Remotes: []Remote{{Name: "a", Store: small}}})
	if err := nan.Set(t.Context(), "n", math.NaN()); err == nil || !strings.Contains(err.Error(), `"n"`) {
		t.Errorf("a value the codec cannot hold: %v", err)
	}
}

func TestSet_OlderVersionDoesNotReplaceANewerOne(t *testing.T) {
	p := newProbe()
	a, b := open(t, over(nil, p)), open(t, over(nil, p))
	if err := a.SetWith(t.Context(), "k", "2", SetOptions{Version: 2}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, b.SetWith(t.Context(), "k", "1", SetOptions{Version: 1}), ErrOlder)
	for _, c := range []*Cache[string]{a, b} {
		v, err := c.Get(t.Context(), "k")
		want(t, v, err, "2")
	}
}

func TestSet_TierThatFailsIsBarredUntilItHasForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe()
		c := open(t, over(nil, p))
		if err := c.Set(t.Context(), "k", "old"); err != nil {
			t.Fatal(err)
		}
		p.on(func(op, _ string) error {
			if op == "get" {
				return nil // reads work: the old value would be there to be had
			}
			return errDown
		})
		err := c.Set(t.Context(), "k", "new")
		wantErr(t, err, ErrQueued)
		wantErr(t, err, errDown)
		if v, err := c.Get(t.Context(), "k"); err == nil || errors.Is(err, ErrMiss) {
			t.Errorf("got %q, %v; the tier may hold an older value", v, err)
		}
		if h := c.Health(); h.Remotes[0].Owed != 1 {
			t.Errorf("owed %d, want 1", h.Remotes[0].Owed)
		}
		p.down(nil)
		time.Sleep(5 * time.Second)
		_, err = c.Get(t.Context(), "k")
		wantErr(t, err, ErrMiss)
		if s := c.Stats().Remotes[0]; s.Owed != 0 || s.Delivered != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestDelete_UndeliveredIsNotReadAndWithoutTheOutboxItIs(t *testing.T) {
	run := func() (string, error) {
		p := newProbe()
		cfg := over(nil, p)
		cfg.Local.Disabled = true
		c := open(t, cfg)
		c.Set(t.Context(), "k", "old")
		p.on(func(op, _ string) error {
			if op == "delete" || op == "delete-many" {
				return errDown
			}
			return nil
		})
		wantErr(t, c.Delete(t.Context(), "k"), ErrQueued)
		return c.Get(t.Context(), "k")
	}
	if v, err := run(); err == nil {
		t.Errorf("got %q after its delete", v)
	}
	defer fence.Remove(fence.Outbox)()
	if v, _ := run(); v != "old" {
		t.Errorf("got %q: this test cannot see the stale value", v)
	}
}

// deleteDuringPromotion deletes a key from both tiers while a promotion is between its read of
// the far tier and its fill of the near one; it returns what the near tier holds then.
func deleteDuringPromotion(t *testing.T) error {
	near, far := newProbe(), newProbe()
	c := open(t, over(nil, near, far))
	if err := c.Set(t.Context(), "k", "old"); err != nil {
		t.Fatal(err)
	}
	quiet(t, c)
	near.Store.Delete(t.Context(), "t:k")
	reads := 0
	far.on(func(op, _ string) error {
		if op == "get" {
			reads++
		}
		return nil
	})
	filling, goOn := make(chan struct{}), make(chan struct{})
	near.on(func(op, _ string) error {
		if op == "fill" || op == "set" {
			close(filling)
			<-goOn
		}
		return nil
	})
	other := open(t, over(nil, near, far))
	if _, err := other.Get(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	<-filling
	if err := c.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	quiet(t, other)
	_, err := near.Store.Get(t.Context(), "t:k")
	return err
}

func TestPromote_DeletedValueDoesNotComeBack(t *testing.T) {
	wantErr(t, deleteDuringPromotion(t), ErrMiss)
}

func TestPromote_WithoutTheLeaseADeletedValueComesBack(t *testing.T) {
	defer fence.Remove(fence.Lease)()
	if err := deleteDuringPromotion(t); err != nil {
		t.Errorf("%v: this test cannot see the race", err)
	}
}

func TestDelete_HoldOffLoadsWithoutFilling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, p := newSource("k", "v"), newProbe()
		cfg := over(src, p)
		c := open(t, cfg)
		if err := c.DeleteWith(t.Context(), "k", DeleteOptions{HoldOff: time.Second}); err != nil {
			t.Fatal(err)
		}
		other := open(t, cfg)
		for range 2 {
			v, err := other.Get(t.Context(), "k")
			want(t, v, err, "v")
		}
		if src.count() != 2 {
			t.Errorf("%d loads during the hold-off, want 2: nothing is kept", src.count())
		}
		time.Sleep(1100 * time.Millisecond)
		for range 2 {
			v, err := other.Get(t.Context(), "k")
			want(t, v, err, "v")
		}
		if src.count() != 3 {
			t.Errorf("%d loads, want 3", src.count())
		}
	})
}

func TestDelete_HoldOffIsRefusedWhereAStoreHasNone(t *testing.T) {
	c := open(t, over(nil, bare{memory.New(memory.Config{})}))
	err := c.DeleteWith(t.Context(), "k", DeleteOptions{HoldOff: time.Second})
	wantErr(t, err, ErrUnsupported)
	if !strings.Contains(err.Error(), " on a:") {
		t.Errorf("%q does not name the tier", err)
	}
}

// bare is a store that can do the three things and no more.
type bare struct{ s *memory.Store }

func (b bare) Get(ctx context.Context, key string) (backends.Item, error) { return b.s.Get(ctx, key) }
func (b bare) Set(ctx context.Context, key string, it backends.Item) error {
	return b.s.Set(ctx, key, it)
}
func (b bare) Delete(ctx context.Context, key string) error { return b.s.Delete(ctx, key) }

func TestGet_WorksOverAStoreWithoutAnyCapability(t *testing.T) {
	src := newSource("k", "v", "l", "w")
	s := bare{memory.New(memory.Config{})}
	c := open(t, over(src, s))
	v, err := c.Get(t.Context(), "k")
	want(t, v, err, "v")
	m, err := c.GetMany(t.Context(), []string{"k", "l", "m"})
	if err != nil || len(m) != 2 || m["l"] != "w" {
		t.Fatalf("GetMany: %v, %v", m, err)
	}
	v, err = open(t, over(nil, s)).Get(t.Context(), "l")
	want(t, v, err, "w")
	if w := c.Health().Remotes[0].Warnings; len(w) != 2 || !strings.Contains(w[0], "no leases") {
		t.Errorf("warnings %q", w)
	}
}

func TestSetMany_StoresAllInOneRoundTrip(t *testing.T) {
	p := newProbe()
	c := open(t, over(nil, p))
	if err := c.SetMany(t.Context(), map[string]string{"a": "1", "b": "2"}); err != nil {
		t.Fatal(err)
	}
	if p.count("set-many") != 1 || p.count("set") != 0 {
		t.Errorf("%d batches, %d single sets", p.count("set-many"), p.count("set"))
	}
	m, err := open(t, over(nil, p)).GetMany(t.Context(), []string{"a", "b"})
	if err != nil || m["a"] != "1" || m["b"] != "2" {
		t.Errorf("got %v, %v", m, err)
	}
	p.down(errDown)
	err = c.SetMany(t.Context(), map[string]string{"a": "3"})
	wantErr(t, err, ErrQueued)
	if v, err := c.Get(t.Context(), "a"); err == nil {
		t.Errorf("got %q: neither value is known to be there", v)
	}
}
