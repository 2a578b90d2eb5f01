package tier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// everything is what a publisher notes of a PublishFlush.
const everything = "*"

// publisher is an Invalidator that fails, waits and notes as the test says. It hears nothing.
type publisher struct {
	deaf
	mu    sync.Mutex
	err   error
	stall bool // publishing takes until its ctx ends, or a quarter of a second
	said  []string
	calls int
	then  func() // before the answer
}

func (p *publisher) Publish(ctx context.Context, keys []string) error { return p.say(ctx, keys) }

func (p *publisher) PublishFlush(ctx context.Context) error {
	return p.say(ctx, []string{everything})
}

func (p *publisher) say(ctx context.Context, what []string) error {
	p.mu.Lock()
	p.calls++
	err, stall, then := p.err, p.stall, p.then
	p.mu.Unlock()
	if then != nil {
		then()
	}
	if stall {
		ctx, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
		defer cancel()
		<-ctx.Done()
		return fmt.Errorf("publish: %w", ctx.Err())
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = append(p.said, what...)
	return nil
}

// fails sets what becomes of publishing from now on.
func (p *publisher) fails(err error, stall bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.stall = err, stall
}

// answers has then called before each answer from now on.
func (p *publisher) answers(then func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.then = then
}

// heard returns what got through since the last call, sorted.
func (p *publisher) heard() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.said
	p.said = nil
	slices.Sort(out)
	return out
}

func (p *publisher) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

var errCut = errors.New("the bus is cut off")

func telling(inv backends.Invalidator, p *probe) Config[string] {
	cfg := over(nil, p)
	cfg.Namespace = "ns"
	cfg.Local.Invalidator = inv
	return cfg
}

// changes are the calls after which other processes are told.
var changes = map[string]func(context.Context, *Cache[string]) error{
	"Delete":     func(ctx context.Context, c *Cache[string]) error { return c.Delete(ctx, "k") },
	"Invalidate": func(ctx context.Context, c *Cache[string]) error { return c.Invalidate(ctx, "k") },
	"Set":        func(ctx context.Context, c *Cache[string]) error { return c.Set(ctx, "k", "new") },
	"SetMany": func(ctx context.Context, c *Cache[string]) error {
		return c.SetMany(ctx, map[string]string{"k": "new"})
	},
	"Update": func(ctx context.Context, c *Cache[string]) error {
		_, err := c.Update(ctx, "k", func(string, bool) (string, error) { return "new", nil })
		return err
	},
}

func TestLink_OthersAreToldAfterTheCallerHasLeft(t *testing.T) {
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inv, p := &publisher{}, newProbe()
				c := open(t, telling(inv, p))
				if err := c.Set(t.Context(), "k", "old"); err != nil {
					t.Fatal(err)
				}
				inv.heard()
				ctx, cancel := context.WithCancel(t.Context())
				inv.answers(cancel) // the tiers know, and the others are about to be told
				err := change(ctx, c)
				wantErr(t, err, ErrUntold)
				wantErr(t, err, context.Canceled)
				if errors.Is(err, ErrQueued) {
					t.Errorf("got %v: the tier has taken it", err)
				}
				synctest.Wait()
				if got := inv.heard(); !slices.Equal(got, []string{"ns:k"}) {
					t.Errorf("others heard %q", got)
				}
				// Nor need the call have come as far as that.
				_ = change(ctx, c)
				synctest.Wait()
				if got := inv.heard(); len(got) == 0 && name != "Update" {
					t.Error("others heard nothing of a call whose ctx had ended before")
				}
			})
		})
	}
}

// Another process reads the old value where the delete is owed, and keeps it.
func TestOutbox_OthersAreToldOfALateDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cut, whole := newProbe(), newProbe()
		cut.Store = whole.Store // one server, which only one of the two cannot reach
		la, lb := newLink(), newLink()
		la.others = []*fakeLink{lb}
		src := newSource("k", "old")
		a, b := open(t, linked(la, src, cut)), open(t, linked(lb, src, whole))
		la.up()
		lb.up()
		_, err := b.Get(t.Context(), "k")
		wantErr(t, err, nil)
		cut.down(errDown)
		src.set("k", "new")
		wantErr(t, a.Invalidate(t.Context(), "k"), ErrQueued)
		v, err := b.Get(t.Context(), "k")
		want(t, v, err, "old") // as documented, while it is owed
		cut.down(nil)
		time.Sleep(2 * deliverLast)
		synctest.Wait()
		v, err = b.Get(t.Context(), "k")
		want(t, v, err, "new")
	})
}

func TestLink_WhatCouldNotBeToldIsToldUntilItGetsThrough(t *testing.T) {
	for _, c := range []struct {
		name string
		n    int
		want func(i int) string
	}{
		{"some keys", 3, func(i int) string { return fmt.Sprint("ns:", i) }},
		{"more than one batch", 2*drainBatch + 1, func(i int) string { return fmt.Sprint("ns:", i) }},
		{"more than is kept", maxUntold + 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inv := &publisher{err: errCut}
				cache := open(t, telling(inv, newProbe()))
				wanted := []string{everything}
				if c.want != nil {
					wanted = nil
				}
				for i := range c.n {
					err := cache.Set(t.Context(), fmt.Sprint(i), "v")
					wantErr(t, err, ErrUntold)
					wantErr(t, err, errCut)
					if c.want != nil {
						wanted = append(wanted, c.want(i))
					}
				}
				slices.Sort(wanted)
				before := inv.count()
				time.Sleep(time.Minute)
				if n := inv.count() - before; n < 10 || n > 60 {
					t.Errorf("%d attempts in a minute; they are to become seldom and not to end", n)
				}
				inv.fails(nil, false)
				time.Sleep(deliverLast)
				if got := inv.heard(); !slices.Equal(got, wanted) {
					t.Errorf("others heard of %d keys, want %d", len(got), len(wanted))
				}
				before = inv.count()
				time.Sleep(time.Minute)
				if n := inv.count() - before; n != 0 {
					t.Errorf("%d attempts when nothing was owed", n)
				}
			})
		})
	}
}

