package fallback

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// Of one version at most one swap may succeed, whatever phase the processes are in.
func TestCompareAndSwap_OneWinnerPerVersionBetweenNeighbours(t *testing.T) {
	for _, pair := range [][2]Phase{
		{PhaseMirror, PhaseMirror}, {PhaseMirror, Ramp(50)}, {Ramp(30), Ramp(70)}, {PhaseMirror, PhaseNew}, {PhaseNew, PhaseNew},
	} {
		t.Run(fmt.Sprintf("%v|%v", pair[0], pair[1]), func(t *testing.T) {
			t.Parallel()
			old, fresh := racy(7), racy(8)
			stores := processes(t, 2, func(i int) Config {
				return Config{New: Member{Store: fresh, Timeout: -1}, Old: []Member{{Store: old, Timeout: -1}}, Phase: pair[i]}
			}, switches{})
			var (
				id   atomic.Int64
				mu   sync.Mutex
				next = map[string]map[int64]int64{} // key, version: the one that replaced it
				wins int
			)
			var alone sync.RWMutex // a key that is gone is stored again while nobody swaps it
			update := func(ctx context.Context, s *Store, key string) {
				alone.RLock()
				it, err := s.Get(ctx, key)
				mine := id.Add(1)
				if err != nil {
					alone.RUnlock()
					alone.Lock()
					defer alone.Unlock()
					_ = s.Set(ctx, key, item(mine))
					return
				}
				defer alone.RUnlock()
				was := value(t, it)
				if s.CompareAndSwap(ctx, key, it.Token, item(mine)) != nil {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if next[key] == nil {
					next[key] = map[int64]int64{}
				}
				if other, twice := next[key][was]; twice {
					t.Errorf("%s: %d was replaced by %d and by %d", key, was, other, mine)
				}
				next[key][was] = mine
				wins++
			}
			ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
			defer cancel()
			var wg sync.WaitGroup
			for _, s := range stores {
				for range 3 {
					wg.Go(func() {
						for ctx.Err() == nil {
							update(t.Context(), s, fmt.Sprint("k", rand.IntN(3)))
						}
					})
				}
			}
			wg.Wait()
			if wins == 0 {
				t.Error("no swap succeeded: nothing was tested")
			}
		})
	}
}

// Of two that add an absent key at most one may succeed.
func TestAdd_OneWinnerBetweenNeighbours(t *testing.T) {
	old, fresh := racy(9), racy(10)
	stores := processes(t, 2, func(i int) Config {
		return Config{New: Member{Store: fresh, Timeout: -1}, Old: []Member{{Store: old, Timeout: -1}}, Phase: []Phase{PhaseMirror, PhaseNew}[i]}
	}, switches{})
	winners := 0
	for round := range 150 {
		var won atomic.Int64
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				if stores[i].Add(t.Context(), fmt.Sprint("claim", round), item(int64(i))) == nil {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if n := won.Load(); n > 1 {
			t.Fatalf("round %d: %d winners", round, n)
		}
		winners += int(won.Load())
	}
	if winners == 0 {
		t.Error("nobody ever won")
	}
}

func TestIncrement_NothingIsLostBetweenNeighbours(t *testing.T) {
	for _, pair := range [][2]Phase{{PhaseMirror, PhaseNew}, {Ramp(30), Ramp(70)}, {PhaseNew, PhaseNew}} {
		p := newPair(t, pair[0])
		other := must(t, Config{New: Member{Store: p.fresh}, Old: []Member{{Store: p.old}}, Phase: pair[1]})
		stores := []*Store{p.s, other}
		for i := range 40 {
			key := fmt.Sprint("n", i%4)
			n, err := stores[rand.IntN(2)].Increment(t.Context(), key, 1, 1, time.Hour)
			if want := int64(i/4 + 1); err != nil || n != want {
				t.Fatalf("%v: increment %d of %s: %d, %v; want %d", pair, i, key, n, err, want)
			}
		}
	}
}

// A key that only old has takes part in every operation of the phase in which new answers.
func TestPhaseNew_EveryOperationSeesWhatOnlyOldHas(t *testing.T) {
	ctx := context.Background()
	for name, op := range map[string]func(p *pair) error{
		"get":     func(p *pair) error { p.gets("k", "5"); return nil },
		"getmany": func(p *pair) error { return p.s.GetMany(ctx, []string{"none", "k"})[1].Err },
		"getttl": func(p *pair) error {
			it, err := p.s.GetTTL(ctx, "k")
			if err == nil && it.TTL <= 0 {
				return errors.New("no TTL")
			}
			return err
		},
		"add": func(p *pair) error {
			if err := p.s.Add(ctx, "k", text("x")); !errors.Is(err, backends.ErrExists) {
				return fmt.Errorf("add: %w", err)
			}
			p.gets("k", "5")
			return nil
		},
		"cas": func(p *pair) error {
			it, err := p.s.Get(ctx, "k")
			if err != nil {
				return err
			}
			err = p.s.CompareAndSwap(ctx, "k", it.Token, text("6"))
			p.gets("k", "6")
			p.holds(p.old, "k", "")
			return err
		},
		"increment": func(p *pair) error {
			n, err := p.s.Increment(ctx, "k", 1, 1, 0)
			if n != 6 {
				return fmt.Errorf("counted to %d, %w", n, err)
			}
			p.holds(p.old, "k", "")
			return err
		},
		"touch": func(p *pair) error {
			err := p.s.Touch(ctx, "k", time.Minute)
			p.holds(p.old, "k", "")
			p.gets("k", "5")
			return err
		},
		"acquire": func(p *pair) error {
			l, it, err := p.s.Acquire(ctx, "k", time.Minute)
			if l != nil || string(it.Value) != "5" {
				return fmt.Errorf("lease %v, item %q, %w", l, it.Value, err)
			}
			p.holds(p.fresh, "k", "5")
			return err
		},
		"acquiremany": func(p *pair) error {
			r := p.s.AcquireMany(ctx, []string{"k"}, time.Minute)[0]
			if r.Lease != nil || string(r.Item.Value) != "5" {
				return fmt.Errorf("lease %v, item %q, %w", r.Lease, r.Item.Value, r.Err)
			}
			p.holds(p.fresh, "k", "5")
			return r.Err
		},
		"setnewer": func(p *pair) error {
			if err := p.s.SetNewer(ctx, "k", text("plain")); !errors.Is(err, backends.ErrOlder) {
				return fmt.Errorf("setnewer: %w", err)
			}
			return nil
		},
		"seize": func(p *pair) error {
			l, err := p.s.Seize(ctx, "k", time.Minute)
			if err != nil {
				return err
			}
			p.misses("k")
			err = l.Fill(ctx, text("6"))
			p.gets("k", "6")
			return err
		},
		"refresh": func(p *pair) error {
			if _, err := p.s.Get(ctx, "k"); err != nil {
				return err
			}
			it, err := p.s.Get(ctx, "k")
			if err != nil {
				return err
			}
			l, err := p.s.AcquireRefresh(ctx, "k", it.Token, time.Minute)
			if err != nil {
				return err
			}
			err = l.Fill(ctx, text("6"))
			p.holds(p.old, "k", "")
			p.gets("k", "6")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, PhaseNew)
			p.put(p.old, "k", "5")
			p.ok(op(p))
		})
	}
}

func TestCompareAndSwap_TokenOfTheOtherStoreAfterAPhaseChangeIsAConflict(t *testing.T) {
	p := newPair(t, PhaseNew)
	p.ok(p.s.Set(t.Context(), "k", text("v")))
	it, err := p.s.Get(t.Context(), "k")
	p.ok(err)
	p.ok(p.s.SetPhase(PhaseMirror))
	if err := p.s.CompareAndSwap(t.Context(), "k", it.Token, text("w")); !errors.Is(err, backends.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	if err := p.s.CompareAndSwap(t.Context(), "k", backends.IDToken(1), text("w")); !errors.Is(err, backends.ErrBadToken) {
		t.Errorf("got %v for a token of nobody", err)
	}
}
