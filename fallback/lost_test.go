package fallback

import (
	"context"
	"encoding/json"
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

// lose takes the record away, as a server does that is restarted.
func (c *crew) lose() {
	c.t.Helper()
	if err := c.record.Delete(c.t.Context(), "migration"); err != nil {
		c.t.Fatal(err)
	}
}

// now is the record as its store has it.
func (c *crew) now() (r Record) {
	c.t.Helper()
	it, err := c.record.Get(c.t.Context(), "migration")
	if err == nil {
		err = json.Unmarshal(it.Value, &r)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// while lets some processes report every heartbeat for as long as d.
func (c *crew) while(d time.Duration, who ...int) {
	c.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(DefaultHeartbeat) {
		c.beat(who...)
	}
}

// another makes one more process, which has not reported yet.
func (c *crew) another(name string, phase Phase) (*pair, *Fleet) {
	c.t.Helper()
	p := &pair{t: c.t, old: c.pairs[0].old, fresh: c.pairs[0].fresh}
	p.o, p.n = backendtest.NewFaulty(p.old, 1), backendtest.NewFaulty(p.fresh, 2)
	p.s = must(c.t, Config{New: Member{Store: p.n}, Old: []Member{{Store: p.o}}, Phase: phase})
	f, err := NewFleet(p.s, FleetConfig{Store: c.record, Key: "migration", Process: name})
	if err != nil {
		c.t.Fatal(err)
	}
	return p, f
}

func TestFleet_DebtOfACrashedProcessOutlivesTheRecord(t *testing.T) {
	for _, row := range []struct {
		name  string
		known bool // a has seen the record in which b says that it owes
		why   string
	}{
		{"which others had seen", true, "what a process remembers of others comes back with the record"},
		{"which nobody had seen", false, "who does not report again may owe what nobody alive has read"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrew(t, 2)
				defer c.close()
				c.beat(0, 1)
				b := c.pairs[1]
				b.n.Down(true)
				b.ok(b.s.Set(t.Context(), "k", text("v"))) // b reports no more
				if row.known {
					c.beat(0)
				}
				c.lose()
				waitsFor(t, c.advance(Ramp(50), 5*time.Minute, 0), "b", "since the record was lost")
				inPhase(t, c.pairs[:1], PhaseMirror)
				if w := c.pairs[0].s.Warnings(); !strings.Contains(strings.Join(w, ";"), "b has not reported since") {
					t.Errorf("warnings: %q", w)
				}
				if st := c.pairs[0].s.Stats().Fleet; st == nil || !slices.Equal(st.Unheard, []string{"b"}) {
					t.Errorf("stats: %+v", st)
				}
				c.pairs[0].ok(c.fleets[0].Forget(t.Context(), "b"))
				if err := c.advance(Ramp(50), time.Minute, 0); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestFleet_WhoKnowsTheLaterRecordCorrectsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 3)
		defer c.close()
		c.beat(0, 1, 2)
		for range 4 { // a does not hear of the fleet's step to mirror
			_ = c.fleets[1].TryAdvance(t.Context(), PhaseMirror)
			c.beat(2, 1)
		}
		latest := c.now()
		c.lose()
		c.beat(0)
		if r := c.now(); r.Phase != PhaseOld || !r.Unsure {
			t.Fatalf("made anew by a: %+v", r)
		}
		c.beat(1)
		r := c.now()
		if r.Phase != PhaseMirror || !r.Unsure || *r.From != (Mark{latest.Origin, latest.Revision}) {
			t.Errorf("after b, who knew more: %+v", r)
		}
		if r.Processes["a"].Unheard || r.Processes["b"].Unheard || !r.Processes["c"].Unheard {
			t.Errorf("only c has not been heard of: %+v", r.Processes)
		}
		before := c.now().From
		c.beat(0, 2) // c knew no more than b
		if after := c.now().From; *after != *before {
			t.Errorf("from %v to %v", before, after)
		}
		c.while(2*DefaultDeadAfter, 0, 1, 2)
		if r := c.now(); r.Unsure || len(r.unheard()) > 0 {
			t.Errorf("everybody has reported: %+v", r)
		}
		inPhase(t, c.pairs, PhaseMirror)
	})
}

func TestFleet_NobodyFollowsANewcomerThatFindsNoRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2)
		defer c.close()
		if err := c.advance(PhaseNew, time.Minute, 0, 1); err != nil {
			t.Fatal(err)
		}
		c.lose()
		p, f := c.another("newcomer", PhaseOld)
		defer p.s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 2*DefaultHeartbeat)
		err := f.Beat(ctx)
		cancel()
		if !errors.Is(err, ErrUnsure) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("beat: %v; a process that cannot know the phase must not serve", err)
		}
		inPhase(t, []*pair{p}, PhaseMirror)
		if err := f.TryAdvance(t.Context(), PhaseOld); err == nil {
			t.Error("the newcomer moved a fleet it knows nothing of")
		}
		for range 2 * DefaultDeadAfter / DefaultHeartbeat {
			c.beat(0, 1)
			inPhase(t, c.pairs, PhaseNew)
			_ = f.say(t.Context())
			time.Sleep(DefaultHeartbeat)
		}
		if err := f.Beat(t.Context()); err != nil {
			t.Error(err)
		}
		inPhase(t, append(c.pairs, p), PhaseNew)
	})
}

