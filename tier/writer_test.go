package tier

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hearthcache/hearth/internal/fence"
)

// record is a source of record that can be written to.
type record struct {
	*source
	before func(Mutation[string]) error // runs before the write; its error refuses or hides it
	wmu    sync.Mutex
	order  []string
}

func (r *record) Write(_ context.Context, ms []Mutation[string]) error {
	errs := make([]error, len(ms))
	bad := false
	for i, m := range ms {
		if r.before != nil {
			errs[i] = r.before(m)
		}
		if errs[i] != nil && !errors.Is(errs[i], ErrUnknown) {
			bad = true
			continue
		}
		r.wmu.Lock()
		r.mu.Lock()
		if m.Delete {
			delete(r.vals, m.Key)
		} else {
			r.vals[m.Key] = m.Value
		}
		r.mu.Unlock()
		r.order = append(r.order, m.Key+"="+m.Value)
		r.wmu.Unlock()
		bad = bad || errs[i] != nil
	}
	if bad {
		return &WriteError{Errs: errs}
	}
	return nil
}

func through(src *record, p *probe) Config[string] {
	cfg := over(src.source, p)
	cfg.Writer = src
	return cfg
}

func TestSet_ThroughAWriterReachesSourceAndTiers(t *testing.T) {
	src, p := &record{source: newSource()}, newProbe()
	c := open(t, through(src, p))
	if err := c.Set(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	other := open(t, over(nil, p))
	v, err := other.Get(t.Context(), "k")
	want(t, v, err, "v")
	if src.vals["k"] != "v" {
		t.Errorf("the source has %q", src.vals["k"])
	}
	if err := c.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	_, err = c.Get(t.Context(), "k")
	wantErr(t, err, ErrMiss)
	if _, ok := src.vals["k"]; ok {
		t.Error("the source still has it")
	}
}

func TestSet_RefusedByTheSourceChangesNothing(t *testing.T) {
	refused := errors.New("constraint violated")
	src, p := &record{source: newSource("k", "old")}, newProbe()
	c := open(t, through(src, p))
	if _, err := c.Get(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	src.before = func(Mutation[string]) error { return refused }
	wantErr(t, c.Set(t.Context(), "k", "new"), refused)
	wantErr(t, c.Delete(t.Context(), "k"), refused)
	v, err := c.Get(t.Context(), "k")
	want(t, v, err, "old")
}

func TestSet_UnknownOutcomeDeletesInsteadOfFilling(t *testing.T) {
	src, p := &record{source: newSource("k", "old")}, newProbe()
	c := open(t, through(src, p))
	if _, err := c.Get(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	src.before = func(Mutation[string]) error { return ErrUnknown } // it does arrive
	wantErr(t, c.Set(t.Context(), "k", "new"), ErrUnknown)
	v, err := c.Get(t.Context(), "k")
	want(t, v, err, "new") // loaded, not assumed
	if src.count() != 2 {
		t.Errorf("%d loads, want 2", src.count())
	}
}

// raceWriters lets process a write the source before process b and the cache after it; it
// returns what the cache holds at the end, "" for nothing.
func raceWriters(t *testing.T) string {
	src, p := &record{source: newSource()}, newProbe()
	aWrote, bDone := make(chan struct{}), make(chan struct{})
	slow := &record{source: src.source}
	a, b := open(t, through(slow, p)), open(t, through(src, p))
	p.on(func(op, key string) error { return nil })
	var wg sync.WaitGroup
	wg.Go(func() {
		w := &lateWriter{record: slow, wrote: aWrote, goOn: bDone}
		a.cfg.Writer = w
		a.Set(context.Background(), "k", "a")
	})
	<-aWrote
	if err := b.Set(t.Context(), "k", "b"); err != nil {
		t.Fatal(err)
	}
	close(bDone)
	wg.Wait()
	v, _ := open(t, over(nil, p)).Get(t.Context(), "k")
	return v
}

// lateWriter writes, then lets somebody else overtake it before it returns.
type lateWriter struct {
	*record
	wrote, goOn chan struct{}
}

func (w *lateWriter) Write(ctx context.Context, ms []Mutation[string]) error {
	err := w.record.Write(ctx, ms)
	close(w.wrote)
	<-w.goOn
	return err
}

func TestSet_LoserOfARaceDoesNotStayInTheCache(t *testing.T) {
	if v := raceWriters(t); v == "a" {
		t.Errorf("the cache holds %q, the source b", v)
	}
}

func TestSet_WithoutSeizingTheLoserStays(t *testing.T) {
	defer fence.Remove(fence.Seize)()
	if v := raceWriters(t); v != "a" {
		t.Errorf("got %q: this test cannot see the race", v)
	}
}

// later is a Writer that accepts and applies when told.
type later struct {
	mu      sync.Mutex
	pending map[string]Mutation[string]
	applied func(context.Context, []Mutation[string]) error
	src     *source
}

func (l *later) Write(_ context.Context, ms []Mutation[string]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range ms {
		l.pending[m.Key] = m
	}
	return nil
}

func (l *later) Pending(key string) (Mutation[string], bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m, ok := l.pending[key]
	return m, ok
}

func (l *later) OnApplied(fn func(context.Context, []Mutation[string]) error) { l.applied = fn }

func (l *later) apply(t *testing.T) {
	for _, m := range l.pending {
		if m.Delete {
			delete(l.src.vals, m.Key)
		} else {
			l.src.set(m.Key, m.Value)
		}
		if err := l.applied(t.Context(), []Mutation[string]{m}); err != nil {
			t.Fatal(err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.pending)
}

func TestGet_ReadsWhatADeferringWriterHasAccepted(t *testing.T) {
	src, p := newSource("k", "old", "gone", "x"), newProbe()
	l := &later{pending: map[string]Mutation[string]{}, src: src}
	cfg := over(src, p)
	cfg.Writer = l
	c := open(t, cfg)
	other := open(t, over(src, p))
	for _, k := range []string{"k", "gone"} {
		if _, err := c.Get(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Set(t.Context(), "k", "new"); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		v, err := c.Get(t.Context(), "k")
		want(t, v, err, "new")
		_, err = c.Get(t.Context(), "gone")
		wantErr(t, err, ErrMiss)
		m, err := c.GetMany(t.Context(), []string{"k", "gone"})
		if err != nil || len(m) != 1 || m["k"] != "new" {
			t.Errorf("GetMany: %v, %v", m, err)
		}
	}
	check()
	v, err := other.Get(t.Context(), "k")
	want(t, v, err, "old") // other processes see it when it is applied
	l.apply(t)
	check()
	v, err = open(t, over(src, p)).Get(t.Context(), "k")
	want(t, v, err, "new")
}

// ttls is a Writer that keeps the lifetimes it is given.
type ttls map[string]time.Duration

func (w ttls) Write(_ context.Context, ms []Mutation[string]) error {
	for _, m := range ms {
		w[m.Key] = m.TTL
	}
	return nil
}

func TestSet_TellsTheWriterTheRecordsLifetimeAndNotTheCaches(t *testing.T) {
	w := ttls{}
	cfg := over(newSource(), newProbe())
	cfg.Writer, cfg.TTL = w, time.Minute
	c := open(t, cfg)
	if err := c.Set(t.Context(), "plain", "v"); err != nil {
		t.Fatal(err)
	}
	if err := c.SetWith(t.Context(), "short", "v", SetOptions{TTL: time.Second}); err != nil {
		t.Fatal(err)
	}
	if err := c.SetMany(t.Context(), map[string]string{"many": "v"}); err != nil {
		t.Fatal(err)
	}
	if w["plain"] != 0 || w["many"] != 0 || w["short"] != time.Second {
		t.Errorf("got %v", w)
	}
}

// overtaking is a later that has something happen after its first answer.
type overtaking struct {
	*later
	then func()
}

func (o *overtaking) Pending(key string) (Mutation[string], bool) {
	m, ok := o.later.Pending(key)
	if then := o.then; then != nil {
		o.then = nil
		then()
	}
	return m, ok
}

func TestGet_OvertakenByAnAcceptedWriteLeavesNothingInL1(t *testing.T) {
	src, p := newSource("k", "old"), newProbe()
	w := &overtaking{later: &later{pending: map[string]Mutation[string]{}, src: src}}
	cfg := over(src, p)
	cfg.Writer = w
	c := open(t, cfg)
	w.then = func() {
		if err := c.Set(t.Context(), "k", "new"); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Get(t.Context(), "k"); err != nil { // began before the Set: either value is right
		t.Fatal(err)
	}
	v, err := c.Get(t.Context(), "k")
	want(t, v, err, "new")
	w.apply(t)
	v, err = c.Get(t.Context(), "k")
	want(t, v, err, "new")
}

// choosy is a later that refuses some keys, and cannot tell what became of others.
type choosy struct {
	*later
	refuse map[string]error
}

func (w choosy) Write(ctx context.Context, ms []Mutation[string]) error {
	errs := make([]error, len(ms))
	for i, m := range ms {
		if errs[i] = w.refuse[m.Key]; errs[i] == nil {
			errs[i] = w.later.Write(ctx, []Mutation[string]{m})
		}
	}
	return batchError(errs)
}

func TestSet_RefusedByADeferringWriterLeavesL1AsItIs(t *testing.T) {
	full := errors.New("queue full")
	for _, tc := range []struct {
		name string
		set  func(c *Cache[string]) error
	}{
		{"one at a time", func(c *Cache[string]) error {
			var errs []error
			for _, k := range []string{"refused", "unknown", "taken"} {
				errs = append(errs, c.Set(t.Context(), k, "new"))
			}
			return errors.Join(errs...)
		}},
		{"many at once", func(c *Cache[string]) error {
			return c.SetMany(t.Context(), map[string]string{"refused": "new", "unknown": "new", "taken": "new"})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src, p := newSource("refused", "old", "unknown", "old", "taken", "old"), newProbe()
			l := &later{pending: map[string]Mutation[string]{}, src: src}
			cfg := over(src, p)
			cfg.Writer = choosy{l, map[string]error{"refused": full, "unknown": ErrUnknown}}
			c := open(t, cfg)
			if _, err := c.GetMany(t.Context(), []string{"refused", "unknown", "taken"}); err != nil {
				t.Fatal(err)
			}
			err := tc.set(c)
			wantErr(t, err, full)
			wantErr(t, err, ErrUnknown)
			for k, from := range map[string]string{"refused": "L1", "unknown": "a", "taken": "pending"} {
				e, err := c.Lookup(t.Context(), k)
				if err != nil || e.Source != from {
					t.Errorf("%s: from %q, %v; want it from %q", k, e.Source, err, from)
				}
			}
		})
	}
}
