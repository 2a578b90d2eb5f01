package fallback

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
)

// traffic reads keys all the time until ctx ends.
func (p *pair) traffic(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		_, _ = p.s.Get(ctx, fmt.Sprint("k", i%200))
		time.Sleep(10 * time.Millisecond)
	}
}

func TestAutoRamp_GoesUpWhileReadsGoWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseMirror)
		for i := range 200 {
			p.put(p.old, fmt.Sprint("k", i), "v")
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { p.traffic(ctx) })
		p.ok(p.s.AutoRamp(ctx, RampConfig{Every: 20 * time.Second}))
		if p.s.Phase() != PhaseNew {
			t.Errorf("ended in %v", p.s.Phase())
		}
		if got := p.s.Progress(); got.ShareNew() == 0 || got.Copied == 0 || got.OldNeededUntil.IsZero() {
			t.Errorf("progress: %+v", got)
		}
		cancel()
		wg.Wait()
		p.s.Close()
	})
}

func TestAutoRamp_StepsBackAndGivesUpWhenReadsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := 0
		p := newPair(t, PhaseMirror, func(c *Config) {
			c.Observer = func(e Event) {
				if e.Kind == EventRampStep && e.Phase < e.From {
					back++
				}
			}
		})
		for i := range 100 { // the others are misses in old, and failures in new
			p.put(p.old, fmt.Sprint("k", i), "v")
		}
		p.n.Inject(backendtest.Fault{Op: backendtest.OpGet, Times: -1})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { p.traffic(ctx) })
		err := p.s.AutoRamp(ctx, RampConfig{Every: 20 * time.Second, Steps: []Phase{Ramp(50), PhaseNew}})
		if !errors.Is(err, ErrRampGaveUp) || p.s.Phase() != PhaseMirror || back != 3 {
			t.Errorf("got %v in %v after %d steps back", err, p.s.Phase(), back)
		}
		cancel()
		wg.Wait()
		p.s.Close()
	})
}

// New is down, and old answers every read: nobody notices, but the ramp.
func TestAutoRamp_StepsBackWhenOldAnswersForANewThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseMirror)
		for i := range 200 {
			p.put(p.old, fmt.Sprint("k", i), "v")
		}
		p.n.Down(true)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { p.traffic(ctx) })
		err := p.s.AutoRamp(ctx, RampConfig{Every: 20 * time.Second})
		if !errors.Is(err, ErrRampGaveUp) || p.s.Phase() != PhaseMirror {
			t.Errorf("got %v in %v", err, p.s.Phase())
		}
		if got := p.s.Progress(); got.Failures != 0 || got.FailedNew == 0 || got.FailedNew > got.AskedNew || got.CopyFailures == 0 {
			t.Errorf("progress: %+v", got)
		}
		cancel()
		wg.Wait()
		p.s.Close()
	})
}

func TestAutoRamp_LeavesThePhaseToWhoeverGoesBack(t *testing.T) {
	for name, goBack := range map[string]time.Duration{"while a step is watched": 35 * time.Second, "before the first": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, PhaseMirror)
				for i := range 200 {
					p.put(p.old, fmt.Sprint("k", i), "v")
				}
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() { p.traffic(ctx) })
				wg.Go(func() {
					time.Sleep(goBack)
					p.ok(p.s.SetPhase(PhaseOld))
				})
				err := p.s.AutoRamp(ctx, RampConfig{Every: 20 * time.Second, Steps: []Phase{Ramp(25), Ramp(50), PhaseNew}})
				if !errors.Is(err, ErrRampTakenOver) || p.s.Phase() != PhaseOld {
					t.Errorf("got %v in %v", err, p.s.Phase())
				}
				cancel()
				wg.Wait()
				p.s.Close()
			})
		})
	}
}

// An Advance that waits for a process that hangs does not keep the ramp from seeing that reads fail,
// and one that fails on the way back is tried again.
func TestAutoRamp_WatchesWhileItAdvancesAndInsistsOnGoingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseMirror)
		for i := range 200 {
			p.put(p.old, fmt.Sprint("k", i), "v")
		}
		lost := 0
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { p.traffic(ctx) })
		err := p.s.AutoRamp(ctx, RampConfig{
			Every: 20 * time.Second, Steps: []Phase{PhaseNew}, Patience: 1,
			Advance: func(ctx context.Context, to Phase) error {
				if to == PhaseNew {
					p.n.Down(true)
					p.ok(p.s.SetPhase(to))
					<-ctx.Done()
					return ctx.Err()
				}
				if lost++; lost < 3 {
					return errors.New("a lost answer")
				}
				return p.s.SetPhase(to)
			},
		})
		if !errors.Is(err, ErrRampGaveUp) || p.s.Phase() != PhaseMirror || lost != 3 {
			t.Errorf("got %v in %v after %d tries", err, p.s.Phase(), lost)
		}
		cancel()
		wg.Wait()
		p.s.Close()
	})
}

