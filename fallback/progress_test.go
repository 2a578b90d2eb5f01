package fallback

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/tier"
)

func TestProgress_TellsHowLongOldIsStillNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseMirror, func(c *Config) { c.LongestTTL = 3 * time.Hour })
		defer p.s.Close()
		p.put(p.old, "k", "v") // lives for an hour
		if d := p.s.Progress().OldNeededFor; d >= 0 {
			t.Errorf("in mirror: %v, want unknown: old is written to", d)
		}
		time.Sleep(10 * time.Minute)
		p.ok(p.s.SetPhase(PhaseNew))
		if d := p.s.Progress().OldNeededFor; d != 3*time.Hour {
			t.Errorf("nothing found in old yet: %v, want the longest lifetime", d)
		}
		p.gets("k", "v")
		if p := p.s.Progress(); p.OldNeededFor != 3*time.Hour || time.Until(p.OldNeededUntil) != 50*time.Minute {
			t.Errorf("after a copy: %v, want the longest lifetime still: others may live longer; until %v", p.OldNeededFor, p.OldNeededUntil)
		}
		time.Sleep(20 * time.Minute)
		p.ok(p.s.SetPhase(PhaseRetire))
		if st := p.s.Stats(); st.OldNeededFor != 160*time.Minute || time.Since(st.Since) != 0 {
			t.Errorf("%v, since %v", st.OldNeededFor, st.Since)
		}
		time.Sleep(160 * time.Minute)
		if d := p.s.Progress().OldNeededFor; d != 0 {
			t.Errorf("everything has expired: %v", d)
		}
	})
}

// Every read is counted once, whichever way it was answered: the graph of the hit ratio relies on it.
func TestProgress_ReadsAreTheSumOfTheirAnswers(t *testing.T) {
	p := newPair(t, PhaseNew)
	ctx := t.Context()
	for i := range 4 {
		p.put(p.old, fmt.Sprint("k", i), "v")
	}
	p.put(p.fresh, "new", "v")
	p.o.Down(true)
	p.owes(p.s.Set(ctx, "k0", text("newer")))
	p.ok(p.fresh.Delete(ctx, "k0")) // evicted
	p.o.Down(false)
	p.o.Inject(backendtest.Fault{Op: backendtest.OpDeleteMany, Times: -1})
	_, _, _ = p.s.Acquire(ctx, "k1", time.Minute)
	_ = p.s.AcquireMany(ctx, []string{"k2", "none"}, time.Minute)
	_ = p.s.GetMany(ctx, []string{"k0", "k3", "new", "nothing"})
	_, _ = p.s.Get(ctx, "k0")
	got := p.s.Progress()
	if got.Reads != got.HitsNew+got.HitsOld+got.Misses+got.Failures || got.HitsOld != 3 || got.Barred < 2 || got.AskedNew < 5 {
		t.Errorf("%+v", got)
	}
}

func TestReport_TellsTheObserverUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reports []Progress
		p := newPair(t, PhaseNew, func(c *Config) {
			c.Observer = func(e Event) {
				if e.Kind == EventProgress {
					reports = append(reports, *e.Progress)
				}
			}
		})
		defer p.s.Close()
		p.put(p.old, "k", "v")
		p.gets("k", "v")
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
		defer cancel()
		if err := p.s.Report(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if len(reports) != 2 || reports[0].Copied != 1 || reports[1].HitsOld != 1 {
			t.Errorf("%+v", reports)
		}
	})
}

func TestStats_NamesTheMemberThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delivered := false
		p := newPair(t, PhaseNew, func(c *Config) {
			c.Observer = func(e Event) { delivered = delivered || e.Kind == EventDelivered && e.Key == "k" && e.Member == "old" }
		})
		defer p.s.Close()
		p.o.Inject(backendtest.Fault{Err: backends.ErrUnavailable, Times: -1})
		p.owes(p.s.Delete(t.Context(), "k"))
		if m := p.s.Stats().Members; m[0].Name != "new" || m[0].Owed != 0 || m[1].Owed != 1 || m[1].LastErr == nil {
			t.Errorf("%+v", m)
		}
		p.o.Heal()
		time.Sleep(time.Minute)
		if m := p.s.Stats().Members[1]; m.Owed != 0 || m.Breaker != "closed" || !delivered {
			t.Errorf("%+v, delivered: %v", m, delivered)
		}
	})
}

