package tier

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/codec"
)

// fickle is a memory store whose comparing writes lose their answers on request.
type fickle struct {
	*memory.Store
	mu    sync.Mutex
	plans []plan // of the next writes, in order
	seen  int    // comparing writes
	gets  int
}

// plan is what happens to one comparing write.
type plan struct {
	done   bool // it is carried out
	lost   bool // its answer is lost
	before func()
	after  func() // runs after it, before the caller learns anything
}

func newFickle(plans ...plan) *fickle {
	return &fickle{Store: memory.New(memory.Config{}), plans: plans}
}

func (f *fickle) Get(ctx context.Context, key string) (backends.Item, error) {
	f.mu.Lock()
	f.gets++
	f.mu.Unlock()
	return f.Store.Get(ctx, key)
}

func (f *fickle) play(do func() error) error {
	f.mu.Lock()
	f.seen++
	p := plan{done: true}
	if len(f.plans) > 0 {
		p, f.plans = f.plans[0], f.plans[1:]
	}
	f.mu.Unlock()
	if p.before != nil {
		p.before()
	}
	var err error
	if p.done {
		err = do()
	}
	if p.after != nil {
		p.after()
	}
	if p.lost {
		return fmt.Errorf("connection reset: %w", ErrUnknown)
	}
	return err
}

func (f *fickle) Add(ctx context.Context, key string, it backends.Item) error {
	return f.play(func() error { return f.Store.Add(ctx, key, it) })
}

func (f *fickle) CompareAndSwap(ctx context.Context, key string, tok backends.Token, it backends.Item) error {
	return f.play(func() error { return f.Store.CompareAndSwap(ctx, key, tok, it) })
}

func (f *fickle) CompareAndDelete(ctx context.Context, key string, tok backends.Token) error {
	return f.play(func() error { return f.Store.CompareAndDelete(ctx, key, tok) })
}

func (f *fickle) Increment(ctx context.Context, key string, delta, initial int64, ttl time.Duration) (n int64, err error) {
	err = f.play(func() error { n, err = f.Store.Increment(ctx, key, delta, initial, ttl); return err })
	return n, err
}

func counting(s ...backends.Store) Config[int] {
	cfg := Config[int]{Namespace: "t", Jitter: -1, Load: Load{EarlyBeta: -1}}
	for i, s := range s {
		cfg.Remotes = append(cfg.Remotes, Remote{Name: string(rune('a' + i)), Store: s})
	}
	return cfg
}

func plusOne(old int, _ bool) (int, error) { return old + 1, nil }

func TestUpdate_CountsInEveryTierAndHere(t *testing.T) {
	near, far := newProbe(), newProbe()
	a, b := open(t, counting(near, far)), open(t, counting(near, far))
	b.cfg.Local.TTL = time.Nanosecond
	for i := range 20 {
		c := []*Cache[int]{a, b}[i%2]
		v, err := c.Update(t.Context(), "k", plusOne)
		want(t, v, err, i+1)
		v, err = c.Get(t.Context(), "k")
		want(t, v, err, i+1)
		quiet(t, c)
		other := open(t, counting(near, far))
		v, err = other.Get(t.Context(), "k")
		want(t, v, err, i+1)
		quiet(t, other)
		a.forgetL1([]string{"k"})
		b.forgetL1([]string{"k"})
	}
}

