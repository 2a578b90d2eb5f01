package fallback

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// WaitError says what an advance waits for.
type WaitError struct {
	To Phase
	// Waiting are the processes that are not ready, by name; none = those that may still report
	// to a record that was made anew.
	Waiting  []string
	Because  string    // what the first of them lacks
	LastSeen time.Time // when that reported, by its own clock
}

// Error implements error.
func (e *WaitError) Error() string {
	if len(e.Waiting) == 0 {
		return fmt.Sprintf("fallback: cannot go to %v yet: %s", e.To, e.Because)
	}
	return fmt.Sprintf("fallback: cannot go to %v yet: waiting for %s (%s)", e.To, strings.Join(e.Waiting, ", "), e.Because)
}

// ErrOvertaken: somebody else began to advance the fleet to another phase. That advance goes on,
// and this one is over.
var ErrOvertaken = errors.New("fallback: overtaken by another advance")

// Advance moves the fleet to phase to, in as many steps as are needed: from [PhaseOld] into a
// ramp it goes through [PhaseMirror]. It returns nil when every live process is in that phase, and
// no call is running any more that began in another.
//
// While it waits for a process, it keeps the record's target, so that others can see what it
// waits for. A record that does not answer it asks again: whether a change was made of which the
// answer was lost, the record tells. When ctx ends it returns a [*WaitError] that names the
// processes, or the last failure of the record's store, and the fleet stays where it is until
// somebody advances again. Of two that advance to different phases the later goes on, and the
// other gets [ErrOvertaken].
func (f *Fleet) Advance(ctx context.Context, to Phase) error {
	if !to.Valid() {
		return fmt.Errorf("fallback: %v is no phase", to)
	}
	var last error
	for begun := false; ; {
		try, cancel := context.WithTimeout(ctx, f.answerTime())
		waiting, err := f.step(try, to, &begun)
		cancel()
		switch {
		case err == nil && waiting == nil:
			return nil
		case err == nil:
			last = waiting
		case final(err) || errors.Is(err, ErrOvertaken):
			return err
		case ctx.Err() == nil || last == nil: // else it failed because the time is over
			last = fmt.Errorf("fallback: advance to %v: %w", to, err)
		}
		if f.cfg.OnWait != nil && ctx.Err() == nil {
			f.cfg.OnWait(last)
		}
		if pause(ctx, f.cfg.Heartbeat/4) != nil {
			return last
		}
	}
}

// TryAdvance is one step of Advance, without waiting: nil when the fleet is there.
func (f *Fleet) TryAdvance(ctx context.Context, to Phase) error {
	if !to.Valid() {
		return fmt.Errorf("fallback: %v is no phase", to)
	}
	begun := false
	waiting, err := f.step(ctx, to, &begun)
	if err == nil && waiting != nil {
		err = waiting
	}
	return err
}