func TestPhase_TextRoundTripsAndBoundsHold(t *testing.T) {
	for _, p := range []Phase{PhaseOld, PhaseMirror, Ramp(0.01), Ramp(12.5), Ramp(99.99), PhaseNew, PhaseRetire} {
		got, err := ParsePhase(p.String())
		if err != nil || got != p {
			t.Errorf("%v: %v, %v", p, got, err)
		}
	}
	if Ramp(0) != PhaseMirror || Ramp(100) != PhaseNew || Ramp(-5) != PhaseMirror || Ramp(1e9) != PhaseNew {
		t.Error("a ramp of nothing is mirror, one of everything is new")
	}
	for _, s := range []string{"", "ramp", "ramp 101%", "ramp NaN%", "news"} {
		if p, err := ParsePhase(s); err == nil {
			t.Errorf("%q is %v", s, p)
		}
	}
}

func TestPhase_KeysStayInAsARampGrows(t *testing.T) {
	in := map[string]bool{}
	for percent := 0.0; percent <= 100; percent += 5 {
		n := 0
		for i := range 1000 {
			key := fmt.Sprint("key", i)
			if Ramp(percent).mode(key).newAnswers() {
				in[key] = true
				n++
			} else if in[key] {
				t.Fatalf("%s left at %v %%", key, percent)
			}
		}
		if d := float64(n)/10 - percent; d > 5 || d < -5 {
			t.Errorf("%d of 1000 keys at %v %%", n, percent)
		}
	}
}

// watched is a ramp in one step to New, with traffic on 200 keys of old all the while.
func watched(t *testing.T, p *pair, cfg RampConfig) (back string, err error) {
	t.Helper()
	p.s.cfg.Observer = func(e Event) {
		if e.Kind == EventRampStep && e.Phase < e.From {
			back = e.Reason
		}
	}
	for i := range 200 {
		p.put(p.old, fmt.Sprint("k", i), "v")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { p.traffic(ctx) })
	cfg.Every, cfg.Steps, cfg.Patience = 20*time.Second, []Phase{PhaseNew}, 1
	err = p.s.AutoRamp(ctx, cfg)
	cancel()
	wg.Wait()
	p.s.Close()
	return back, err
}

// New answers everything, and has nothing: only the hit rate shows it.
func TestAutoRamp_StepsBackWhenOnlyTheHitRateFalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, PhaseMirror, func(c *Config) { c.MaxCopies = -1 })
		p.o.Before(func(backendtest.Op, string) {
			if p.s.Phase() == PhaseNew { // what is not copied expires in old
				for i := range 200 {
					_ = p.old.Delete(context.Background(), fmt.Sprint("k", i))
				}
			}
		})
		back, err := watched(t, p, RampConfig{})
		if got := p.s.Progress(); !errors.Is(err, ErrRampGaveUp) || p.s.Phase() != PhaseMirror || !strings.Contains(back, "hit rate") || got.FailedNew != 0 {
			t.Errorf("got %v in %v, new failed %d; back because %q", err, p.s.Phase(), got.FailedNew, back)
		}
	})
}

// New answers reads in time, and does not take a fifth of the copies: old answers all of it, and no other figure shows it.
func TestAutoRamp_StepsBackWhenNewDoesNotTakeCopies(t *testing.T) {
	for name, fault := range map[string]backendtest.Fault{
		"fails":   {Op: backendtest.OpFill, Times: -1, Rate: 0.2, Err: backends.ErrUnavailable},
		"is late": {Op: backendtest.OpFill, Times: -1, Rate: 0.2, Block: make(chan struct{})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if fault.Block != nil {
					fault.Block = make(chan struct{})
				}
				p := newPair(t, PhaseMirror)
				p.n.Inject(fault)
				back, err := watched(t, p, RampConfig{})
				if !errors.Is(err, ErrRampGaveUp) || p.s.Phase() != PhaseMirror || !strings.Contains(back, "copies") {
					t.Errorf("got %v in %v; back because %q, %+v", err, p.s.Phase(), back, p.s.Progress())
				}
			})
		})
	}
}

// A copy that is lost to a change is as it should be, and one that new refuses is no outage.
func TestAutoRamp_GoesOnOverCopiesThatAreLostToChanges(t *testing.T) {
	for _, lost := range []error{backends.ErrLeaseLost, backends.ErrTooLarge} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, PhaseMirror)
			p.n.Inject(backendtest.Fault{Op: backendtest.OpFill, Times: -1, Err: lost})
			if back, err := watched(t, p, RampConfig{}); err != nil || p.s.Phase() != PhaseNew || p.s.Progress().CopyFailures == 0 {
				t.Errorf("%v: got %v in %v; back because %q", lost, err, p.s.Phase(), back)
			}
		})
	}
}