func TestUpdate_NoneIsLostAmongManyGoroutines(t *testing.T) {
	for name, cfg := range map[string]Config[int]{"remote": counting(newProbe()), "local": counting()} {
		t.Run(name, func(t *testing.T) {
			c := open(t, cfg)
			var wg sync.WaitGroup
			const n, each = 8, 25
			for range n {
				wg.Go(func() {
					for range each {
						if _, err := c.UpdateWith(context.Background(), "k", plusOne, UpdateOptions{Attempts: 1000}); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			v, err := c.Get(t.Context(), "k")
			want(t, v, err, n*each)
		})
	}
}

func TestUpdate_TwoRoundTripsAndTwoMoreAConflict(t *testing.T) {
	f := newFickle()
	c := open(t, counting(f))
	if _, err := c.Update(t.Context(), "k", plusOne); err != nil || f.gets+f.seen != 2 {
		t.Errorf("%d round trips, %v", f.gets+f.seen, err)
	}
	f.gets, f.seen = 0, 0
	f.plans = []plan{{done: true, before: func() { f.Store.Delete(context.Background(), "t:k") }}}
	v, err := c.Update(t.Context(), "k", plusOne)
	want(t, v, err, 1)
	if f.gets+f.seen != 4 {
		t.Errorf("%d round trips with one conflict", f.gets+f.seen)
	}
}

func TestUpdate_GivesUpWithTheNumberOfAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFickle()
		c, other := open(t, counting(f)), open(t, counting(f.Store))
		f.plans = make([]plan, 5)
		for i := range f.plans {
			f.plans[i] = plan{done: true, before: func() { other.Set(context.Background(), "k", 100+i) }}
		}
		start := time.Now()
		_, err := c.UpdateWith(t.Context(), "k", plusOne, UpdateOptions{Attempts: 3})
		var conflict *ConflictError
		if !errors.As(err, &conflict) || conflict.Attempts != 3 || !errors.Is(err, ErrConflict) {
			t.Fatalf("got %v", err)
		}
		if d := time.Since(start); d < time.Millisecond || d > 4*time.Millisecond {
			t.Errorf("paused %v in all", d)
		}
		v, err := other.Get(t.Context(), "k")
		want(t, v, err, 102)
	})
}

func TestUpdate_DeletesFromWithinAndReturnsErrorsAsTheyAre(t *testing.T) {
	for name, cfg := range map[string]Config[int]{"remote": counting(newProbe(), newProbe()), "local": counting()} {
		t.Run(name, func(t *testing.T) {
			c := open(t, cfg)
			odd := errors.New("odd")
			fail := func(int, bool) (int, error) { return 0, odd }
			_, err := c.Update(t.Context(), "k", fail)
			if err != odd {
				t.Errorf("got %v", err)
			}
			del := func(int, bool) (int, error) { return 7, ErrDelete }
			v, err := c.Update(t.Context(), "k", del)
			want(t, v, err, 0)
			if err := c.Set(t.Context(), "k", 5); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Update(t.Context(), "k", fail); err != odd {
				t.Errorf("got %v", err)
			}
			v, err = c.Get(t.Context(), "k")
			want(t, v, err, 5)
			v, err = c.Update(t.Context(), "k", del)
			want(t, v, err, 0)
			_, err = c.Get(t.Context(), "k")
			wantErr(t, err, ErrMiss)
		})
	}
}

func TestUpdate_KeepsTheLifetimeOrSetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, cfg := range map[string]Config[int]{"remote": counting(newProbe()), "local": counting()} {
			cfg.TTL = 10 * time.Second
			c := open(t, cfg)
			ttl := func(exp time.Duration) {
				t.Helper()
				e, err := c.Lookup(t.Context(), "k")
				if err != nil || e.TTL != exp {
					t.Errorf("%s: %v left, %v; want %v", name, e.TTL, err, exp)
				}
			}
			c.Update(t.Context(), "k", plusOne)
			ttl(10 * time.Second)
			time.Sleep(4 * time.Second)
			c.Update(t.Context(), "k", plusOne)
			ttl(6 * time.Second)
			c.UpdateWith(t.Context(), "k", plusOne, UpdateOptions{TTL: time.Minute})
			ttl(time.Minute)
		}
	})
}

func TestUpdate_SeesTheLoadedRecordAndNothingIsKeptThatWasInvalidated(t *testing.T) {
	for _, far := range []bool{true, false} {
		src := newSource("k", "v1")
		cfg := over(src)
		if far {
			cfg = over(src, newProbe())
		}
		c := open(t, cfg)
		calls := 0
		v, err := c.Update(t.Context(), "k", func(old string, ok bool) (string, error) {
			calls++
			if calls == 1 && far { // the record changes between load and write
				src.set("k", "v2")
				if err := c.Invalidate(t.Context(), "k"); err != nil {
					t.Error(err)
				}
			}
			return old + "+", nil
		})
		exp := "v1+"
		if far {
			exp = "v2+"
		}
		want(t, v, err, exp)
		v, err = c.Get(t.Context(), "k")
		want(t, v, err, exp)
		v, err = c.Update(t.Context(), "none", func(old string, ok bool) (string, error) { return fmt.Sprint(old, ok), nil })
		want(t, v, err, "false")
	}
}

