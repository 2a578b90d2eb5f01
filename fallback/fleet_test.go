package fallback

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
)

// fleetOf starts n processes that share a record.
func fleetOf(t *testing.T, n int) (fleets []*Fleet, pairs []*pair, crash []context.CancelFunc) {
	t.Helper()
	record := memory.New(memory.Config{})
	old, fresh := memory.New(memory.Config{}), memory.New(memory.Config{})
	for i := range n {
		p := &pair{t: t, old: old, fresh: fresh, o: backendtest.NewFaulty(old, 1), n: backendtest.NewFaulty(fresh, 2)}
		p.s = must(t, Config{New: Member{Store: p.n}, Old: []Member{{Store: p.o}}})
		f, err := NewFleet(p.s, FleetConfig{Store: record, Key: "migration", Process: string(rune('a' + i))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan struct{})
		go func() { defer close(left); _ = f.Join(ctx) }()
		t.Cleanup(func() {
			cancel()
			<-left // others may leave at the same time, and who is overtaken pauses
		})
		fleets, pairs, crash = append(fleets, f), append(pairs, p), append(crash, cancel)
		synctest.Wait()
	}
	return fleets, pairs, crash
}

func inPhase(t *testing.T, pairs []*pair, want Phase) {
	t.Helper()
	for i, p := range pairs {
		if got := p.s.Phase(); got != want {
			t.Errorf("process %d is in %v, want %v", i, got, want)
		}
	}
}

func TestFleet_AdvanceTakesEverybodyThroughMirror(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleets, pairs, _ := fleetOf(t, 3)
		seen := map[Phase]bool{}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			for ctx.Err() == nil {
				for _, p := range pairs {
					for _, q := range pairs {
						if !p.s.Phase().Compatible(q.s.Phase()) {
							t.Errorf("%v beside %v", p.s.Phase(), q.s.Phase())
						}
					}
				}
				seen[pairs[1].s.Phase()] = true
				time.Sleep(50 * time.Millisecond)
			}
		})
		for _, to := range []Phase{Ramp(25), PhaseNew, PhaseRetire, PhaseOld, PhaseNew} {
			if err := fleets[0].Advance(t.Context(), to); err != nil {
				t.Fatalf("advance to %v: %v", to, err)
			}
			inPhase(t, pairs, to)
		}
		cancel()
		wg.Wait()
		if !seen[PhaseMirror] {
			t.Error("nobody was seen in mirror")
		}
		for _, p := range pairs {
			p.s.Close()
		}
	})
}

func TestFleet_AdvanceWaitsForWhoOwesAndNamesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleets, pairs, _ := fleetOf(t, 2)
		if err := fleets[0].Advance(t.Context(), PhaseMirror); err != nil {
			t.Fatal(err)
		}
		pairs[1].n.Down(true)
		pairs[1].ok(pairs[1].s.Set(t.Context(), "k", text("v"))) // nobody reads new yet
		time.Sleep(5 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := fleets[0].Advance(ctx, Ramp(10))
		cancel()
		w, ok := errors.AsType[*WaitError](err)
		if !ok || !slices.Equal(w.Waiting, []string{"b"}) || !strings.Contains(w.Error(), "undelivered") {
			t.Fatalf("advance: %v; want to wait for b, which owes", err)
		}
		inPhase(t, pairs, PhaseMirror)
		if err := pairs[1].s.Set(t.Context(), "k2", text("v")); err == nil {
			t.Error("with a ramp ahead, a change that new was not told of must be an error")
		}
		pairs[1].n.Down(false)
		if err := fleets[0].Advance(t.Context(), Ramp(10)); err != nil {
			t.Fatal(err)
		}
		inPhase(t, pairs, Ramp(10))
		for _, p := range pairs {
			p.s.Close()
		}
	})
}

func TestFleet_CrashedProcessIsLeftOutAfterItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleets, pairs, _ := fleetOf(t, 2)
		// A third process that reported once and never again.
		gone := must(t, Config{New: Member{Store: pairs[0].n}, Old: []Member{{Store: pairs[0].o}}})
		f, err := NewFleet(gone, FleetConfig{Store: fleets[0].cfg.Store, Key: "migration", Process: "crashed"})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Beat(t.Context()); err != nil {
			t.Fatal(err)
		}
		err = fleets[0].TryAdvance(t.Context(), PhaseNew)
		if w, ok := errors.AsType[*WaitError](err); !ok || !slices.Contains(w.Waiting, "crashed") {
			t.Fatalf("advance: %v; want to wait for the crashed process", err)
		}
		start := time.Now()
		if err := fleets[0].Advance(t.Context(), PhaseNew); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited < DefaultDeadAfter/2 || waited > 3*DefaultDeadAfter {
			t.Errorf("waited %v for a crashed process", waited)
		}
		inPhase(t, pairs, PhaseNew)
		for _, p := range pairs {
			p.s.Close()
		}
		gone.Close()
	})
}

func TestFleet_LateComerAdoptsThePhaseBeforeItShowsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleets, pairs, _ := fleetOf(t, 1)
		if err := fleets[0].Advance(t.Context(), PhaseNew); err != nil {
			t.Fatal(err)
		}
		late := must(t, Config{New: Member{Store: pairs[0].n}, Old: []Member{{Store: pairs[0].o}}})
		defer late.Close()
		f, err := NewFleet(late, FleetConfig{Store: fleets[0].cfg.Store, Key: "migration", Process: "late"})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Beat(t.Context()); err != nil || late.Phase() != PhaseNew {
			t.Fatalf("late comer: %v, in %v", err, late.Phase())
		}
		if got := f.Record().Processes["late"].Phase; got != PhaseNew {
			t.Errorf("the record says %v", got)
		}
		pairs[0].s.Close()
	})
}

func TestFleet_WithoutItsRecordGoesWherePhasesAreSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		record := backendtest.NewFaulty(memory.New(memory.Config{}), 1)
		p := newPair(t, PhaseOld)
		f, err := NewFleet(p.s, FleetConfig{Store: record, Key: "migration"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Join(ctx) }()
		synctest.Wait()
		record.Down(true)
		time.Sleep(DefaultDeadAfter)
		if got := p.s.Phase(); got != PhaseMirror {
			t.Errorf("cut off in %v, want mirror", got)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("join: %v", err)
		}
		p.s.Close()
	})
}

func TestNewFleet_RefusesAStoreThatCannotSwap(t *testing.T) {
	p := newPair(t, PhaseOld)
	_, err := NewFleet(p.s, FleetConfig{Store: struct{ backends.Store }{p.old}, Key: "k"})
	if !errors.Is(err, backends.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}
