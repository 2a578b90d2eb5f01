package fallback

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
)

var neighbours = [][2]Phase{
	{PhaseOld, PhaseMirror}, {PhaseMirror, PhaseMirror}, {PhaseMirror, Ramp(50)}, {Ramp(30), Ramp(70)},
	{PhaseMirror, PhaseNew}, {PhaseNew, PhaseNew}, {PhaseNew, PhaseRetire},
}

// A cache with barriers asks its counters all the time. One that started anew because two asked
// at once would make everything cached a miss.
func TestIncrement_AskingNeverStartsACounterAnew(t *testing.T) {
	for _, pair := range neighbours {
		t.Run(fmt.Sprintf("%v|%v", pair[0], pair[1]), func(t *testing.T) {
			t.Parallel()
			old, fresh := racy(11), racy(12)
			stores := processes(t, 2, func(i int) Config {
				return Config{New: Member{Store: fresh, Timeout: -1}, Old: []Member{{Store: old, Timeout: -1}}, Phase: pair[i]}
			}, switches{})
			var wg sync.WaitGroup
			for k := range 4 { // keys of both halves of a ramp
				key := fmt.Sprint("count", k)
				if n, err := stores[0].Increment(t.Context(), key, 1, 7, 0); n != 7 || err != nil {
					t.Fatal(n, err)
				}
				for i := range 8 {
					wg.Go(func() {
						for range 25 {
							if n, err := stores[i%2].Increment(t.Context(), key, 0, 1000, 0); n != 7 || err != nil {
								t.Errorf("%s is %d, %v; want 7", key, n, err)
								return
							}
						}
					})
				}
			}
			wg.Wait()
		})
	}
}

// Whoever asks after somebody has counted gets that count or a later one, never one from before.
func TestIncrement_NobodyReadsAnEarlierCount(t *testing.T) {
	for _, pair := range neighbours {
		t.Run(fmt.Sprintf("%v|%v", pair[0], pair[1]), func(t *testing.T) {
			t.Parallel()
			old, fresh := racy(13), racy(14)
			stores := processes(t, 2, func(i int) Config {
				return Config{New: Member{Store: fresh, Timeout: -1}, Old: []Member{{Store: old, Timeout: -1}}, Phase: pair[i]}
			}, switches{})
			if _, err := stores[0].Increment(t.Context(), "g", 0, time.Now().UnixNano(), 0); err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			seen := map[int64]int{} // a count, and how many had been completed when it was first seen
			completed := 0
			begin := func() int {
				mu.Lock()
				defer mu.Unlock()
				return completed
			}
			asks := 0
			ask := func(s *Store) {
				before := begin()
				n, err := s.Increment(t.Context(), "g", 0, time.Now().UnixNano(), 0)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				asks++
				if first, ok := seen[n]; !ok {
					seen[n] = completed
				} else if first < before-1 { // one more was completed in between, begun after n was seen
					t.Errorf("%d was seen after %d counts, and is read again after %d", n, first, before)
				}
			}
			var wg sync.WaitGroup
			done := make(chan struct{})
			for i := range 6 {
				wg.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
							ask(stores[i%2])
						}
					}
				})
			}
			for i := range 40 { // one after the other, in either process
				if _, err := stores[rand.IntN(2)].Increment(t.Context(), "g", 1, time.Now().UnixNano(), 0); err != nil {
					t.Error(err)
				}
				mu.Lock()
				completed++
				mu.Unlock()
				if i%4 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			close(done)
			wg.Wait()
			if asks < 40 {
				t.Errorf("only %d asks: nothing was tested", asks)
			}
		})
	}
}

// Up and down again, the counter is where the phase looks for it; one that was counted in new is
// not in old any more, and counts on where it is from PhaseMirror on.
func TestIncrement_TheCounterGoesWithThePhase(t *testing.T) {
	p := newPair(t, PhaseOld, func(c *Config) {
		c.Legacy = func(string, backends.Item) (backends.Item, error) {
			return backends.Item{}, errors.New("no value of ours")
		}
	})
	up := []Phase{PhaseOld, PhaseMirror, Ramp(50), PhaseNew, PhaseRetire}
	down := []Phase{PhaseNew, Ramp(50), PhaseMirror}
	want := map[string]int64{}
	for step, phase := range slices.Concat(up, down, up[1:], down, up[:1]) {
		p.ok(p.s.SetPhase(phase))
		for i := range 8 {
			asked, counted := fmt.Sprint("asked", i), fmt.Sprint("counted", i)
			if n, err := p.s.Increment(t.Context(), asked, 0, 100, time.Hour); n != 100 || err != nil {
				t.Errorf("%v: %s is %d, %v; want 100", phase, asked, n, err)
			}
			if step > 0 && phase == PhaseOld {
				continue
			}
			if want[counted]++; i < 4 { // the others are counted, and never asked for
				if n, err := p.s.Increment(t.Context(), counted, 0, 0, time.Hour); n != want[counted]-1 || err != nil {
					t.Errorf("%v: %s is %d, %v; want %d", phase, counted, n, err, want[counted]-1)
				}
			} else if step == 0 {
				want[counted] = 0 // where it begins
			}
			if n, err := p.s.Increment(t.Context(), counted, 1, 0, time.Hour); n != want[counted] || err != nil {
				t.Errorf("%v: %s is %d, %v; want %d", phase, counted, n, err, want[counted])
			}
		}
	}
}

// A counter that is counted while it is carried to new is not carried as it was.
func TestIncrement_CountedWhileItIsCarriedIsNotCarried(t *testing.T) {
	p := newPair(t, PhaseNew)
	other := must(t, Config{New: Member{Store: p.fresh}, Old: []Member{{Store: p.old}}, Phase: PhaseMirror})
	count := func(s *Store, delta, want int64) {
		t.Helper()
		if n, err := s.Increment(context.Background(), "n", delta, 5, 0); n != want || err != nil {
			t.Errorf("%v: %d, %v; want %d", s.Phase(), n, err, want)
		}
	}
	count(other, 1, 5)
	carried := false
	p.o.After(func(op backendtest.Op, _ string) {
		if op == backendtest.OpGetTTL && !carried { // it was read to be carried
			carried = true
			count(other, 1, 6)
		}
	})
	count(p.s, 0, 5) // it was asked before
	if !carried {
		t.Error("nothing was carried: nothing was tested")
	}
	count(p.s, 0, 6)
	count(other, 0, 6)
}

func TestIncrement_AskingAValueIsRefusedAndChangesNothing(t *testing.T) {
	for _, phase := range everyPhase {
		p := newPair(t, phase)
		for _, m := range []*memory.Store{p.old, p.fresh} {
			p.put(m, "k", "no number")
		}
		if _, err := p.s.Increment(t.Context(), "k", 0, 1, 0); !errors.Is(err, backends.ErrNotNumber) {
			t.Errorf("%v: %v", phase, err)
		}
		p.gets("k", "no number")
	}
}
