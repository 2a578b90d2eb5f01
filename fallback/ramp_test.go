package fallback

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
