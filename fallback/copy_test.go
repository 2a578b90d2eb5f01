package fallback

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/codec"
)

// A popular key is copied once, not at each read; but whatever may have taken the copy away makes
// the next read begin another.
func TestCopy_BeginsAgainWhenTheKeyWasToBeForgotten(t *testing.T) {
	for _, op := range []struct {
		name string
		call backendtest.Op // that it makes of new
		do   func(ctx context.Context, s *Store) error
	}{
		{"delete", backendtest.OpDelete, func(ctx context.Context, s *Store) error { return s.Delete(ctx, "k") }},
		{"delete-many", backendtest.OpDeleteMany, func(ctx context.Context, s *Store) error { return first(s.DeleteMany(ctx, []string{"k"})...) }},
		{"set-many", backendtest.OpDeleteMany, func(ctx context.Context, s *Store) error {
			return first(s.SetMany(ctx, []backends.KeyItem{{Key: "k", Item: text("other")}})...)
		}},
		{"hold-off", backendtest.OpDeleteHold, func(ctx context.Context, s *Store) error { return s.DeleteHold(ctx, "k", time.Second, 0) }},
		{"seize", backendtest.OpSeize, func(ctx context.Context, s *Store) error {
			l, err := s.Seize(ctx, "k", time.Second)
			if err != nil {
				return err
			}
			return l.Release(ctx)
		}},
	} {
		for _, fails := range []bool{false, true} {
			name := op.name
			if fails {
				name += ", which new misses at first"
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPair(t, PhaseMirror)
					defer p.s.Close()
					p.put(p.old, "k", "v")
					p.gets("k", "v")
					synctest.Wait()
					p.holds(p.fresh, "k", "v")
					p.n.ResetCalls()
					p.gets("k", "v")
					synctest.Wait()
					if n := p.n.Calls(); n > 0 {
						t.Errorf("new was asked %d times at the next read", n)
					}
					if fails {
						p.n.Inject(backendtest.Fault{Op: op.call})
					}
					if err := op.do(t.Context(), p.s); (err != nil) != fails {
						t.Errorf("got %v", err)
					}
					if fails { // a read in between finds the old copy, or makes one, which is then taken away
						p.put(p.old, "k", "w")
						p.gets("k", "w")
					}
					time.Sleep(3 * time.Second) // what is owed is delivered, holds are over
					p.put(p.old, "k", "w")
					p.gets("k", "w")
					synctest.Wait()
					p.holds(p.fresh, "k", "w")
				})
			})
		}
	}
}

// A copy whose lease was lost to a change is none, also for those who wait for it.
func TestCopy_BeginsAgainWhenItsLeaseWasLost(t *testing.T) {
	for _, joins := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var p *pair
			p = newPair(t, PhaseMirror, func(c *Config) {
				c.Observer = func(e Event) {
					if joins && e.Kind == EventCopyFailed {
						p.gets("k", "w") // begins a copy, which joins the one that has just failed
						time.Sleep(time.Millisecond)
					}
				}
			})
			defer p.s.Close()
			other := must(t, Config{New: Member{Store: p.fresh}, Old: []Member{{Store: p.old}}, Phase: PhaseMirror, MaxCopies: -1})
			defer other.Close()
			var once sync.Once
			p.o.Before(func(op backendtest.Op, _ string) {
				if op == backendtest.OpGetTTL { // the copy has its lease and is about to read old
					once.Do(func() { p.ok(other.Set(context.Background(), "k", text("w"))) })
				}
			})
			p.put(p.old, "k", "v")
			p.gets("k", "v")
			time.Sleep(time.Second)
			if n := p.s.Progress().CopyFailures; n != 1 {
				t.Fatalf("%d copies lost their lease, want 1", n)
			}
			p.gets("k", "w")
			synctest.Wait()
			p.holds(p.fresh, "k", "w")
		})
	}
}

// Whoever retires old while a copy is under way finds the key leased, and waits for the copy as
// for any loader. It is no plain miss, which would send everybody to the source.
func TestRetire_ACopyUnderWayIsALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, Ramp(0))
		defer p.s.Close()
		p.put(p.old, "k", "v")
		goOn := make(chan struct{})
		p.o.Inject(backendtest.Fault{Op: backendtest.OpGetTTL, Block: goOn})
		p.gets("k", "v")
		synctest.Wait() // the copy has its lease and reads old
		p.ok(p.s.SetPhase(PhaseNew))
		p.gets("k", "v")
		p.ok(p.s.SetPhase(PhaseRetire))
		if it, err := p.s.Get(t.Context(), "k"); !errors.Is(err, backends.ErrLeased) {
			t.Errorf("get: %q, %v; want that it is leased", it.Value, err)
		}
		if l, it, err := p.s.Acquire(t.Context(), "k", time.Second); l != nil || !errors.Is(err, backends.ErrLeased) {
			t.Errorf("acquire: %v, %q, %v; want that it is leased", l, it.Value, err)
		}
		close(goOn)
		synctest.Wait()
		p.gets("k", "v")
	})
}

// slow makes every call of f take d.
func slow(f *backendtest.Faulty, d time.Duration) {
	f.Before(func(backendtest.Op, string) { time.Sleep(d) })
}

