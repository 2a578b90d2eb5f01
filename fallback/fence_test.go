package fallback

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
)

// crew is a fleet whose processes report only when a test says so.
type crew struct {
	t      *testing.T
	record *backendtest.Faulty
	pairs  []*pair
	fleets []*Fleet
}

func newCrew(t *testing.T, n int) *crew {
	t.Helper()
	c := &crew{t: t, record: backendtest.NewFaulty(memory.New(memory.Config{}), 1)}
	old, fresh := memory.New(memory.Config{}), memory.New(memory.Config{})
	for i := range n {
		p := &pair{t: t, old: old, fresh: fresh, o: backendtest.NewFaulty(old, 1), n: backendtest.NewFaulty(fresh, 2)}
		p.s = must(t, Config{New: Member{Store: p.n, Timeout: -1}, Old: []Member{{Store: p.o, Timeout: -1}}, CopyHold: time.Hour})
		f, err := NewFleet(p.s, FleetConfig{Store: c.record, Key: "migration", Process: string(rune('a' + i))})
		if err != nil {
			t.Fatal(err)
		}
		c.pairs, c.fleets = append(c.pairs, p), append(c.fleets, f)
		p.ok(f.Beat(t.Context()))
	}
	return c
}

func (c *crew) close() {
	for _, p := range c.pairs {
		p.s.Close()
	}
}

// beat lets some processes report, twice at once, as a ticker does after its process stood still.
func (c *crew) beat(who ...int) {
	c.t.Helper()
	for _, i := range who {
		for range 2 {
			c.pairs[i].ok(c.fleets[i].Beat(c.t.Context()))
		}
	}
}

// advance moves the fleet by the hand of the first process, while who reports every heartbeat,
// for as long as d. It returns nil or what it waits for.
func (c *crew) advance(to Phase, d time.Duration, who ...int) error {
	c.t.Helper()
	var err error
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(DefaultHeartbeat) {
		if err = c.fleets[0].TryAdvance(c.t.Context(), to); err == nil {
			return nil
		}
		c.beat(who...)
	}
	return err
}

// held blocks the first op of a store until release is called.
func held(f *backendtest.Faulty, op backendtest.Op) (release func()) {
	gate, blocked := make(chan struct{}), false
	f.Before(func(o backendtest.Op, _ string) {
		if o == op && !blocked {
			blocked = true
			<-gate
		}
	})
	return func() { close(gate) }
}

func waitsFor(t *testing.T, err error, process, because string) {
	t.Helper()
	w, ok := errors.AsType[*WaitError](err)
	if !ok || !slices.Equal(w.Waiting, []string{process}) || !strings.Contains(w.Because, because) {
		t.Fatalf("advance: %v; want to wait for %s, %q", err, process, because)
	}
}

func TestFleet_AdvanceWaitsForCallsOfAnEarlierPhase(t *testing.T) {
	for _, row := range []struct {
		name     string
		from, to Phase
		call     func(p *pair) // runs into the held operation
		hold     func(p *pair) (release func())
	}{
		{
			"a write that began in old", PhaseOld, Ramp(50),
			func(p *pair) { _ = p.s.Set(p.t.Context(), "k", text("v")) },
			func(p *pair) func() { return held(p.o, backendtest.OpSet) },
		},
		{
			"a write that began in retire", PhaseRetire, PhaseNew,
			func(p *pair) { _ = p.s.Set(p.t.Context(), "k", text("v")) },
			func(p *pair) func() { return held(p.n, backendtest.OpSet) },
		},
		{
			"a batch that began in new", PhaseNew, PhaseOld,
			func(p *pair) { _ = p.s.GetMany(p.t.Context(), []string{"k"}) },
			func(p *pair) func() { return held(p.n, backendtest.OpGetMany) },
		},
		{
			"a background copy that began in a ramp", Ramp(0.01), PhaseOld,
			func(p *pair) {
				p.put(p.old, "k", "v")
				_, _ = p.s.Get(p.t.Context(), "k")
			},
			func(p *pair) func() { return held(p.n, backendtest.OpAcquire) },
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrew(t, 2)
				defer c.close()
				if err := c.advance(row.from, time.Minute, 0, 1); err != nil {
					t.Fatal(err)
				}
				c.beat(0, 1)
				release := row.hold(c.pairs[1])
				go row.call(c.pairs[1])
				synctest.Wait()
				waitsFor(t, c.advance(row.to, time.Minute, 0, 1), "b", "calls that began before")
				for i, p := range c.pairs {
					if got := p.s.Phase(); !got.Compatible(row.from) || got == row.to {
						t.Errorf("process %d went on to %v", i, got)
					}
				}
				release()
				synctest.Wait()
				if err := c.advance(row.to, time.Minute, 0, 1); err != nil {
					t.Fatal(err)
				}
				inPhase(t, c.pairs, row.to)
			})
		})
	}
}

func TestFleet_ProcessThatStoodStillAsksForThePhaseBeforeItsNextCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2)
		defer c.close()
		if err := c.advance(PhaseNew, 2*time.Minute, 0); err != nil { // without b
			t.Fatal(err)
		}
		a, b := c.pairs[0], c.pairs[1]
		a.put(a.old, "k", "older than the migration")
		a.ok(a.s.Set(t.Context(), "k", text("new")))
		a.put(a.old, "k", "stale: what b must not read")
		if it, err := b.s.Get(t.Context(), "k"); err != nil || string(it.Value) != "new" {
			t.Errorf("after it stood still: %q, %v", it.Value, err)
		}
		inPhase(t, c.pairs, PhaseNew)
	})
}

