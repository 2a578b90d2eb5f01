package backends_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
)

// blurred is a memory store whose comparing writes lose answers on request, and which can make
// its tokens values, as Redis has them.
type blurred struct {
	*memory.Store
	values bool
	plans  []func(do func() error) error // of the next comparing writes
	tried  int
}

func (b *blurred) token(it backends.Item, err error) (backends.Item, error) {
	if b.values && err == nil {
		it.Token = backends.ValueToken(string(it.Value))
	}
	return it, err
}

func (b *blurred) Get(ctx context.Context, key string) (backends.Item, error) {
	return b.token(b.Store.Get(ctx, key))
}

func (b *blurred) GetTTL(ctx context.Context, key string) (backends.Item, error) {
	return b.token(b.Store.GetTTL(ctx, key))
}

func (b *blurred) play(do func() error) error {
	b.tried++
	if len(b.plans) == 0 {
		return do()
	}
	p := b.plans[0]
	b.plans = b.plans[1:]
	return p(do)
}

func (b *blurred) Add(ctx context.Context, key string, it backends.Item) error {
	return b.play(func() error { return b.Store.Add(ctx, key, it) })
}

func (b *blurred) CompareAndSwap(ctx context.Context, key string, tok backends.Token, it backends.Item) error {
	return b.play(func() error {
		if b.values {
			now, _ := b.Store.Get(ctx, key)
			tok = now.Token
		}
		return b.Store.CompareAndSwap(ctx, key, tok, it)
	})
}

func plus(old []byte, ok bool) ([]byte, error) {
	if !ok {
		return []byte("1"), nil
	}
	n, err := strconv.Atoi(string(old))
	return strconv.AppendInt(nil, int64(n+1), 10), err
}

// The ways in which an answer is lost.
func lostDone(do func() error) error { _ = do(); return backends.ErrUnknown }
func lostUndone(func() error) error  { return backends.ErrUnknown }

func TestUpdate_PlainValuesAreCountedByManyWithoutALoss(t *testing.T) {
	s := memory.New(memory.Config{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				if _, err := backends.Update(context.Background(), s, "k", plus, backends.UpdateOptions{Attempts: 1000}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if it, err := s.Get(t.Context(), "k"); string(it.Value) != "200" {
		t.Errorf("counted %q, %v", it.Value, err)
	}
}

func TestUpdate_LostAnswerIsUnknownUnlessTheVersionTells(t *testing.T) {
	for _, c := range []struct {
		name   string
		values bool
		absent bool
		idem   bool
		plan   func(func() error) error
		want   string // "" = ErrUnknown
	}{
		{name: "counted version, not carried out: again", plan: lostUndone, want: "6"},
		{name: "counted version, carried out", plan: lostDone},
		{name: "counted version, carried out, idempotent", plan: lostDone, idem: true, want: "7"},
		{name: "value as version: it may come back", values: true, plan: lostUndone},
		{name: "value as version, idempotent", values: true, plan: lostUndone, idem: true, want: "6"},
		{name: "added: it may come after a delete", absent: true, plan: lostUndone},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &blurred{Store: memory.New(memory.Config{}), values: c.values, plans: []func(func() error) error{c.plan}}
			if !c.absent {
				if err := b.Set(t.Context(), "k", backends.Item{Value: []byte("5")}); err != nil {
					t.Fatal(err)
				}
			}
			v, err := backends.Update(t.Context(), b, "k", plus, backends.UpdateOptions{Idempotent: c.idem})
			if string(v) != c.want || (c.want == "") != errors.Is(err, backends.ErrUnknown) {
				t.Errorf("got %q, %v", v, err)
			}
			if errors.Is(err, backends.ErrConflict) {
				t.Errorf("%v claims that nothing was written", err)
			}
		})
	}
}

// An idempotent write may have been carried out before the update failed otherwise.
func TestUpdate_FailureAfterALostIdempotentWriteIsUnknown(t *testing.T) {
	odd := errors.New("odd")
	changed := func(b *blurred) func(func() error) error {
		return func(do func() error) error {
			b.Store.Set(context.Background(), "k", backends.Item{Value: []byte("100")})
			return do()
		}
	}
	for name, c := range map[string]struct {
		then func(b *blurred) func(func() error) error
		fail bool // fn does, when it is called again
		want error
	}{
		"conflict":      {then: changed},
		"store fails":   {then: func(*blurred) func(func() error) error { return func(func() error) error { return odd } }, want: odd},
		"function ends": {fail: true, want: odd},
	} {
		t.Run(name, func(t *testing.T) {
			b := &blurred{Store: memory.New(memory.Config{})}
			b.Set(t.Context(), "k", backends.Item{Value: []byte("5")})
			b.plans = append(b.plans, lostDone)
			if c.then != nil {
				b.plans = append(b.plans, c.then(b))
			}
			calls := 0
			_, err := backends.Update(t.Context(), b, "k", func(old []byte, ok bool) ([]byte, error) {
				if calls++; calls > 1 && c.fail {
					return nil, odd
				}
				return plus(old, ok)
			}, backends.UpdateOptions{Idempotent: true, Attempts: 2})
			if !errors.Is(err, backends.ErrUnknown) || errors.Is(err, backends.ErrConflict) || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v: the key was written", err)
			}
		})
	}
}