// What changes while it is told again is owed anew, not settled with what was said before it.
func TestLink_AKeyThatChangesWhileItIsToldIsToldOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inv := &publisher{err: errCut}
		c := open(t, telling(inv, newProbe()))
		wantErr(t, c.Delete(t.Context(), "k"), ErrUntold)
		synctest.Wait()
		inv.fails(nil, false)
		inv.answers(sync.OnceFunc(func() { c.tellLater([]string{"k"}) }))
		time.Sleep(time.Minute)
		if got := inv.heard(); !slices.Equal(got, []string{"ns:k", "ns:k"}) {
			t.Errorf("others heard %q, want it twice", got)
		}
	})
}

func TestClose_OthersAreToldOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inv := &publisher{err: errCut}
		c := open(t, telling(inv, newProbe()))
		wantErr(t, c.Delete(t.Context(), "k"), ErrUntold)
		synctest.Wait() // it waits for its next attempt
		inv.fails(nil, false)
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if got := inv.heard(); !slices.Equal(got, []string{"ns:k"}) {
			t.Errorf("others heard %q", got)
		}
	})
}

func TestClose_DoesNotWaitForAnInvalidatorThatIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inv := &publisher{stall: true}
		c := open(t, telling(inv, newProbe()))
		wantErr(t, c.Delete(t.Context(), "k"), ErrUntold)
		start := time.Now()
		if err := c.Close(t.Context()); err != nil || time.Since(start) > tellLast {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

// The tiers have taken the change: neither the Writer's word nor a tier's.
func TestDelete_AFailureToTellOthersIsNamed(t *testing.T) {
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			inv, p := &publisher{}, newProbe()
			c := open(t, telling(inv, p))
			if err := c.Set(t.Context(), "k", "old"); err != nil {
				t.Fatal(err)
			}
			inv.fails(errCut, false)
			err := change(t.Context(), c)
			wantErr(t, err, ErrUntold)
			wantErr(t, err, errCut)
			if errors.Is(err, ErrQueued) || errors.Is(err, ErrUnknown) || (name == "Update") != errors.Is(err, ErrApplied) {
				t.Errorf("got %v", err)
			}
			it, err := p.Store.Get(t.Context(), "ns:k")
			if name == "Delete" || name == "Invalidate" {
				wantErr(t, err, ErrMiss)
			} else if err != nil || len(it.Value) == 0 {
				t.Errorf("the tier has %v", err)
			}
		})
	}
}

// A source that nobody answers costs a few writes its time, not every one for as long as that lasts.
func TestLink_ASourceThatDoesNotAnswerIsNotWaitedForByEveryWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inv := &publisher{stall: true}
		c := open(t, telling(inv, newProbe()))
		start := time.Now()
		for i := range 1000 {
			wantErr(t, c.Set(t.Context(), fmt.Sprint(i), "v"), ErrUntold)
		}
		if took := time.Since(start); took > maxSlow*250*time.Millisecond {
			t.Errorf("1000 writes waited for %v", took)
		}
		inv.fails(nil, false)
		time.Sleep(2 * deliverLast)
		if got := inv.heard(); len(got) != 1000 {
			t.Errorf("others heard of %d keys of 1000", len(got))
		}
		if err := c.Set(t.Context(), "k", "v"); err != nil {
			t.Errorf("the source answers again, and a write says %v", err)
		}
	})
}

// several publishes through others.
type several struct {
	deaf
	each []backends.Invalidator
}

func (s several) Publishers() []backends.Invalidator { return s.each }

func TestLink_OfSeveralSourcesOnlyTheOneThatFailedIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, bad := &publisher{}, &publisher{err: errCut}
		c := open(t, telling(several{each: []backends.Invalidator{good, bad}}, newProbe()))
		wantErr(t, c.Delete(t.Context(), "k"), ErrUntold)
		time.Sleep(time.Minute)
		if good.count() != 1 || bad.count() < 10 {
			t.Errorf("the good one was told %d times, the other one %d times", good.count(), bad.count())
		}
		bad.fails(nil, false)
		time.Sleep(deliverLast)
		if got := bad.heard(); !slices.Equal(got, []string{"ns:k"}) {
			t.Errorf("the other one passed on %q", got)
		}
	})
}

func TestClear_OfACacheWithoutRemotesTellsOthers(t *testing.T) {
	inv := &publisher{}
	c := open(t, Config[string]{Local: Local[string]{Invalidator: inv}})
	if err := c.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := inv.heard(); !slices.Equal(got, []string{everything}) {
		t.Errorf("others heard %q", got)
	}
	inv.fails(errCut, false)
	wantErr(t, c.Clear(t.Context()), ErrUntold)
}

// That others could not be told is no reason to clear the namespace again and again.
func TestOutbox_OverflowClearsOnceWhileOthersCannotBeTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe()
		cfg := barred(nil, p)
		cfg.Local.Invalidator = &publisher{err: errCut}
		c := open(t, cfg)
		o := c.levels[0].owed
		o.mu.Lock()
		o.lost = time.Now()
		o.note()
		o.mu.Unlock()
		o.alarm()
		time.Sleep(time.Minute)
		if !o.overflowed().IsZero() || c.levels[0].barred("x") != nil {
			t.Error("the tier is still not read")
		}
	})
}
