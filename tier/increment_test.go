package tier

import (
	"errors"
	"math"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
)

func TestIncrement_CountsAndIsReadByGet(t *testing.T) {
	near, far := newProbe(), newProbe()
	a, b := open(t, counting(near, far)), open(t, counting(near, far))
	n, err := a.Increment(t.Context(), "k", 5, IncrementOptions{Initial: 100})
	want(t, n, err, 105)
	v, err := b.Get(t.Context(), "k")
	want(t, v, err, 105)
	quiet(t, b)
	n, err = b.Decrement(t.Context(), "k", 6, IncrementOptions{})
	want(t, n, err, 99)
	v, err = b.Get(t.Context(), "k")
	want(t, v, err, 99) // L1 and the nearer tier have forgotten
	it, err := far.Store.Get(t.Context(), "t:k")
	if err != nil || string(it.Value) != "99" {
		t.Errorf("stored %q, %v; other clients want to read it", it.Value, err)
	}
}

func TestIncrement_OfAStoredValueGoesByCompareAndSwap(t *testing.T) {
	for name, cfg := range map[string]Config[int]{"remote": counting(newProbe()), "local": counting()} {
		t.Run(name, func(t *testing.T) {
			c := open(t, cfg)
			if err := c.SetWith(t.Context(), "k", 5, SetOptions{TTL: time.Minute}); err != nil {
				t.Fatal(err)
			}
			n, err := c.Increment(t.Context(), "k", 2, IncrementOptions{Initial: 100, TTL: time.Second})
			want(t, n, err, 7)
			e, err := c.Lookup(t.Context(), "k")
			if err != nil || e.Value != 7 || e.TTL < 50*time.Second {
				t.Errorf("got %+v, %v; the lifetime goes on", e, err)
			}
		})
	}
	words := open(t, over(nil, newProbe()))
	words.Set(t.Context(), "k", "five")
	_, err := words.Increment(t.Context(), "k", 1, IncrementOptions{})
	wantErr(t, err, ErrNotNumber)
	_, err = open(t, over(nil)).Increment(t.Context(), "k", 1, IncrementOptions{})
	wantErr(t, err, ErrUnsupported)
}

func TestIncrement_WithBarriersIsCleared(t *testing.T) {
	cfg := counting(newProbe())
	cfg.Barriers.Enabled = true
	c := open(t, cfg)
	c.Increment(t.Context(), "k", 5, IncrementOptions{})
	if err := c.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, err := c.Increment(t.Context(), "k", 2, IncrementOptions{})
	want(t, n, err, 2)
}

func TestIncrement_NewCounterExpiresAndACountedOneKeepsItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, cfg := range map[string]Config[int]{"remote": counting(newProbe()), "local": counting()} {
			c := open(t, cfg)
			o := IncrementOptions{TTL: 10 * time.Second}
			c.Increment(t.Context(), "k", 1, o)
			time.Sleep(6 * time.Second)
			n, err := c.Increment(t.Context(), "k", 1, o)
			want(t, n, err, 2)
			time.Sleep(6 * time.Second)
			n, err = c.Increment(t.Context(), "k", 1, o)
			if n != 1 || err != nil {
				t.Errorf("%s: %d, %v; it had expired", name, n, err)
			}
		}
	})
}

func TestIncrement_LostAnswerIsUnknownAndNeverSentAgain(t *testing.T) {
	f := newFickle(plan{done: true, lost: true})
	c := open(t, counting(f))
	_, err := c.Increment(t.Context(), "k", 1, IncrementOptions{})
	wantErr(t, err, ErrUnknown)
	if f.seen != 1 {
		t.Errorf("sent %d times", f.seen)
	}
	v, err := c.Get(t.Context(), "k")
	want(t, v, err, 1)
}

func TestIncrement_RefusesWhatDoesNotFit(t *testing.T) {
	p := newProbe()
	c := open(t, counting(p))
	_, err := c.Increment(t.Context(), "k", 1, IncrementOptions{Initial: math.MaxInt64})
	wantErr(t, err, ErrNotNumber)
	_, err = c.Decrement(t.Context(), "k", math.MinInt64, IncrementOptions{})
	wantErr(t, err, ErrNotNumber)
	_, err = c.Increment(t.Context(), "k", 1, IncrementOptions{TTL: -1})
	wantErr(t, err, ErrInvalidTTL)
	p.Store.Set(t.Context(), "t:k", backends.Item{Value: []byte(strconv.Itoa(math.MaxInt64))})
	_, err = c.Increment(t.Context(), "k", 1, IncrementOptions{})
	wantErr(t, err, ErrNotNumber)
	small := open(t, Config[int8]{})
	_, err = small.Increment(t.Context(), "k", 128, IncrementOptions{})
	wantErr(t, err, ErrNotNumber)
	src := &record{source: newSource()}
	_, err = open(t, through(src, newProbe())).Increment(t.Context(), "k", 1, IncrementOptions{})
	wantErr(t, err, ErrUnsupported)
}

func TestGet_ReadsPlainDecimalsForIntegersOnly(t *testing.T) {
	p := newProbe()
	type hits uint16
	c := open(t, Config[hits]{Namespace: "t", Remotes: []Remote{{Name: "a", Store: p}}})
	for s, exp := range map[string]hits{"0": 0, "7": 7, "65535": 65535} {
		p.Store.Set(t.Context(), "t:"+s, backends.Item{Value: []byte(s)})
		v, err := c.Get(t.Context(), s)
		want(t, v, err, exp)
	}
	for _, s := range []string{"65536", "-1", "+7", "7 ", "7x", "1e3", "99999999999999999999", "-"} {
		p.Store.Set(t.Context(), "t:"+s, backends.Item{Value: []byte(s)})
		if v, err := c.Get(t.Context(), s); !errors.Is(err, ErrMiss) {
			t.Errorf("%q was read as %d, %v", s, v, err)
		}
	}
	p.Store.Set(t.Context(), "t:w", backends.Item{Value: []byte("7")})
	_, err := open(t, over(nil, p)).Get(t.Context(), "w")
	wantErr(t, err, ErrMiss)
}