// A cache tells how far the migration below it has come, also through a namespace.
func TestStats_OfTheCacheCarryTheProgress(t *testing.T) {
	p := newPair(t, PhaseNew)
	for name, store := range map[string]backends.Store{"plain": p.s, "prefix": prefixed(t, p.s, "p:")} {
		c, err := tier.New(tier.Config[string]{
			Namespace: name, TTL: time.Hour, Local: tier.Local[string]{Disabled: true},
			Remotes: []tier.Remote{{Name: "migration", Store: store}},
		})
		if err != nil {
			t.Fatal(err)
		}
		before := p.s.Progress()
		for range 3 {
			_, _ = c.Get(t.Context(), "none")
		}
		st, ok := c.Stats().Remotes[0].Store.(Stats)
		if !ok || st.Phase != PhaseNew || st.Misses != before.Misses+3 || len(st.Members) != 2 || st.Members[1].Name != "old" {
			t.Errorf("%s: %+v", name, st)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	m, err := tier.New(tier.Config[string]{Namespace: "m", Remotes: []tier.Remote{{Name: "m", Store: prefixed(t, p.fresh, "p:")}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Stats().Remotes[0].Store; got != nil {
		t.Errorf("a plain store tells %v", got)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// With deployments more often than Config.LongestTTL, it would else never have passed.
func TestProgress_ARestartedProcessGoesOnCountingHowLongOldIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1)
		defer c.close()
		a := c.pairs[0]
		a.put(a.old, "k", "v")
		a.gets("k", "v")
		if err := c.advance(PhaseNew, time.Minute, 0); err != nil {
			t.Fatal(err)
		}
		needed := func(s *Store) time.Duration { return s.Progress().OldNeededFor.Round(time.Minute) }
		c.while(10*time.Hour, 0)
		for _, row := range []struct {
			name  string
			phase Phase // that it is configured with
		}{{"b", PhaseOld}, {"c", PhaseNew}} {
			p, f := c.another(row.name, row.phase)
			defer p.s.Close()
			p.ok(f.Beat(t.Context()))
			if got, want := needed(p.s), DefaultLongestTTL-10*time.Hour; got != want || got != needed(a.s) {
				t.Errorf("%s, started in %v: %v, want %v; a, which was there: %v", row.name, row.phase, got, want, needed(a.s))
			}
		}
		at := c.now().OldUnwritten
		if err := c.advance(PhaseRetire, time.Minute, 0); err != nil || !c.now().OldUnwritten.Equal(at) {
			t.Errorf("%v; in retire since %v, want %v", err, c.now().OldUnwritten, at)
		}
		if err := c.advance(PhaseMirror, time.Minute, 0); err != nil || !c.now().OldUnwritten.IsZero() || a.s.Progress().OldNeededFor >= 0 {
			t.Errorf("back in mirror old is written to: %v, since %v", err, c.now().OldUnwritten)
		}
		if err := c.advance(PhaseNew, time.Minute, 0); err != nil || needed(a.s) != DefaultLongestTTL {
			t.Errorf("in new once more: %v, %v, want all of it", err, needed(a.s))
		}
	})
}

func TestProgress_ProcessThatWroteToOldForLongerIsWaitedForByAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2)
		defer c.close()
		b := c.pairs[1]
		b.ok(b.s.Set(t.Context(), "k", text("v")))
		if err := c.advance(PhaseNew, 2*time.Minute, 0); err != nil { // b is cut off, and counts as gone
			t.Fatal(err)
		}
		c.while(5*time.Hour, 0)
		c.beat(1)
		late := c.now().OldUnwritten
		if time.Since(late) > time.Minute {
			t.Errorf("since %v ago, and b has written until now", time.Since(late))
		}
		time.Sleep(time.Second)
		c.beat(0)
		for i, p := range c.pairs {
			if got := p.s.Progress().OldNeededFor; got.Round(time.Minute) != DefaultLongestTTL {
				t.Errorf("process %d: %v", i, got)
			}
		}
	})
}

// A record as it was before it kept the time: the first to report notes when it came to PhaseNew.
func TestProgress_RecordWithoutTheTimeIsReadAsBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1)
		defer c.close()
		const before = `{"phase":"new","target":"new","step":"s","revision":900,"origin":"o","processes":{}}`
		c.pairs[0].ok(c.record.Set(t.Context(), "migration", backends.Item{Value: []byte(before)}))
		p, f := c.another("b", PhaseOld)
		defer p.s.Close()
		p.ok(f.Beat(t.Context()))
		if got := p.s.Progress().OldNeededFor; got != DefaultLongestTTL {
			t.Errorf("%v, want the longest lifetime since it adopted the phase", got)
		}
		time.Sleep(time.Hour)
		q, g := c.another("c", PhaseOld)
		defer q.s.Close()
		q.ok(g.Beat(t.Context()))
		if got := q.s.Progress().OldNeededFor; got != DefaultLongestTTL-time.Hour {
			t.Errorf("the next: %v", got)
		}
	})
}

func TestProgress_TheTimeOutlivesTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1)
		defer c.close()
		if err := c.advance(PhaseNew, time.Minute, 0); err != nil {
			t.Fatal(err)
		}
		at := c.now().OldUnwritten
		c.while(time.Hour, 0)
		c.lose()
		p, f := c.another("newcomer", PhaseOld) // makes it anew
		defer p.s.Close()
		p.ok(f.say(t.Context()))
		c.while(2*DefaultDeadAfter, 0)
		if got := c.now(); at.IsZero() || !got.OldUnwritten.Equal(at) || got.Unsure {
			t.Errorf("since %v, want %v: %+v", got.OldUnwritten, at, got)
		}
	})
}