// step goes as far towards a phase as is possible now; nil twice = the fleet is there. begun says
// that an earlier step has set the target, and is set.
func (f *Fleet) step(ctx context.Context, to Phase, begun *bool) (waiting *WaitError, err error) {
	if err := f.lock(ctx); err != nil {
		return nil, err
	}
	defer f.unlock()
	err = f.update(ctx, false, func(r *Record) error {
		f.look(r)
		if r.Unsure {
			waiting = unsure(r, to)
			return nil
		}
		was := *r
		if *begun && was.Target != to {
			return fmt.Errorf("%w, to %v", ErrOvertaken, was.Target)
		}
		if r.Target = to; was.Target != to {
			r.Step = rand.Text()
		}
		waiting = f.ready(r, to)
		if waiting == nil {
			r.Phase = to
		} else if mid := PhaseMirror; !r.Phase.Compatible(to) && f.ready(r, mid) == nil {
			r.Phase = mid
		}
		if was.Phase != r.Phase {
			r.Step = rand.Text()
		}
		switch {
		case r.Phase < PhaseNew:
			r.OldUnwritten = time.Time{}
		case was.Phase < PhaseNew:
			r.OldUnwritten = f.cfg.Now().UTC()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f.adopt()
	r := f.Record()
	if r.Unsure {
		return waiting, nil
	}
	*begun = true
	if r.Phase != to {
		return waiting, nil
	}
	behind := f.laggards(r, func(p Process) string {
		switch {
		case p.Phase != to:
			return "it is in phase " + p.Phase.String()
		case p.Step != r.Step && p.Busy > 0:
			return fmt.Sprintf("%d calls that began before it took up the last step are still running", p.Busy)
		case p.Step != r.Step:
			return "it has not taken up the last step yet"
		}
		return ""
	}, func(Process) int { return 0 })
	if len(behind.Waiting) > 0 {
		behind.To = to
		return behind, nil
	}
	return nil, nil
}

// unsure is what an advance waits for while the record may lack something.
func unsure(r *Record, to Phase) *WaitError {
	e := &WaitError{To: to, Waiting: r.unheard(), Because: "the record was made anew a moment ago, and others may still report"}
	if len(e.Waiting) > 0 {
		e.Because = "the record was lost, and it has not reported since"
		e.LastSeen = r.Processes[e.Waiting[0]].Seen
	}
	return e
}

// ready says who is not ready for the fleet to go to phase to, nil = all are: every process must
// be in a phase that is compatible with it. Before anybody reads a store that is not read now, or
// is told of changes later than the others, every process must also act upon the record as it is,
// and so tell that store of every change at once, and owe it nothing from before.
func (f *Fleet) ready(r *Record, to Phase) *WaitError {
	crosses := (to > PhaseMirror) != (r.Phase > PhaseMirror) || (to == PhaseRetire) != (r.Phase == PhaseRetire) ||
		to == PhaseOld && r.Phase != PhaseOld
	owed := func(p Process) int {
		switch {
		case !crosses:
			return 0
		case p.Unheard: // nobody knows
			return 1
		case to < r.Phase: // a new store that is broken must not keep anybody from going back
			return p.OwedOld
		}
		return p.Owed
	}
	e := f.laggards(*r, func(p Process) string {
		switch {
		case !p.Phase.Compatible(to):
			return "it is in phase " + p.Phase.String()
		case !crosses:
			return ""
		case p.Step != r.Step && p.Busy > 0:
			return fmt.Sprintf("%d calls that began before it took up the last step are still running", p.Busy)
		case p.Step != r.Step:
			return "it has not taken up the last step yet"
		case owed(p) > 0:
			return fmt.Sprintf("it has %d undelivered invalidations", owed(p))
		}
		return ""
	}, owed)
	f.alone(r, crosses, owed, e)
	if len(e.Waiting) == 0 {
		return nil
	}
	e.To = to
	return e
}

// alone adds this process to e if it is not in the record, and its Store is in use all the same.
func (f *Fleet) alone(r *Record, crosses bool, owed func(Process) int, e *WaitError) {
	p := f.self()
	if _, listed := r.Processes[f.cfg.Process]; listed || !crosses || owed(p) == 0 && p.Busy == 0 {
		return
	}
	e.Waiting = append(e.Waiting, f.cfg.Process)
	if e.Because == "" {
		e.Because, e.LastSeen = "it has not joined, and has calls running or undelivered invalidations", p.Seen
	}
}

// laggards names the processes that lack something, and those that are gone and owed something.
func (f *Fleet) laggards(r Record, lacks func(Process) string, owed func(Process) int) *WaitError {
	e := &WaitError{}
	for _, name := range slices.Sorted(maps.Keys(r.Processes)) {
		p := r.Processes[name]
		why := lacks(p)
		if p.Unheard || f.gone(name) {
			switch why = ""; {
			case owed(p) == 0:
			case p.Unheard:
				why = "it has not been heard of since the record was lost, and may have left undelivered invalidations; see Forget"
			default:
				why = fmt.Sprintf("it is gone and left %d undelivered invalidations; see Forget", owed(p))
			}
		}
		if why == "" {
			continue
		}
		if e.Because == "" {
			e.Because, e.LastSeen = why, p.Seen
		}
		e.Waiting = append(e.Waiting, name)
	}
	return e
}

// Forget takes a process off the record: one that crashed while it owed invalidations, or that has
// not been heard of since the record was lost, after the new store was cleared, or because what it
// owed has expired.
func (f *Fleet) Forget(ctx context.Context, process string) error {
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.unlock()
	return f.update(ctx, false, func(r *Record) error { delete(r.Processes, process); return nil })
}
