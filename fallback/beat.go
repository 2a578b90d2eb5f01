package fallback

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// Join reports this process, adopts the fleet's phase, and keeps both up to date until ctx ends;
// it then takes the process off the record, unless it owes something, which others must go on to
// see ([Fleet.Forget]). While the record does not answer it goes on trying, from the first report
// on: until that has arrived the Store is in PhaseMirror at least and pardons nothing, as when the
// record is lost sight of later, and [Store.Stats] and Warnings say so. It returns ctx's error,
// with the last failure if no report ever arrived; at once if the record's store refuses the
// first report, or holds something else under its key.
//
// The first process to join makes the record, with its own phase. A program that must not serve
// before it is in the fleet's phase calls Beat first.
func (f *Fleet) Join(ctx context.Context) error {
	f.start()
	for failed := 0; ; {
		beat, cancel := context.WithTimeout(ctx, f.patience())
		err := f.say(beat)
		cancel()
		wait := jitter(f.cfg.Heartbeat, f.cfg.Heartbeat/8) // processes that began together drift apart
		if failed++; err == nil {
			failed = 0
		} else if f.heard.Load() == nil && final(err) {
			return err
		} else {
			wait = f.again(failed)
		}
		if pause(ctx, wait) != nil {
			break
		}
	}
	if f.heard.Load() == nil {
		return errors.Join(ctx.Err(), f.Stats().LastErr)
	}
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.cfg.Heartbeat)
	defer cancel()
	f.leave(bye)
	return ctx.Err()
}

// start notes the phase that this process begins with: that of the fleet, if it is the first.
func (f *Fleet) start() { f.once.Do(func() { f.began = f.store.Phase() }) }

// final reports whether trying again is pointless.
func final(err error) bool {
	return backends.IsRefusal(err) || errors.Is(err, errUnreadable) || errors.Is(err, backends.ErrWrongType)
}

// leave takes the process off the record, unless it owes something: that still has to be known.
func (f *Fleet) leave(ctx context.Context) {
	if f.lock(ctx) != nil {
		return
	}
	defer f.unlock()
	_ = f.update(ctx, false, func(r *Record) error {
		if p := f.report(r); p.Owed > 0 {
			r.Processes[f.cfg.Process] = p
			return nil
		}
		delete(r.Processes, f.cfg.Process)
		return nil
	})
	f.store.joined.CompareAndSwap(f, nil)
	f.store.enter(f.store.Phase(), func(uint32) uint32 { return fleetMixed })
}

// Beat is one report: it adopts what the record says and says where this process is. Join calls
// it; programs with a schedule of their own may.
//
// A process that does not know the fleet's phase yet, and finds no record or one that was made
// anew a moment ago, cannot tell a new fleet from one whose record was lost. Its Beat goes on
// reporting until everybody had FleetConfig.DeadAfter to say more, or ctx ends: [ErrUnsure] then.
// [Fleet.Found] spares a new fleet the wait.
func (f *Fleet) Beat(ctx context.Context) error {
	f.start()
	err := f.say(ctx)
	for err == nil && !f.sure.Load() {
		if err = pause(ctx, f.cfg.Heartbeat/2); err == nil {
			err = f.say(ctx)
		}
		if err != nil {
			return fmt.Errorf("%w (%w)", ErrUnsure, err)
		}
	}
	return err
}

// say makes one report.
func (f *Fleet) say(ctx context.Context) error {
	return f.sayIf(ctx, func() bool { return true })
}

// sayIf makes one report, if that is needed when it is its turn.
func (f *Fleet) sayIf(ctx context.Context, needed func() bool) error {
	began := f.cfg.Now()
	err := f.lock(ctx)
	if err == nil {
		if needed() {
			err = f.beat(ctx)
		}
		f.unlock()
	}
	if err != nil {
		f.asked(began, err)
		f.lost(err)
	}
	return err
}

// lock waits for the turn to write the record and act upon it.
func (f *Fleet) lock(ctx context.Context) error {
	select {
	case f.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("fallback: wait for the fleet record: %w", ctx.Err())
	}
}

func (f *Fleet) unlock() { <-f.turn }

// beat is one report; the turn is held.
func (f *Fleet) beat(ctx context.Context) (err error) {
	defer func() {
		f.mu.Lock()
		f.failed = err
		f.mu.Unlock()
	}()
	// Again after it adopted something: the record must never claim what is not in force, and
	// others wait to hear that it is.
	for range 3 {
		began := f.cfg.Now()
		var said Process
		err := f.update(ctx, true, func(r *Record) error {
			f.look(r)
			f.enlist(r)
			said = f.report(r)
			r.Processes[f.cfg.Process] = said
			f.note(r)
			return nil
		})
		if err != nil {
			return err
		}
		f.heard.Store(&began)
		if f.cut.Swap(false) {
			f.store.observe(Event{Kind: EventRecord, Phase: f.store.Phase(), Reason: "it answers this process again"})
		}
		f.store.joined.Store(f)
		f.mu.Lock()
		f.declared.new, f.declared.old = said.Owed > said.OwedOld, said.OwedOld > 0
		f.during = f.last.Phase
		f.mu.Unlock()
		f.adopt()
		if said.Phase == f.store.Phase() && (said.Step == f.took.step || f.store.earlier() > 0) {
			break
		}
	}
	return nil
}

// look notes what can be told from the record about others, before it is changed.
func (f *Fleet) look(r *Record) {
	f.watch(r)
	f.prune(r)
	f.settle(r)
}

