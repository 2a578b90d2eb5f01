package tier

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/backends/ristretto"
)

func barred(src *source, p *probe) Config[string] {
	cfg := over(src, p)
	cfg.Barriers.Enabled = true
	return cfg
}

func TestClear_MakesEveryTierForgetTheNamespaceAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, p := newSource("k", "1"), newProbe()
		a, b := open(t, barred(src, p)), open(t, barred(src, p))
		elsewhere := over(newSource("k", "other"), p)
		elsewhere.Namespace = "u"
		c := open(t, elsewhere)
		for _, x := range []*Cache[string]{a, b, c} {
			if _, err := x.Get(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
		}
		src.set("k", "2")
		calls := p.count("delete") + p.count("delete-many")
		if err := a.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p.count("delete")+p.count("delete-many") != calls {
			t.Error("keys were deleted one by one")
		}
		v, err := a.Get(t.Context(), "k")
		want(t, v, err, "2")
		time.Sleep(6 * time.Second) // b's L1 lifetime, and the age of what it knows
		v, err = b.Get(t.Context(), "k")
		want(t, v, err, "2")
		if _, err := p.Store.Get(t.Context(), "u:k"); err != nil {
			t.Errorf("another namespace: %v", err)
		}
	})
}

// Somebody has cleared the namespace, and this L1 is told to flush. A reader that fills the empty L1
// must not go by the barriers of before: they are forgotten while L1 is not empty yet.
func TestFlush_ForgetsTheBarriersBeforeL1IsEmpty(t *testing.T) {
	c := open(t, barred(newSource("k", "1"), newProbe()))
	if _, err := c.Get(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	asked, late, now := false, false, c.barriers.now
	c.barriers.now = func() int64 {
		_, s := c.l1.Get("k")
		asked, late = true, late || s != ristretto.Fresh
		return now()
	}
	link[string]{c}.Flush("somebody cleared")
	c.barriers.now = now
	if !asked || late {
		t.Errorf("barriers forgotten %v, after L1 %v", asked, late)
	}
}

func TestClear_LoadFromBeforeIsAMissAfterwards(t *testing.T) {
	p := newProbe()
	src := newSource("k", "old")
	loading, goOn := make(chan struct{}), make(chan struct{})
	cfg := barred(src, p)
	cfg.Loader = LoaderFunc[string](func(ctx context.Context, key string) (string, error) {
		v, err := src.Load(ctx, key)
		if v == "old" {
			close(loading)
			<-goOn
		}
		return v, err
	})
	c := open(t, cfg)
	done := make(chan struct{})
	go func() { defer close(done); c.Get(context.Background(), "k") }()
	<-loading
	src.set("k", "new")
	if err := c.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	<-done
	v, err := c.Get(t.Context(), "k")
	want(t, v, err, "new")
}

func TestClear_LostBarrierHidesWhatWasStoredBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, p := newSource("k", "1"), newProbe()
		a := open(t, barred(src, p))
		if err := a.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Get(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		src.set("k", "2")
		time.Sleep(10 * time.Millisecond)
		p.Store.Delete(t.Context(), "t!g") // evicted, or the server was restarted
		v, err := open(t, barred(src, p)).Get(t.Context(), "k")
		want(t, v, err, "2")
	})
}

// What was cleared is still in the tier: the next load takes its place, everywhere.
func TestClear_ClearedValueIsReplacedByTheNextLoad(t *testing.T) {
	for _, many := range []bool{false, true} {
		src, p := newSource("k", "1"), newProbe()
		cfg := barred(src, p)
		cfg.Local.Disabled = true
		c, other := open(t, cfg), open(t, cfg)
		v, err := c.Get(t.Context(), "k")
		want(t, v, err, "1")
		src.set("k", "2")
		if err := c.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if many {
				m, err := c.GetMany(t.Context(), []string{"k"})
				want(t, m["k"], err, "2")
			} else {
				v, err := c.Get(t.Context(), "k")
				want(t, v, err, "2")
			}
		}
		if src.count() != 2 {
			t.Errorf("many %v: %d loads, want 1 before and 1 after the Clear", many, src.count())
		}
		v, err = other.Get(t.Context(), "k")
		want(t, v, err, "2")
	}
}

// A server that comes back with an old snapshot has an old count: what was cleared in between
// must not be read again, in any process.
func TestClear_BarrierThatGoesBackIsCountedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		src, p := newSource("k", "old"), newProbe()
		cfg := barred(src, p)
		cfg.Local.Disabled = true
		c, other := open(t, cfg), open(t, cfg)
		for _, x := range []*Cache[string]{c, other} {
			if _, err := x.Get(ctx, "k"); err != nil {
				t.Fatal(err)
			}
		}
		snapshot := map[string]backends.Item{}
		for _, key := range []string{"t:k", "t!g"} {
			it, err := p.Store.Get(ctx, key)
			if err != nil {
				t.Fatal(err)
			}
			snapshot[key] = it
		}
		src.set("k", "new")
		if err := c.Clear(ctx); err != nil {
			t.Fatal(err)
		}
		for key, it := range snapshot {
			if err := p.Store.Set(ctx, key, it); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second) // what is known of the barrier is too old
		for _, x := range []*Cache[string]{c, other, open(t, cfg)} {
			v, err := x.Get(ctx, "k")
			want(t, v, err, "new")
		}
	})
}