func TestFleet_WhoWasCutOffTogetherWithTheRecordStaysWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2)
		defer c.close()
		if err := c.advance(PhaseNew, time.Minute, 0, 1); err != nil {
			t.Fatal(err)
		}
		c.record.Down(true)
		time.Sleep(time.Hour)
		for _, f := range c.fleets {
			if f.Beat(t.Context()) == nil {
				t.Fatal("the record is down")
			}
		}
		c.record.Down(false)
		c.lose()
		for range 2 * DefaultDeadAfter / DefaultHeartbeat {
			c.beat(0, 1)
			inPhase(t, c.pairs, PhaseNew)
			time.Sleep(DefaultHeartbeat)
		}
	})
}

func TestFleet_NothingIsPardonedWhileTheRecordIsUnsure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2)
		defer c.close()
		c.beat(0, 1)
		a := c.pairs[0]
		a.n.Down(true)
		a.ok(a.s.Set(t.Context(), "k", text("v")))
		c.lose()
		c.beat(0)
		if err := a.s.Set(t.Context(), "k", text("v")); err == nil {
			t.Error("nobody can say yet that nobody reads new")
		}
		if w := a.s.Warnings(); len(w) == 0 || !strings.Contains(w[0], "made anew") {
			t.Errorf("warnings: %q", w)
		}
		c.while(2*DefaultDeadAfter, 0, 1)
		a.ok(a.s.Set(t.Context(), "k", text("v")))
	})
}

func TestFleet_RecordThatWentBackIsMadeAnew(t *testing.T) {
	for _, row := range []struct {
		name   string
		others int // reports that come to the restored record before a's
	}{
		{"to a lower revision", 0},
		{"and on from there without a report that had arrived", 20},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrew(t, 3)
				defer c.close()
				c.beat(0, 1, 2)
				snapshot, err := c.record.Get(t.Context(), "migration")
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(DefaultHeartbeat)
				last := c.pairs[2]
				last.n.Down(true)
				last.ok(last.s.Set(t.Context(), "k", text("v"))) // then it crashes
				time.Sleep(DefaultHeartbeat)
				c.beat(0)
				c.pairs[0].ok(c.record.Set(t.Context(), "migration", backends.Item{Value: snapshot.Value}))
				for range row.others { // one that had reported before the snapshot only
					c.beat(1)
				}
				c.beat(0)
				if r := c.now(); !r.Unsure || r.Processes["c"].Owed != 1 || !r.Processes["c"].Unheard {
					t.Errorf("c's debt is forgotten: %+v", r)
				}
			})
		})
	}
}