// enlist adopts the record's phase before this process shows up in it, for the first time or
// after it was left out.
func (f *Fleet) enlist(r *Record) {
	if r.Unsure {
		f.hold(r)
		return
	}
	if _, listed := r.Processes[f.cfg.Process]; !listed || !f.store.Phase().Compatible(r.Phase) {
		f.store.enter(r.Phase, func(uint32) uint32 { return fleetMixed })
	}
}

// report is what this process says of itself next. That it acts upon a step it says from when no
// call of before is running any more, and what it owes it looks up after that.
func (f *Fleet) report(r *Record) Process {
	p := f.self()
	if p.Busy == 0 {
		f.acted = f.took
	}
	p.Step, p.Target = f.acted.step, f.acted.target
	f.mu.Lock()
	defer f.mu.Unlock()
	p.Owed, p.OwedOld = f.owed()
	f.declared.new = f.declared.new && p.Owed > p.OwedOld
	f.declared.old = f.declared.old && p.OwedOld > 0
	return p
}

// note puts into the record until when this process wrote to old, if nobody did later. One that
// begins in PhaseNew cannot know, and takes it as it is.
func (f *Fleet) note(r *Record) {
	if r.Unsure || r.Phase < PhaseNew || f.store.Phase() < PhaseNew {
		return
	}
	own, wrote := f.store.counts.lastWritten()
	if own.After(r.OldUnwritten) && (wrote || r.OldUnwritten.IsZero()) {
		r.OldUnwritten = own.UTC()
	}
}

func (f *Fleet) self() Process {
	p := Process{Busy: f.store.earlier(), Phase: f.store.Phase(), Seen: f.cfg.Now().UTC()}
	p.Owed, p.OwedOld = f.owed()
	return p
}

func (f *Fleet) owed() (all, old int) {
	old = f.store.old.owed.count()
	return old + f.store.new.owed.count(), old
}

// watch notes how long processes have been silent while the record could be read. It counts no
// time in which nobody could report, or in which this process stood still, and compares no clocks.
func (f *Fleet) watch(r *Record) {
	now := f.cfg.Now()
	var passed time.Duration
	if !f.watched.IsZero() {
		passed = min(max(now.Sub(f.watched), 0), f.cfg.Heartbeat)
	}
	f.watched = now
	if f.stood.time += passed; f.stood.origin != r.Origin {
		f.stood = stood{origin: r.Origin}
	}
	maps.DeleteFunc(f.watching, func(name string, _ watch) bool { _, listed := r.Processes[name]; return !listed })
	for name, p := range r.Processes {
		w := f.watching[name]
		if w.idle += passed; !w.seen.Equal(p.Seen) {
			w = watch{seen: p.Seen}
		}
		f.watching[name] = w
	}
}

// prune leaves out processes that are gone. One that owed something when it was last seen stays:
// nobody will deliver that any more, and only a person can say that it does not matter; and so
// does one that was in a record that was lost, of which nobody knows what it owed.
func (f *Fleet) prune(r *Record) {
	maps.DeleteFunc(r.Processes, func(name string, p Process) bool {
		return f.gone(name) && p.Owed == 0 && !p.Unheard
	})
}

func (f *Fleet) gone(name string) bool {
	return name != f.cfg.Process && f.watching[name].idle > f.cfg.DeadAfter
}

// adopt puts the record's phase in force, and what it says about the others.
func (f *Fleet) adopt() {
	r := f.Record()
	if r.Unsure {
		f.hold(&r)
		f.took = acted{r.Step, r.Target}
		return
	}
	f.sure.Store(true)
	f.store.counts.heardUnwritten(r.OldUnwritten)
	state := fleetMixed
	if _, listed := r.Processes[f.cfg.Process]; listed && r.settled() {
		switch lowest, highest := r.span(); {
		case highest <= PhaseMirror:
			state = fleetOnOld
		case lowest == PhaseRetire:
			state = fleetRetired
		}
	}
	f.store.enter(r.Phase, func(uint32) uint32 { return state })
	f.took = acted{r.Step, r.Target}
}

// declare makes sure that the record says that this process owes something, and reports whether
// the fleet was in a phase then in which that is nobody's concern yet. The debt is in the outbox.
func (f *Fleet) declare(ctx context.Context, v view) bool {
	if f.cut.Load() {
		return false
	}
	if ok, known := f.allows(v); known {
		return ok
	}
	began := f.cfg.Now()
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Heartbeat)
	defer cancel()
	if f.lock(ctx) != nil {
		if f.cfg.Now().Sub(began) >= askFor { // whoever holds it is not answered
			f.refuse()
		}
		return false
	}
	defer f.unlock()
	if ok, known := f.allows(v); known {
		return ok
	}
	if err := f.beat(ctx); err != nil {
		f.refuse()
		return false
	}
	// If it does not say so now, what was owed has been delivered.
	ok, known := f.allows(v)
	return ok || !known
}

// refuse notes that the record could not be reached for a debt.
func (f *Fleet) refuse() {
	f.mu.Lock()
	f.refused = f.cfg.Now()
	f.mu.Unlock()
}

// allows is what declare returns, if the record says what it has to say already, or could not be
// reached a moment ago.
func (f *Fleet) allows(v view) (ok, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last.Unsure || f.cfg.Now().Sub(f.refused) < f.cfg.Heartbeat {
		return false, true
	}
	if f.silent() { // the record may be another one by now
		return false, false
	}
	if v.newAnswers() {
		return f.during == PhaseRetire, f.declared.old
	}
	return f.during <= PhaseMirror, f.declared.new
}