func TestUpdate_LostAnswersAreResolvedByTheMark(t *testing.T) {
	bg := context.Background()
	for _, c := range []struct {
		name, why  string
		plan       func(f *fickle, other *Cache[int]) []plan
		start      int
		idempotent bool
		want       int // of the key at the end
		err        error
	}{
		{name: "carried out", why: "the mark is found", start: 5, want: 6,
			plan: func(*fickle, *Cache[int]) []plan { return []plan{{done: true, lost: true}} }},
		{name: "add carried out", why: "the mark is found", want: 1,
			plan: func(*fickle, *Cache[int]) []plan { return []plan{{done: true, lost: true}} }},
		{name: "not carried out", why: "the version is still the old one", start: 5, want: 6,
			plan: func(*fickle, *Cache[int]) []plan { return []plan{{lost: true}} }},
		{name: "lost three times", why: "all marks are kept", start: 5, want: 6,
			plan: func(*fickle, *Cache[int]) []plan {
				return []plan{{lost: true}, {lost: true}, {done: true, lost: true}}
			}},
		{name: "overwritten", why: "nobody can say whether it took part", start: 5, want: 100, err: ErrUnknown,
			plan: func(_ *fickle, other *Cache[int]) []plan {
				return []plan{{done: true, lost: true, after: func() { other.Set(bg, "k", 100) }}}
			}},
		{name: "overwritten, idempotent", why: "again does no harm", start: 5, want: 101, idempotent: true,
			plan: func(_ *fickle, other *Cache[int]) []plan {
				return []plan{{done: true, lost: true, after: func() { other.Set(bg, "k", 100) }}}
			}},
		{name: "add not carried out", why: "it may come after a second one and a delete", err: ErrUnknown,
			plan: func(*fickle, *Cache[int]) []plan { return []plan{{lost: true}} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFickle()
			cache, other := open(t, counting(f)), open(t, counting(f.Store))
			if c.start != 0 {
				if err := other.Set(t.Context(), "k", c.start); err != nil {
					t.Fatal(err)
				}
			}
			f.plans = c.plan(f, other)
			v, err := cache.UpdateWith(t.Context(), "k", plusOne, UpdateOptions{Idempotent: c.idempotent})
			if !errors.Is(err, c.err) || err == nil && v != c.want || errors.Is(err, ErrConflict) {
				t.Errorf("%s: %d, %v", c.why, v, err)
			}
			if c.want == 0 {
				return
			}
			got, err := open(t, counting(f)).Get(t.Context(), "k")
			want(t, got, err, c.want)
			got, err = cache.Get(t.Context(), "k")
			want(t, got, err, c.want)
		})
	}
}

// An idempotent write may have been carried out before the update failed otherwise.
func TestUpdate_FailureAfterALostIdempotentWriteIsUnknown(t *testing.T) {
	odd := errors.New("odd")
	for name, end := range map[string]error{"conflict": nil, "function ends": odd} {
		t.Run(name, func(t *testing.T) {
			f := newFickle()
			c, other := open(t, counting(f)), open(t, counting(f.Store))
			if err := other.Set(t.Context(), "k", 5); err != nil {
				t.Fatal(err)
			}
			change := func() { other.Set(context.Background(), "k", 100) }
			f.plans = []plan{{done: true, lost: true, after: change}}
			for range 10 {
				f.plans = append(f.plans, plan{done: true, before: change})
			}
			calls := 0
			_, err := c.UpdateWith(t.Context(), "k", func(old int, _ bool) (int, error) {
				if calls++; calls > 1 && end != nil {
					return 0, end
				}
				return old + 1, nil
			}, UpdateOptions{Idempotent: true, Attempts: 2})
			if !errors.Is(err, ErrUnknown) || errors.Is(err, ErrConflict) || end != nil && !errors.Is(err, end) {
				t.Errorf("got %v: the key was written", err)
			}
		})
	}
}

func TestUpdate_LateWriteIsRecognisedAfterTheRetryLost(t *testing.T) {
	f := newFickle()
	c := open(t, counting(f))
	if err := c.Set(t.Context(), "k", 5); err != nil {
		t.Fatal(err)
	}
	calls := 0
	var late func()
	f.plans = []plan{{lost: true}, {done: true, before: func() { late() }}}
	hold := &held{fickle: f, late: &late}
	c.levels[0].caps.CASer = hold
	v, err := c.Update(t.Context(), "k", func(old int, _ bool) (int, error) { calls++; return old + 1, nil })
	want(t, v, err, 6)
	if calls != 2 {
		t.Errorf("fn ran %d times", calls)
	}
}

// held keeps the first write back, to be carried out when late is called.
type held struct {
	*fickle
	late *func()
	once sync.Once
}