func TestFleet_JoinGoesOnAfterALostFirstReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []Event
		c := newCrew(t, 1)
		defer c.close()
		if err := c.advance(PhaseNew, time.Minute, 0); err != nil {
			t.Fatal(err)
		}
		p := newPair(t, PhaseOld, func(cfg *Config) {
			cfg.Observer = func(e Event) {
				if e.Kind == EventRecord {
					events = append(events, e)
				}
			}
		})
		defer p.s.Close()
		f, err := NewFleet(p.s, FleetConfig{Store: c.record, Key: "migration", Process: "late"})
		if err != nil {
			t.Fatal(err)
		}
		c.record.Down(true)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Join(ctx) }()
		synctest.Wait()
		inPhase(t, []*pair{p}, PhaseMirror)
		p.n.Down(true)
		if err := p.s.Set(t.Context(), "k", text("v")); err == nil {
			t.Error("it does not know who reads new")
		}
		p.n.Down(false)
		st := p.s.Stats().Fleet
		if st == nil || !st.Cut || !st.Heard.IsZero() || !errors.Is(st.LastErr, backends.ErrUnavailable) {
			t.Errorf("stats: %+v", st)
		}
		if w := p.s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "late") {
			t.Errorf("warnings: %q", w)
		}
		time.Sleep(time.Hour)
		c.record.Down(false)
		c.beat(0)
		time.Sleep(DefaultHeartbeat)
		synctest.Wait()
		inPhase(t, []*pair{p}, PhaseNew)
		if st := p.s.Stats().Fleet; st.Cut || st.LastErr != nil || st.Heard.IsZero() {
			t.Errorf("stats: %+v", st)
		}
		if len(events) != 2 || events[0].Err == nil || events[1].Err != nil {
			t.Errorf("events: %+v", events)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("join: %v", err)
		}
	})
}

func TestFleet_JoinThatNeverReportedSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseOld)
		defer p.s.Close()
		record := backendtest.NewFaulty(memory.New(memory.Config{}), 1)
		f, err := NewFleet(p.s, FleetConfig{Store: record, Key: "migration"})
		if err != nil {
			t.Fatal(err)
		}
		record.Down(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := f.Join(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, backends.ErrUnavailable) {
			t.Errorf("join: %v", err)
		}
		record.Down(false)
		for _, wrong := range []func(){
			func() { record.Inject(backendtest.Fault{Op: backendtest.OpAdd, Err: backends.ErrTooLarge}) },
			func() { _ = record.Set(t.Context(), "migration", backends.Item{Value: []byte("somebody else's")}) },
		} {
			wrong()
			if err := f.Join(t.Context()); err == nil {
				t.Error("a record that is refused, or is none, is no reason to try again")
			}
		}
	})
}

func TestFleet_FirstProcessFoundsTheFleetInItsOwnPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crew{t: t, record: backendtest.NewFaulty(memory.New(memory.Config{}), 1), pairs: []*pair{newPair(t, PhaseOld)}}
		defer c.close()
		c.record.Inject(backendtest.Fault{Op: backendtest.OpAdd, Applied: true}) // the answer is lost
		p, f := c.another("a", PhaseOld)
		defer p.s.Close()
		if err := f.TryAdvance(t.Context(), PhaseNew); !errors.Is(err, ErrNoRecord) {
			t.Errorf("advance of a fleet of nobody: %v", err)
		}
		_ = f.Beat(t.Context())
		start := time.Now()
		if err := f.Beat(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d < DefaultDeadAfter || d > 2*DefaultDeadAfter {
			t.Errorf("waited %v for others", d)
		}
		inPhase(t, []*pair{p}, PhaseOld)
		q, g := c.another("b", PhaseNew)
		defer q.s.Close()
		start = time.Now()
		if err := g.Beat(t.Context()); err != nil || time.Since(start) > 0 {
			t.Errorf("the second waited %v, %v", time.Since(start), err)
		}
		inPhase(t, []*pair{q}, PhaseOld)
	})
}

func TestFleet_FoundSparesTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crew{t: t, record: backendtest.NewFaulty(memory.New(memory.Config{}), 1), pairs: []*pair{newPair(t, PhaseOld)}}
		defer c.close()
		p, operator := c.another("operator", PhaseMirror)
		defer p.s.Close()
		p.ok(operator.Found(t.Context()))
		q, f := c.another("a", PhaseOld)
		defer q.s.Close()
		start := time.Now()
		if err := f.Beat(t.Context()); err != nil || time.Since(start) > 0 {
			t.Errorf("waited %v, %v", time.Since(start), err)
		}
		inPhase(t, []*pair{q}, PhaseMirror)
		if err := operator.Found(t.Context()); !errors.Is(err, backends.ErrExists) {
			t.Errorf("twice: %v", err)
		}
	})
}

