package fallback

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
)

func TestAdvance_GoesOnAfterALostAnswer(t *testing.T) {
	for _, row := range []struct {
		name  string
		fault backendtest.Fault
		why   string
	}{
		{"of a read", backendtest.Fault{Op: backendtest.OpGet, Err: backends.ErrUnavailable}, "nothing has happened"},
		{"of a change that was made", backendtest.Fault{Op: backendtest.OpCompareAndSwap, Applied: true}, "the record tells that it was"},
		{"of a change that was not", backendtest.Fault{Op: backendtest.OpCompareAndSwap, Err: backends.ErrUnknown}, "and that it was not"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fleets, pairs, _ := fleetOf(t, 2)
				if err := fleets[0].Advance(t.Context(), PhaseMirror); err != nil {
					t.Fatal(err)
				}
				record := backendtest.NewFaulty(fleets[0].cfg.Store, 1)
				operator, err := NewFleet(pairs[0].s, FleetConfig{Store: record, Key: "migration", Process: "operator"})
				if err != nil {
					t.Fatal(err)
				}
				row.fault.Times = 3
				record.Inject(row.fault)
				if err := operator.Advance(t.Context(), PhaseNew); err != nil {
					t.Fatal(err)
				}
				inPhase(t, pairs, PhaseNew)
				for _, p := range pairs {
					p.s.Close()
				}
			})
		})
	}
}

func TestAdvance_EndsWithWhatWentWrongLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2)
		defer c.close()
		var told []error
		c.fleets[0].cfg.OnWait = func(err error) { told = append(told, err) }
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		go func() {
			time.Sleep(time.Second)
			c.record.Down(true)
		}()
		err := c.fleets[0].Advance(ctx, PhaseNew)
		if !errors.Is(err, backends.ErrUnavailable) || ctx.Err() == nil {
			t.Errorf("advance: %v", err)
		}
		if len(told) < 2 {
			t.Fatalf("told %v", told)
		}
		if w, ok := errors.AsType[*WaitError](told[0]); !ok || !slices.Contains(w.Waiting, "b") {
			t.Errorf("first it waited for b: %v", told[0])
		}
		if last := told[len(told)-1]; !errors.Is(last, backends.ErrUnavailable) {
			t.Errorf("then the record was gone: %v", last)
		}
	})
}

func TestAdvance_OfTwoTheLaterGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2)
		defer c.close()
		errs := make(chan error)
		go func() { errs <- c.fleets[0].Advance(t.Context(), PhaseNew) }() // waits for b
		time.Sleep(2 * DefaultHeartbeat)
		go func() { errs <- c.fleets[1].Advance(t.Context(), PhaseMirror) }()
		for range 10 {
			c.beat(0, 1)
			time.Sleep(DefaultHeartbeat)
		}
		one, two := <-errs, <-errs
		if !errors.Is(one, ErrOvertaken) {
			one, two = two, one
		}
		if !errors.Is(one, ErrOvertaken) || two != nil {
			t.Errorf("%v and %v; want one that is overtaken", one, two)
		}
		inPhase(t, c.pairs, PhaseMirror)
	})
}