func TestUpdate_KeepsLifetimeAndFlagsAndDeletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Config{})
		s.Set(t.Context(), "k", backends.Item{Value: []byte("5"), TTL: 10 * time.Second, Flags: 7})
		time.Sleep(4 * time.Second)
		if v, err := backends.Update(t.Context(), s, "k", plus, backends.UpdateOptions{}); string(v) != "6" {
			t.Fatal(err)
		}
		if it, err := s.GetTTL(t.Context(), "k"); it.TTL != 6*time.Second || it.Flags != 7 {
			t.Errorf("%+v, %v", it, err)
		}
		backends.Update(t.Context(), s, "k", plus, backends.UpdateOptions{TTL: time.Minute})
		if it, err := s.GetTTL(t.Context(), "k"); it.TTL != time.Minute {
			t.Errorf("%+v, %v", it, err)
		}
		gone := func([]byte, bool) ([]byte, error) { return nil, backends.ErrDelete }
		for range 2 {
			if v, err := backends.Update(t.Context(), s, "k", gone, backends.UpdateOptions{}); v != nil || err != nil {
				t.Errorf("%q, %v", v, err)
			}
		}
		if _, err := s.Get(t.Context(), "k"); !errors.Is(err, backends.ErrMiss) {
			t.Errorf("after the delete: %v", err)
		}
	})
}

func TestUpdate_GivesUpAndRefuses(t *testing.T) {
	b := &blurred{Store: memory.New(memory.Config{})}
	for i := range 3 {
		b.plans = append(b.plans, func(do func() error) error {
			b.Store.Set(context.Background(), "k", backends.Item{Value: []byte(strconv.Itoa(i))})
			return do()
		})
	}
	_, err := backends.Update(t.Context(), b, "k", plus, backends.UpdateOptions{Attempts: 3})
	var conflict *backends.ConflictError
	if !errors.As(err, &conflict) || conflict.Attempts != 3 || !errors.Is(err, backends.ErrConflict) || b.tried != 3 {
		t.Errorf("after %d: %v", b.tried, err)
	}
	odd := errors.New("odd")
	if _, err := backends.Update(t.Context(), b, "k", func([]byte, bool) ([]byte, error) { return nil, odd }, backends.UpdateOptions{}); err != odd {
		t.Errorf("fn's error came back as %v", err)
	}
	for want, o := range map[error]backends.UpdateOptions{backends.ErrInvalidTTL: {TTL: -1}} {
		if _, err := backends.Update(t.Context(), b, "k", plus, o); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	plain := struct{ backends.Store }{b}
	if _, err := backends.Update(t.Context(), plain, "k", plus, backends.UpdateOptions{}); !errors.Is(err, backends.ErrUnsupported) {
		t.Errorf("a store that cannot compare: %v", err)
	}
	b.Store.DeleteHold(t.Context(), "h", time.Minute, 0)
	if _, err := backends.Update(t.Context(), b, "h", plus, backends.UpdateOptions{}); !errors.Is(err, backends.ErrHeldOff) {
		t.Errorf("a key that is held off: %v", err)
	}
}

// A list of the last visitors, kept as a plain value that programs in other languages change too.
func ExampleUpdate() {
	ctx := context.Background()
	s := memory.New(memory.Config{})
	for _, name := range []string{"ada", "grace"} {
		v, err := backends.Update(ctx, s, "visitors", func(old []byte, ok bool) ([]byte, error) {
			if !ok {
				return []byte(name), nil
			}
			return append([]byte(name+" "), old...), nil
		}, backends.UpdateOptions{TTL: time.Hour})
		fmt.Println(string(v), err)
	}
	// Output:
	// ada <nil>
	// grace ada <nil>
}
