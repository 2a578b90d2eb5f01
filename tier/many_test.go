package tier

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// manySource is a source that loads in batches.
type manySource struct {
	*source
	batches [][]string
}

func (s *manySource) LoadMany(_ context.Context, keys []string) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, slices.Sorted(slices.Values(keys)))
	if s.err != nil {
		return nil, s.err
	}
	out := map[string]string{}
	for _, k := range keys {
		if v, ok := s.vals[k]; ok {
			out[k] = v
		}
	}
	return out, nil
}

func TestGetMany_AsksEachTierOnceForTheRest(t *testing.T) {
	src := &manySource{source: newSource("a", "1", "b", "2", "c", "3", "d", "4")}
	near, far := newProbe(), newProbe()
	cfg := over(src.source, near, far)
	cfg.Loader = src
	one, two := open(t, cfg), open(t, cfg)
	if _, err := one.GetMany(t.Context(), []string{"a", "b"}); err != nil { // in both tiers and one's L1
		t.Fatal(err)
	}
	if _, err := two.Get(t.Context(), "a"); err != nil { // in two's L1
		t.Fatal(err)
	}
	g1, g2 := near.count("get-many"), far.count("get-many")
	m, err := two.GetMany(t.Context(), []string{"a", "b", "c", "missing", "c"})
	if err != nil || fmt.Sprint(m) != "map[a:1 b:2 c:3]" {
		t.Fatalf("got %v, %v", m, err)
	}
	if near.count("get-many")-g1 != 1 || far.count("get-many")-g2 != 1 {
		t.Errorf("%d reads near, %d far; want one each", near.count("get-many")-g1, far.count("get-many")-g2)
	}
	if got := fmt.Sprint(src.batches); got != "[[a b] [c missing]]" {
		t.Errorf("loaded %v", got)
	}
}

func TestGetMany_FailureNamesItsKeysAndKeepsTheOthers(t *testing.T) {
	src := &manySource{source: newSource("a", "1", "b", "2")}
	cfg := over(src.source, newProbe())
	cfg.Loader = src
	c := open(t, cfg)
	if _, err := c.Get(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	src.fail(errDown)
	m, err := c.GetMany(t.Context(), []string{"a", "b"})
	var many *ManyError
	if !errors.As(err, &many) || len(many.Errs) != 1 || !errors.Is(many.Errs["b"], errDown) || m["a"] != "1" {
		t.Fatalf("got %v, %v", m, err)
	}
	src.fail(nil)
	m, err = c.GetMany(t.Context(), []string{"a", "b"})
	if err != nil || m["b"] != "2" {
		t.Fatalf("the error was kept: %v, %v", m, err)
	}
}

func TestGetMany_JoinsALoadUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &manySource{source: newSource("b", "2")}
		cfg := over(src.source, newProbe())
		cfg.Loader = src
		c := open(t, cfg)
		var wg sync.WaitGroup
		wg.Go(func() {
			v, err := c.GetOrLoad(t.Context(), "a", func(context.Context, string) (string, error) {
				time.Sleep(time.Second)
				return "1", nil
			})
			want(t, v, err, "1")
		})
		synctest.Wait()
		wg.Go(func() {
			m, err := c.GetMany(t.Context(), []string{"a", "b"})
			if err != nil || m["a"] != "1" || m["b"] != "2" {
				t.Errorf("got %v, %v", m, err)
			}
		})
		synctest.Wait()
		wg.Go(func() { // and a single Get joins the batch
			v, err := c.Get(t.Context(), "a")
			want(t, v, err, "1")
		})
		wg.Wait()
		if got := fmt.Sprint(src.batches); got != "[[b]]" {
			t.Errorf("loaded %v, want b alone", got)
		}
	})
}

func TestGetMany_WithoutLoaderTellsMissFromFailure(t *testing.T) {
	p := newProbe()
	c := open(t, over(nil, p))
	c.Set(t.Context(), "a", "1")
	m, err := c.GetMany(t.Context(), []string{"a", "b"})
	if err != nil || len(m) != 1 {
		t.Fatalf("got %v, %v", m, err)
	}
	p.down(errDown)
	m, err = c.GetMany(t.Context(), []string{"a", "b"})
	var many *ManyError
	if !errors.As(err, &many) || !errors.Is(many.Errs["b"], errDown) || m["a"] != "1" {
		t.Fatalf("got %v, %v", m, err)
	}
}

