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
	// MaxErrorRate is the share of reads that may go without an answer, and of those that new was
	// asked for that it may leave to old by failing. 0 = 0.01.
	MaxErrorRate float64
	// MaxCopyFailures is the share of copies that new may fail to take, 0 to 1, without having lost
	// them to a change: such a new may answer reads and still stay cold. 0 = 0.05.
	MaxCopyFailures float64
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
	if c.MaxCopyFailures == 0 {
		c.MaxCopyFailures = 0.05
	}
	if c.Patience == 0 {
		c.Patience = 3
	}
	switch {
	case len(c.Steps) == 0 || !slices.IsSorted(c.Steps) || c.Steps[0] < PhaseMirror || !c.Steps[len(c.Steps)-1].Valid():
		return c, errors.New("fallback: RampConfig.Steps are not phases from mirror on, in order")
	case c.Every < 0 || c.MinReads < 0 || c.Patience < 0:
		return c, errors.New("fallback: RampConfig.Every, MinReads or Patience is negative")
	case !(c.MaxHitLoss > 0 && c.MaxHitLoss <= 1) || !(c.MaxErrorRate > 0 && c.MaxErrorRate <= 1) ||
		!(c.MaxCopyFailures > 0 && c.MaxCopyFailures <= 1):
		return c, errors.New("fallback: RampConfig.MaxHitLoss, MaxErrorRate or MaxCopyFailures is not in (0, 1]")
	}
	return c, nil
}

// ErrRampGaveUp: a step of an automatic ramp went wrong too often. The phase is the last one that
// went well.
var ErrRampGaveUp = errors.New("fallback: the ramp gave up")

// ErrRampTakenOver: somebody has gone back behind the step of an automatic ramp. The ramp leaves the
// phase to them.
var ErrRampTakenOver = errors.New("fallback: somebody went back while the ramp went on")

// AutoRamp goes through the steps of cfg, one after another, as long as reads go well. It first
// watches one interval for the hit rate of before. A step that loses too many hits or answers is
// gone back from at once, also while [RampConfig.Advance] still waits, and tried again after two
// intervals, and then four, and so on. It returns nil when the last step went well,
// [ErrRampGaveUp] when one went wrong too often, [ErrRampTakenOver] when somebody else went back,
// the error of an Advance that failed, or ctx's error; in each case the phase stays what it is
// then. Going back from a bad step is tried until it succeeds or ctx ends.
func (s *Store) AutoRamp(ctx context.Context, cfg RampConfig) error {
	cfg, err := cfg.complete()
	if err != nil {
		return err
	}
	r := &ramp{s: s, cfg: cfg, at: s.Phase()}
	if cfg.Advance == nil {
		r.cfg.Advance = func(_ context.Context, to Phase) error { return s.SetPhase(to) }
	}
	if r.before, err = r.watch(ctx, nil); err != nil {
		return err
	}
	for i := 0; i < len(cfg.Steps); {
		from, to := s.Phase(), cfg.Steps[i]
		if to <= from { // somebody was faster
			i++
			continue
		}
		why, err := r.step(ctx, from, to)
		switch {
		case err != nil:
			return err
		case why == "":
			r.wrong = 0
			i++
		default:
			if err := r.back(ctx, from, to, why); err != nil {
				return err
			}
		}
	}
	return nil
}

// looks is how often per interval a ramp looks, so that trouble is seen early.
const looks = 10

// ramp is one AutoRamp call.
type ramp struct {
	s      *Store
	cfg    RampConfig
	before reads
	at     Phase // at which it found the Store, or to which it has brought it
	wrong  int   // how often the present step went wrong
}

// step goes to a phase and watches it. It returns what is wrong with it, or nothing.
func (r *ramp) step(ctx context.Context, from, to Phase) (why string, err error) {
	if from < r.at {
		return "", r.takenOver(from)
	}
	r.at = from
	r.s.observe(Event{Kind: EventRampStep, From: from, Phase: to, Reason: "reads go well"})
	advancing, cancel := context.WithCancel(ctx)
	done, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		done <- r.cfg.Advance(advancing, to)
	}()
	defer func() { cancel(); <-ended }()
	for { // a fleet that waits for somebody is in the new phase already
		now, err := r.watch(ctx, done)
		if errors.Is(err, errAdvanced) {
			break
		}
		if err != nil {
			return "", err
		}
		if why := now.worseThan(r.before, r.cfg); why != "" {
			return why, nil
		}
	}
	r.at = to
	now, err := r.watch(ctx, nil)
	return now.worseThan(r.before, r.cfg), err
}