// New is slow, but under its deadline: who reads what old has does not wait for the copy, which is
// made all the same, however the reader asks.
func TestCopy_OfASlowNewHoldsNoReadUpAndIsMade(t *testing.T) {
	const delay = 90 * time.Millisecond
	for name, read := range map[string]func(ctx context.Context, p *pair, key string) error{
		"get": func(ctx context.Context, p *pair, key string) error {
			_, err := p.s.Get(ctx, key)
			return err
		},
		"get-many": func(ctx context.Context, p *pair, key string) error { return p.s.GetMany(ctx, []string{key})[0].Err },
		"acquire": func(ctx context.Context, p *pair, key string) error {
			_, _, err := p.s.Acquire(ctx, key, time.Minute)
			return err
		},
		"acquire-many": func(ctx context.Context, p *pair, key string) error {
			return p.s.AcquireMany(ctx, []string{key}, time.Minute)[0].Err
		},
		"look at a counter": func(ctx context.Context, p *pair, key string) error {
			_, err := p.s.Increment(ctx, key, 0, 0, time.Minute)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, PhaseNew)
				defer p.s.Close()
				p.s.patience = copyPatience
				slow(p.n, delay)
				for i := range 20 {
					key := fmt.Sprint("k", i)
					p.put(p.old, key, "7")
					ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
					start := time.Now()
					err := read(ctx, p, key)
					if took := time.Since(start); err != nil || took > delay+copyPatience {
						t.Errorf("%s: %v after %v, want new's answer and %v", key, err, took, copyPatience)
					}
					cancel()
				}
				time.Sleep(time.Second)
				if got := p.s.Progress(); got.Copied != 20 || got.CopyFailures != 0 {
					t.Errorf("%d copied, %d failed", got.Copied, got.CopyFailures)
				}
			})
		})
	}
}

// A copy that its reader has left is fenced by its lease all the same, and a fleet waits for it.
func TestCopy_BehindItsReaderLosesItsLeaseToAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseNew)
		defer p.s.Close()
		p.s.patience = 0
		goOn := make(chan struct{})
		p.n.Inject(backendtest.Fault{Op: backendtest.OpFill, Block: goOn})
		p.put(p.old, "k", "v")
		p.gets("k", "v")
		synctest.Wait()
		p.ok(p.s.SetPhase(PhaseRetire))
		if n := p.s.earlier(); n != 1 {
			t.Errorf("%d calls of the earlier phase are running, want the copy", n)
		}
		p.ok(p.s.Delete(t.Context(), "k"))
		close(goOn)
		synctest.Wait()
		p.holds(p.fresh, "k", "")
		if got := p.s.Progress(); p.s.earlier() != 0 || got.Copied != 0 || got.CopyFailures != 1 {
			t.Errorf("%d calls are running; %+v", p.s.earlier(), got)
		}
	})
}

func TestCopy_FiftyReadersOfAKeyMakeOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseNew)
		defer p.s.Close()
		goOn := make(chan struct{})
		p.n.Inject(backendtest.Fault{Op: backendtest.OpAcquire, Times: -1, Block: goOn})
		p.put(p.old, "k", "v")
		for range 50 {
			go p.gets("k", "v")
		}
		synctest.Wait()
		close(goOn)
		synctest.Wait()
		if got := p.s.Progress(); p.n.Calls(backendtest.OpAcquire) != 1 || got.Copied != 1 || got.CopyRefused != 0 {
			t.Errorf("%d leases, %d copies, %d refused; want one", p.n.Calls(backendtest.OpAcquire), got.Copied, got.CopyRefused)
		}
	})
}

func TestCopy_KeepsToItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseNew, func(c *Config) { c.CopiesPerSecond = 10 })
		defer p.s.Close()
		for i := range 500 { // for five seconds
			key := fmt.Sprint("k", i)
			p.put(p.old, key, "v")
			p.gets(key, "v")
			time.Sleep(10 * time.Millisecond)
		}
		if got := p.s.Progress(); got.Copied < 45 || got.Copied > 52 || got.Copied+got.CopyRefused != 500 {
			t.Errorf("%d copied in 5 s at 10 a second, %d refused, of 500", got.Copied, got.CopyRefused)
		}
	})
}

func TestCopy_BeyondTheBudgetIsRefusedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseNew, func(c *Config) { c.MaxCopies = 1 })
		defer p.s.Close()
		goOn := make(chan struct{})
		p.n.Inject(backendtest.Fault{Op: backendtest.OpFill, Key: "k0", Block: goOn})
		for i := range 5 {
			p.put(p.old, fmt.Sprint("k", i), "v")
		}
		go p.gets("k0", "v")
		synctest.Wait()
		for i := 1; i < 5; i++ {
			p.gets(fmt.Sprint("k", i), "v")
		}
		close(goOn)
		synctest.Wait()
		p.gets("k1", "v")
		if got := p.s.Progress(); got.Copied != 2 || got.CopyRefused != 4 {
			t.Errorf("%d copied and %d refused, want 2 and 4", got.Copied, got.CopyRefused)
		}
	})
}

// Nobody but the frame can tell how long the value lives.
func TestCopy_OfAStoreWithoutLifetimesLivesAsItsFrameSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, fresh := memory.New(memory.Config{}), memory.New(memory.Config{})
		s := must(t, Config{New: Member{Store: fresh}, Old: []Member{{Store: blind{old}}}, Phase: PhaseNew, UnknownTTL: 24 * time.Hour})
		defer s.Close()
		framer, err := codec.New(codec.Config[string]{})
		if err != nil {
			t.Fatal(err)
		}
		frame, err := framer.Append(nil, "k", codec.Header{Expires: time.Now().Add(7 * time.Minute).UnixMilli()}, "v")
		if err != nil {
			t.Fatal(err)
		}
		if err := old.Set(t.Context(), "k", backends.Item{Value: frame}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := s.Get(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		it, err := fresh.GetTTL(t.Context(), "k")
		if left := it.TTL; err != nil || left < 299*time.Second || left > 300*time.Second {
			t.Errorf("the copy lives for %v, %v; want 5m", left, err)
		}
	})
}
