package fallback

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
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