func (h *held) CompareAndSwap(ctx context.Context, key string, tok backends.Token, it backends.Item) error {
	h.once.Do(func() {
		*h.late = func() { h.Store.CompareAndSwap(context.Background(), key, tok, it) }
	})
	return h.fickle.CompareAndSwap(ctx, key, tok, it)
}

func TestUpdate_RefusesWhatItCannotKeep(t *testing.T) {
	src, p := &record{source: newSource()}, newProbe()
	_, err := open(t, through(src, p)).Update(t.Context(), "k", func(string, bool) (string, error) { return "", nil })
	wantErr(t, err, ErrUnsupported)
	_, err = open(t, over(nil, plainStore{p})).Update(t.Context(), "k", func(string, bool) (string, error) { return "", nil })
	wantErr(t, err, ErrUnsupported)
	if !strings.Contains(err.Error(), "on a") {
		t.Errorf("%v does not name the tier", err)
	}
	c := open(t, counting(p))
	p.Store.Set(t.Context(), "t:f", backends.Item{Value: []byte("5")})
	_, err = c.Update(t.Context(), "f", plusOne)
	wantErr(t, err, codec.ErrForeign)
	p.Store.DeleteHold(t.Context(), "t:h", time.Minute, 0)
	_, err = c.Update(t.Context(), "h", plusOne)
	wantErr(t, err, backends.ErrHeldOff)
	_, err = c.Update(t.Context(), "", plusOne)
	wantErr(t, err, ErrEmptyKey)
	_, err = c.UpdateWith(t.Context(), "k", plusOne, UpdateOptions{TTL: -1})
	wantErr(t, err, ErrInvalidTTL)
	if _, err = c.Update(t.Context(), "k", nil); err == nil {
		t.Error("a nil function was taken")
	}
	p.down(errDown)
	_, err = c.Update(t.Context(), "k", plusOne)
	if !errors.Is(err, errDown) || errors.Is(err, ErrUnknown) {
		t.Errorf("a read that failed: %v", err)
	}
}

// plainStore hides what a store can do beyond the three methods.
type plainStore struct{ backends.Store }

func TestUpdate_SaysAppliedWhenANearerTierCouldNotBeTold(t *testing.T) {
	near, far := newProbe(), newProbe()
	c := open(t, counting(near, far))
	near.down(errDown)
	v, err := c.Update(t.Context(), "k", plusOne)
	if v != 1 || !errors.Is(err, ErrApplied) || !errors.Is(err, ErrQueued) {
		t.Errorf("got %d, %v", v, err)
	}
	near.down(nil)
	v, err = c.Get(t.Context(), "k")
	want(t, v, err, 1)
}

func TestUpdate_OtherProcessesSeeItThroughTheInvalidator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := memory.New(memory.Config{})
		cfg := counting(p)
		cfg.Local.Invalidator = p
		a, b := open(t, cfg), open(t, cfg)
		synctest.Wait() // the links are up
		for i := range 5 {
			v, err := a.Update(t.Context(), "k", plusOne)
			want(t, v, err, 2*i+1)
			v, err = b.Get(t.Context(), "k")
			want(t, v, err, 2*i+1)
			n, err := b.Increment(t.Context(), "k", 1, IncrementOptions{})
			want(t, n, err, int64(2*i+2))
			v, err = a.Get(t.Context(), "k")
			want(t, v, err, 2*i+2)
		}
	})
}

func TestUpdate_UnknownOutcomeLeavesNothingInL1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, f := newProbe(), newFickle()
		c, other := open(t, counting(near, f)), open(t, counting(f.Store))
		if err := c.Set(t.Context(), "k", 5); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		f.plans = []plan{{done: true, lost: true, after: cancel}}
		_, err := c.Update(ctx, "k", plusOne)
		wantErr(t, err, ErrUnknown)
		synctest.Wait()
		v, err := c.Get(t.Context(), "k")
		want(t, v, err, 6)
		v, err = other.Get(t.Context(), "k")
		want(t, v, err, 6)
	})
}

func TestUpdate_SilentStoreAndEndedContextAreUnknownInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFickle()
		c := open(t, counting(f))
		c.Set(t.Context(), "k", 1)
		free := make(chan struct{})
		f.plans = []plan{{before: func() { <-free }}}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := c.Update(ctx, "k", plusOne)
		if d := time.Since(start); d > 110*time.Millisecond || !errors.Is(err, ErrUnknown) {
			t.Errorf("after %v: %v", d, err)
		}
		close(free)
		synctest.Wait()
	})
}
