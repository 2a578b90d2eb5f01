package fallback

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// RampConfig says how [Store.AutoRamp] goes on. Every zero value is a default.
type RampConfig struct {
	// Steps are the phases to go through, in order. nil = 1, 5, 10, 25, 50, 75, 90 % and
	// PhaseNew.
	Steps []Phase
	// Every is how long a step is watched before the next. 0 = 1 minute.
	Every time.Duration
	// MinReads is how many reads a step must have seen. 0 = 1000.
	MinReads int64
	// MaxHitLoss is how far the share of hits may fall below what it was before the ramp began,
	// 0 to 1. 0 = 0.05.
	MaxHitLoss float64
	// MaxErrorRate is the share of reads that may go without an answer. 0 = 0.01.
	MaxErrorRate float64
	// Patience is how often a step may go wrong before the ramp gives up. 0 = 3.
	Patience int
	// Advance puts a phase in force: [Fleet.Advance] where there is a fleet. nil =
	// Store.SetPhase.
	Advance func(ctx context.Context, to Phase) error
}

func (c RampConfig) complete() (RampConfig, error) {
	if c.Steps == nil {
		for _, percent := range []float64{1, 5, 10, 25, 50, 75, 90, 100} {
			c.Steps = append(c.Steps, Ramp(percent))
		}
	}
	if c.Every == 0 {
		c.Every = time.Minute
	}
	if c.MinReads == 0 {
		c.MinReads = 1000
	}
	if c.MaxHitLoss == 0 {
		c.MaxHitLoss = 0.05
	}
	if c.MaxErrorRate == 0 {
		c.MaxErrorRate = 0.01
	}
	if c.Patience == 0 {
		c.Patience = 3
	}
	switch {
	case len(c.Steps) == 0 || !slices.IsSorted(c.Steps) || c.Steps[0] < PhaseMirror || !c.Steps[len(c.Steps)-1].Valid():
		return c, errors.New("fallback: RampConfig.Steps are not phases from mirror on, in order")
	case c.Every < 0 || c.MinReads < 0 || c.Patience < 0:
		return c, errors.New("fallback: RampConfig.Every, MinReads or Patience is negative")
	case !(c.MaxHitLoss > 0 && c.MaxHitLoss <= 1) || !(c.MaxErrorRate > 0 && c.MaxErrorRate <= 1):
		return c, errors.New("fallback: RampConfig.MaxHitLoss or MaxErrorRate is not in (0, 1]")
	}
	return c, nil
}

// ErrRampGaveUp: a step of an automatic ramp went wrong too often. The phase is the last one that
// went well.
var ErrRampGaveUp = errors.New("fallback: the ramp gave up")

// AutoRamp goes through the steps of cfg, one after another, as long as reads go well. It first
// watches one interval for the hit rate of before. A step that loses too many hits or answers is
// gone back from at once, and tried again after two intervals, and then four, and so on. It
// returns nil when the last step went well, [ErrRampGaveUp] when one went wrong too often, or
// ctx's error; in each case the phase stays what it is then.
func (s *Store) AutoRamp(ctx context.Context, cfg RampConfig) error {
	cfg, err := cfg.complete()
	if err != nil {
		return err
	}
	advance := cfg.Advance
	if advance == nil {
		advance = func(_ context.Context, to Phase) error { return s.SetPhase(to) }
	}
	before, err := s.watch(ctx, cfg)
	if err != nil {
		return err
	}
	wrong := 0
	for i := 0; i < len(cfg.Steps); {
		from, to := s.Phase(), cfg.Steps[i]
		if to <= from { // somebody was faster
			i++
			continue
		}
		if err := advance(ctx, to); err != nil {
			return err
		}
		s.observe(Event{Kind: EventRampStep, From: from, Phase: to, Reason: "reads go well"})
		now, err := s.watch(ctx, cfg)
		if err != nil {
			return err
		}
		why := now.worseThan(before, cfg)
		if why == "" {
			wrong = 0
			i++
			continue
		}
		s.observe(Event{Kind: EventRampStep, From: to, Phase: from, Reason: why})
		if err := advance(ctx, from); err != nil {
			return err
		}
		if wrong++; wrong >= cfg.Patience {
			return fmt.Errorf("%w at %v: %s", ErrRampGaveUp, to, why)
		}
		if err := pause(ctx, cfg.Every<<wrong); err != nil {
			return err
		}
	}
	return nil
}

// reads is what a ramp looks at, over one interval.
type reads struct {
	hits, misses, failures, total int64
}

func (r reads) hitRate() float64 { return ratio(r.hits, r.hits+r.misses) }

func ratio(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// worseThan says what is wrong compared with before, or nothing.
func (r reads) worseThan(before reads, cfg RampConfig) string {
	if e := ratio(r.failures, r.total); e > cfg.MaxErrorRate && e > ratio(before.failures, before.total) {
		return fmt.Sprintf("%.2f %% of the reads had no answer", 100*e)
	}
	if was, is := before.hitRate(), r.hitRate(); is < was-cfg.MaxHitLoss {
		return fmt.Sprintf("the hit rate fell from %.1f %% to %.1f %%", 100*was, 100*is)
	}
	return ""
}

func (s *Store) reads() reads {
	p := s.Progress()
	return reads{hits: p.HitsNew + p.HitsOld, misses: p.Misses, failures: p.Failures, total: p.Reads}
}

// watch waits for an interval, and on until there were enough reads, and returns them. It
// returns early when answers fail.
func (s *Store) watch(ctx context.Context, cfg RampConfig) (reads, error) {
	const looks = 10 // per interval, so that trouble is seen early
	start := s.reads()
	for look := 1; ; look++ {
		if err := pause(ctx, cfg.Every/looks); err != nil {
			return reads{}, err
		}
		now := s.reads()
		d := reads{
			hits: now.hits - start.hits, misses: now.misses - start.misses,
			failures: now.failures - start.failures, total: now.total - start.total,
		}
		if d.total >= cfg.MinReads && (look >= looks || ratio(d.failures, d.total) > cfg.MaxErrorRate) {
			return d, nil
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