// back undoes a step that went wrong, and rests.
func (r *ramp) back(ctx context.Context, from, to Phase, why string) error {
	r.s.observe(Event{Kind: EventRampStep, From: to, Phase: from, Reason: why})
	r.at = min(from, r.s.Phase())
	for {
		err := r.cfg.Advance(ctx, from)
		if err == nil {
			break
		}
		if r.look(ctx, nil) != nil {
			return fmt.Errorf("fallback: going back from %v, where %s: %w", to, why, err)
		}
	}
	if r.wrong++; r.wrong >= r.cfg.Patience {
		return fmt.Errorf("%w at %v: %s", ErrRampGaveUp, to, why)
	}
	for range looks << r.wrong {
		if err := r.look(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

// errAdvanced ends a watch: the phase is in force everywhere.
var errAdvanced = errors.New("fallback: advanced")

// look lets a tenth of an interval pass, unless ctx or done ends it, and returns an error if that is
// so or the ramp was taken over.
func (r *ramp) look(ctx context.Context, done <-chan error) error {
	t := time.NewTimer(r.cfg.Every / looks)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-done:
		if err != nil {
			return err
		}
		return errAdvanced
	case <-t.C:
	}
	if is := r.s.Phase(); is < r.at {
		return r.takenOver(is)
	}
	return nil
}

func (r *ramp) takenOver(is Phase) error {
	return fmt.Errorf("%w: from %v to %v", ErrRampTakenOver, r.at, is)
}

// watch looks for an interval, and on until there were enough reads, and returns them. It returns
// early when answers fail, and with errAdvanced when done says so.
func (r *ramp) watch(ctx context.Context, done <-chan error) (reads, error) {
	start := r.s.reads()
	for n := 1; ; n++ {
		if err := r.look(ctx, done); err != nil {
			return reads{}, err
		}
		d := r.s.reads().since(start)
		if d.total >= r.cfg.MinReads && (n >= looks || r.before.total > 0 && d.failing(r.before, r.cfg) != "") {
			return d, nil
		}
	}
}

// reads is what a ramp looks at, over one interval.
type reads struct {
	hits, misses, failures, total int64
	askedNew, failedNew           int64
	copied, copyUnanswered        int64
}

func (s *Store) reads() reads {
	p := s.Progress()
	return reads{
		hits: p.HitsNew + p.HitsOld, misses: p.Misses, failures: p.Failures, total: p.Reads,
		askedNew: p.AskedNew, failedNew: p.FailedNew,
		copied: p.Copied, copyUnanswered: s.counts.copyUnanswered.Load(),
	}
}

func (r reads) since(start reads) reads {
	return reads{
		hits: r.hits - start.hits, misses: r.misses - start.misses, failures: r.failures - start.failures, total: r.total - start.total,
		askedNew: r.askedNew - start.askedNew, failedNew: r.failedNew - start.failedNew,
		copied: r.copied - start.copied, copyUnanswered: r.copyUnanswered - start.copyUnanswered,
	}
}

func (r reads) hitRate() float64 { return ratio(r.hits, r.hits+r.misses) }

func ratio(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// fewFailures of new say nothing yet: at the first steps it is asked for a few keys only.
const fewFailures = 5

// failing says which answers are missing that were not missing before, or nothing.
func (r reads) failing(before reads, cfg RampConfig) string {
	if e := ratio(r.failures, r.total); e > cfg.MaxErrorRate && e > ratio(before.failures, before.total) {
		return fmt.Sprintf("%.2f %% of the reads had no answer", 100*e)
	}
	if e := ratio(r.failedNew, r.askedNew); e > cfg.MaxErrorRate && r.failedNew > fewFailures && e > ratio(before.failedNew, before.askedNew) {
		return fmt.Sprintf("new gave no answer to %.2f %% of the reads that it was asked for", 100*e)
	}
	if e := ratio(r.copyUnanswered, r.copied+r.copyUnanswered); e > cfg.MaxCopyFailures && r.copyUnanswered > fewFailures {
		return fmt.Sprintf("new did not take %.2f %% of the copies", 100*e)
	}
	return ""
}

// worseThan says what is wrong compared with before, or nothing.
func (r reads) worseThan(before reads, cfg RampConfig) string {
	if why := r.failing(before, cfg); why != "" {
		return why
	}
	if was, is := before.hitRate(), r.hitRate(); is < was-cfg.MaxHitLoss {
		return fmt.Sprintf("the hit rate fell from %.1f %% to %.1f %%", 100*was, 100*is)
	}
	return ""
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