func TestGetMany_RemembersWhatDoesNotExist(t *testing.T) {
	src := &manySource{source: newSource("a", "1")}
	cfg := over(src.source, newProbe())
	cfg.Loader, cfg.NegativeTTL = src, time.Minute
	c := open(t, cfg)
	for range 2 {
		m, err := c.GetMany(t.Context(), []string{"a", "none"})
		if err != nil || len(m) != 1 {
			t.Fatalf("got %v, %v", m, err)
		}
	}
	_, err := c.Get(t.Context(), "none")
	wantErr(t, err, ErrMiss)
	if len(src.batches) != 1 || src.count() != 0 {
		t.Errorf("loaded %v and %d single", src.batches, src.count())
	}
}

func TestGetMany_RefusesAnEmptyKeyAndLeavesNothingInFlight(t *testing.T) {
	c := open(t, over(newSource("a", "1"), newProbe()))
	_, err := c.GetMany(t.Context(), []string{"a", ""})
	wantErr(t, err, ErrEmptyKey)
	v, err := c.Get(t.Context(), "a")
	want(t, v, err, "1")
}

func TestGetMany_PanickingLoaderIsAnErrorOfItsKeys(t *testing.T) {
	c := open(t, over(nil, newProbe()))
	_, err := c.GetOrLoadMany(t.Context(), []string{"a", "b"}, func(context.Context, []string) (map[string]string, error) { panic("boom") })
	var p *PanicError
	if !errors.As(err, &p) {
		t.Fatalf("got %v", err)
	}
}

func TestKeyed_SpeaksTheUsersKeys(t *testing.T) {
	k := NewKeyed(open(t, over(nil, newProbe())), func(id int) string { return fmt.Sprint("user:", id) })
	load := func(_ context.Context, id int) (string, error) { return fmt.Sprint("name of ", id), nil }
	v, err := k.GetOrLoad(t.Context(), 7, load)
	want(t, v, err, "name of 7")
	if err := k.Set(t.Context(), 8, "eight"); err != nil {
		t.Fatal(err)
	}
	m, err := k.GetMany(t.Context(), []int{7, 8, 9})
	if err != nil || len(m) != 2 || m[8] != "eight" {
		t.Errorf("got %v, %v", m, err)
	}
	e, err := k.Lookup(t.Context(), 8)
	want(t, e.Value, err, "eight")
	for _, drop := range []func(context.Context, int) error{k.Delete, k.Invalidate} {
		if err := drop(t.Context(), 8); err != nil {
			t.Fatal(err)
		}
		_, err := k.Get(t.Context(), 8)
		wantErr(t, err, ErrMiss)
	}
	_, err = k.GetOrLoad(t.Context(), 1, nil)
	wantErr(t, err, errNilLoad)
}

func TestKeyed_ManySpeakTheUsersKeys(t *testing.T) {
	k := NewKeyed(open(t, over(nil, newProbe())), func(id int) string { return fmt.Sprint("user:", id) })
	if err := k.SetMany(t.Context(), map[int]string{1: "one", 2: "two"}); err != nil {
		t.Fatal(err)
	}
	var asked []int
	load := func(_ context.Context, ids []int) (map[int]string, error) {
		asked = append(asked, ids...)
		return map[int]string{3: "three"}, nil // there is no 4
	}
	m, err := k.GetOrLoadMany(t.Context(), []int{1, 2, 3, 4, 3}, load)
	if err != nil || !maps.Equal(m, map[int]string{1: "one", 2: "two", 3: "three"}) {
		t.Errorf("got %v, %v", m, err)
	}
	if slices.Sort(asked); !slices.Equal(asked, []int{3, 4}) {
		t.Errorf("%v were loaded", asked)
	}
	v, err := k.Get(t.Context(), 3)
	want(t, v, err, "three")
	_, err = k.GetOrLoadMany(t.Context(), []int{1}, nil)
	wantErr(t, err, errNilLoad)
}