// A question from before a Clear is answered first, and its answer arrives last.
func TestClear_LateAnswerDoesNotBringTheOldBarrierBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		f := backendtest.NewFaulty(memory.New(memory.Config{}), 1)
		cfg := over(nil, f)
		cfg.Barriers.Enabled, cfg.Local.Disabled = true, true
		c := open(t, cfg)
		if err := c.Set(ctx, "k", "cleared"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // what is known of the barrier is too old
		gate, first := make(chan struct{}), true
		f.After(func(op backendtest.Op, _ string) {
			if op == backendtest.OpIncrement && first {
				first = false
				<-gate
			}
		})
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = c.Lookup(ctx, "k") })
		synctest.Wait()
		if err := c.Clear(ctx); err != nil {
			t.Fatal(err)
		}
		close(gate)
		wg.Wait()
		_, err := c.Lookup(ctx, "k")
		wantErr(t, err, ErrMiss)
	})
}

// tagging is a loader that tags what it loads.
type tagging struct {
	*source
	tag    func(key string) []string
	during func()
}

func (l *tagging) LoadEntry(ctx context.Context, key string, _ Old[string]) (Loaded[string], error) {
	v, err := l.Load(ctx, key)
	if l.during != nil {
		l.during()
	}
	return Loaded[string]{Value: v, Tags: l.tag(key)}, err
}

func TestInvalidateTags_HitsTheValuesThatCarryThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, p := newSource("a1", "1", "b1", "1"), newProbe()
		cfg := barred(src, p)
		cfg.Loader = &tagging{source: src, tag: func(key string) []string { return []string{key[:1]} }}
		c := open(t, cfg)
		for range 2 { // the first tagged load of a process is not stored
			for _, k := range []string{"a1", "b1"} {
				if _, err := c.Get(t.Context(), k); err != nil {
					t.Fatal(err)
				}
			}
		}
		src.set("a1", "2")
		src.set("b1", "2")
		if err := c.InvalidateTags(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		v, err := c.Get(t.Context(), "a1")
		want(t, v, err, "2")
		v, err = c.Get(t.Context(), "b1")
		want(t, v, err, "1") // still cached: another tag
		time.Sleep(2 * time.Second)
		other := open(t, cfg)
		v, err = other.Get(t.Context(), "b1")
		want(t, v, err, "1")
	})
}

func TestInvalidateTags_DuringTheLoadKeepsTheValueOut(t *testing.T) {
	src, p := newSource("k", "old"), newProbe()
	cfg := barred(src, p)
	l := &tagging{source: src, tag: func(string) []string { return []string{"x"} }}
	cfg.Loader = l
	c, other := open(t, cfg), open(t, barred(nil, p))
	c.tagged.Store(true)
	l.during = func() { // after the load has read the old record
		l.during = nil
		src.set("k", "new")
		if err := other.InvalidateTags(context.Background(), "x"); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Get(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	v, err := c.Get(t.Context(), "k")
	want(t, v, err, "new")
}

func TestSet_WithTagsIsInvalidatedByThem(t *testing.T) {
	p := newProbe()
	c := open(t, barred(nil, p))
	if err := c.SetWith(t.Context(), "k", "v", SetOptions{Tags: []string{"x", "y"}}); err != nil {
		t.Fatal(err)
	}
	v, err := open(t, barred(nil, p)).Get(t.Context(), "k")
	want(t, v, err, "v")
	if err := c.InvalidateTags(t.Context(), "y"); err != nil {
		t.Fatal(err)
	}
	_, err = c.Get(t.Context(), "k")
	wantErr(t, err, ErrMiss)
}

func TestBarriers_AreRefusedWhereTheyCannotWork(t *testing.T) {
	for _, cfg := range []Config[string]{
		{Barriers: Barriers{Enabled: true}},
		{Barriers: Barriers{Enabled: true}, Namespace: "n", Remotes: []Remote{{Name: "a", Store: bare{memory.New(memory.Config{})}}}},
	} {
		if c, err := New(cfg); err == nil || !strings.Contains(err.Error(), "Barriers") {
			t.Errorf("got %v", err)
			c.Close(t.Context())
		}
	}
	c := open(t, over(nil, newProbe()))
	wantErr(t, c.Clear(t.Context()), ErrUnsupported)
	wantErr(t, c.InvalidateTags(t.Context(), "x"), ErrUnsupported)
	wantErr(t, c.SetWith(t.Context(), "k", "v", SetOptions{Tags: []string{"x"}}), ErrUnsupported)
	local := open(t, Config[string]{})
	local.Set(t.Context(), "k", "v")
	if err := local.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := local.Get(t.Context(), "k")
	wantErr(t, err, ErrMiss)
}

func TestOutbox_OverflowClearsTheNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe()
		c := open(t, barred(nil, p))
		if err := c.Set(t.Context(), "last", "old"); err != nil {
			t.Fatal(err)
		}
		p.on(func(op, _ string) error {
			if op == "delete" || op == "delete-many" {
				return errDown
			}
			return nil
		})
		keys := make([]string, maxOwed)
		for i := range keys {
			keys[i] = fmt.Sprint("key", i)
		}
		wantErr(t, c.Invalidate(t.Context(), keys...), ErrQueued)
		wantErr(t, c.Delete(t.Context(), "last"), ErrQueued) // no room for this one
		p.down(nil)
		time.Sleep(time.Minute)
		_, err := c.Get(t.Context(), "last")
		wantErr(t, err, ErrMiss)
		_, err = open(t, barred(nil, p)).Get(t.Context(), "last")
		wantErr(t, err, ErrMiss)
		if err := c.Set(t.Context(), "last", "new"); err != nil {
			t.Fatal(err)
		}
		v, err := c.Get(t.Context(), "last")
		want(t, v, err, "new")
	})
}