func TestFleet_WhoStoodStillWhileTheRecordWasLostGoesWherePhasesAreSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2)
		defer c.close()
		c.beat(0, 1)
		time.Sleep(DefaultDeadAfter)
		c.lose()
		c.beat(0)
		c.beat(1)
		inPhase(t, c.pairs, PhaseMirror)
	})
}

// A call goes on after the record was lost, and nobody who is there now knows its process.
func TestFleet_WriteThatAStillProcessGoesOnWithAsksWhetherTheRecordIsStillThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1)
		defer c.close()
		a := c.pairs[0]
		for _, op := range []backendtest.Op{backendtest.OpDelete, backendtest.OpDeleteMany} { // nor by a delivery
			a.n.Inject(backendtest.Fault{Op: op, Err: backends.ErrUnavailable, Times: -1})
		}
		a.ok(a.s.Set(t.Context(), "k", text("v"))) // the record says that a owes something
		release := held(a.n, backendtest.OpDelete)
		done := make(chan error)
		go func() { done <- a.s.Set(t.Context(), "other", text("v")) }()
		synctest.Wait()
		c.lose()
		p, f := c.another("newcomer", PhaseOld)
		defer p.s.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		left := make(chan struct{})
		go func() { defer close(left); _ = f.Join(ctx) }()
		defer func() {
			cancel()
			<-left
		}()
		soon, stop := context.WithTimeout(ctx, time.Hour)
		defer stop()
		p.ok(f.Advance(soon, PhaseNew))
		release()
		if err := <-done; err == nil {
			t.Error("others read new, which was not told, and the record does not say so")
		}
	})
}

func TestReconcile_HighestRevisionCounts(t *testing.T) {
	type processes = map[string]Process
	known := Record{Origin: "one", Revision: 50, Phase: PhaseNew, Processes: processes{"me": {}, "b": {Owed: 2}, "c": {}}}
	for _, row := range []struct {
		name, why string
		r         Record
		phase     Phase
		unheard   []string
		owed      int // of b
	}{
		{
			"made by somebody who knew more", "it holds all that I know, and that c had left",
			Record{Origin: "two", From: &Mark{"one", 60}, Unsure: true, Phase: PhaseMirror, Processes: processes{"b": {Owed: 3, Unheard: true}}},
			PhaseMirror, []string{"b"}, 3,
		},
		{
			"made by somebody who knew less", "what it says of others is older, what they said since is not",
			Record{Origin: "two", From: &Mark{"one", 40}, Unsure: true, Phase: PhaseMirror, Processes: processes{"b": {Owed: 1}, "c": {}, "gone": {Unheard: true}}},
			PhaseNew, nil, 1,
		},
		{
			"made by a newcomer", "it knew nothing",
			Record{Origin: "two", Revision: 3, Unsure: true, Processes: processes{"newcomer": {}}},
			PhaseNew, []string{"b", "c"}, 2,
		},
		{
			"sure already", "the fleet has gone on by it, and only debts can be missing",
			Record{Origin: "two", Revision: 900, Phase: PhaseMirror, Processes: processes{"newcomer": {}}},
			PhaseMirror, []string{"b", "c"}, 2,
		},
		{
			"lost twice", "which of two unrelated ones was later only the revision can tell",
			Record{Origin: "three", From: &Mark{"two", 300}, Unsure: true, Phase: PhaseMirror, Processes: processes{"d": {Unheard: true}}},
			PhaseMirror, []string{"b", "c", "d"}, 2,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := &Fleet{cfg: FleetConfig{Process: "me"}}
			got, _ := f.reconcile(row.r, known)
			if got.Phase != row.phase || got.Processes["b"].Owed != row.owed || !slices.Equal(got.unheard(), row.unheard) {
				t.Errorf("%+v; want %v, %v: %s", got, row.phase, row.unheard, row.why)
			}
			if got.Revision < row.r.Revision {
				t.Errorf("revision %d is below %d", got.Revision, row.r.Revision)
			}
		})
	}
}