func TestFleet_ChangeThatNewMissedIsInTheRecordBeforeItSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2)
		defer c.close()
		b := c.pairs[1]
		b.n.Down(true)
		b.ok(b.s.Set(t.Context(), "k", text("v")))
		// b reports no more.
		waitsFor(t, c.advance(Ramp(50), 5*time.Minute, 0), "b", "gone and left 1")
		b.n.Down(false)
		if err := c.advance(Ramp(50), 5*time.Minute, 0, 1); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFleet_ChangeThatItCannotPutOnRecordFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1)
		defer c.close()
		p := c.pairs[0]
		p.n.Down(true)
		c.record.Down(true)
		if err := p.s.Delete(t.Context(), "k"); err == nil {
			t.Error("neither new nor the record knows of it")
		}
	})
}

// The fleet goes on without a process that stands still between the two halves of a write.
func TestFleet_WriteThatAStillProcessGoesOnWithIsNoSuccessIfNewMissedIt(t *testing.T) {
	for _, told := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := newCrew(t, 2)
			defer c.close()
			b := c.pairs[1]
			release := held(b.n, backendtest.OpDelete)
			done := make(chan error)
			go func() { done <- b.s.Set(t.Context(), "k", text("v")) }()
			synctest.Wait()
			if err := c.advance(PhaseNew, 5*time.Minute, 0); err != nil {
				t.Fatal(err)
			}
			if !told {
				for _, op := range []backendtest.Op{backendtest.OpDelete, backendtest.OpDeleteMany} { // else it is delivered at once
					b.n.Inject(backendtest.Fault{Op: op, Err: backends.ErrUnavailable, Times: -1})
				}
			}
			release()
			if err := <-done; (err == nil) != told {
				t.Errorf("new was told: %v; set: %v", told, err)
			}
		})
	}
}

func TestFleet_NobodyIsGoneBecauseTheRecordWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2)
		defer c.close()
		c.beat(0, 1)
		c.record.Down(true)
		for end := time.Now().Add(3 * DefaultDeadAfter); time.Now().Before(end); time.Sleep(DefaultHeartbeat) {
			for _, f := range c.fleets {
				if f.Beat(t.Context()) == nil {
					t.Fatal("the record is down")
				}
			}
		}
		c.record.Down(false)
		err := c.advance(PhaseNew, DefaultHeartbeat) // one try, before b reports
		if w, ok := errors.AsType[*WaitError](err); !ok || !slices.Contains(w.Waiting, "b") {
			t.Errorf("advance: %v; want to wait for b", err)
		}
	})
}

func TestFleet_BrokenNewStoreKeepsNobodyFromGoingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2)
		defer c.close()
		if err := c.advance(Ramp(50), time.Minute, 0, 1); err != nil {
			t.Fatal(err)
		}
		b := c.pairs[1]
		b.n.Down(true)
		if err := b.s.Delete(t.Context(), "k"); err == nil {
			t.Error("others read new, which was not told")
		}
		if err := c.advance(PhaseOld, time.Minute, 0, 1); err != nil {
			t.Fatal(err)
		}
		inPhase(t, c.pairs, PhaseOld)
		b.ok(b.s.Delete(t.Context(), "k")) // nobody reads new any more
		waitsFor(t, c.advance(Ramp(50), time.Minute, 0, 1), "b", "undelivered")
	})
}

func TestFleet_OperatorWhoHasNotJoinedIsHeldToWhatItOwes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1)
		defer c.close()
		p := &pair{t: t, old: c.pairs[0].old, fresh: c.pairs[0].fresh}
		p.o, p.n = backendtest.NewFaulty(p.old, 1), backendtest.NewFaulty(p.fresh, 2)
		p.s = must(t, Config{New: Member{Store: p.n}, Old: []Member{{Store: p.o}}})
		defer p.s.Close()
		f, err := NewFleet(p.s, FleetConfig{Store: c.record, Key: "migration", Process: "operator"})
		if err != nil {
			t.Fatal(err)
		}
		p.n.Down(true)
		p.ok(p.s.Delete(t.Context(), "k")) // in PhaseOld
		for range 10 {
			err = f.TryAdvance(t.Context(), Ramp(50))
			c.beat(0)
			time.Sleep(DefaultHeartbeat)
		}
		waitsFor(t, err, "operator", "has not joined")
		inPhase(t, c.pairs, PhaseMirror)
	})
}

func TestFleet_AdvanceIsDoneWhenNobodyGoesByTheLastPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2)
		defer c.close()
		if err := c.advance(Ramp(50), time.Minute, 0, 1); err != nil {
			t.Fatal(err)
		}
		release := held(c.pairs[1].o, backendtest.OpDelete)
		go func() { _ = c.pairs[1].s.Delete(t.Context(), "k") }()
		synctest.Wait()
		waitsFor(t, c.advance(PhaseNew, time.Minute, 0, 1), "b", "calls that began before")
		inPhase(t, c.pairs, PhaseNew) // it is safe, and has begun
		release()
		synctest.Wait()
		if err := c.advance(PhaseNew, time.Minute, 0, 1); err != nil {
			t.Fatal(err)
		}
	})
}
