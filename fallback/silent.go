package fallback

import (
	"context"
	"math/rand/v2"
	"time"
)

// What a process does that the record does not answer. Others may leave it out DeadAfter after its
// last report. Join notices after a third of that, while the process serves, and no call waits for
// a record that is slow or gone. A call asks by itself only if nobody in its process has asked for
// half of DeadAfter: then the process stood still, or has no Join.

// askFor is how long a call waits for the record before it begins: what a tier gives a call by
// default, without the time of two members.
const askFor = 50 * time.Millisecond

// answerTime is how long the record's store may take for one change of an operator.
func (f *Fleet) answerTime() time.Duration { return max(f.cfg.Heartbeat, f.cfg.DeadAfter/4) }

// patience is how long Join waits for one report: no longer than until it has to hold back, and
// then no longer than try. If it stood still, calls wait for this report.
func (f *Fleet) patience() time.Duration {
	switch {
	case f.heard.Load() == nil:
		return f.cfg.Heartbeat
	case f.cut.Load():
		return f.try()
	case f.silent():
		return f.cfg.Heartbeat
	}
	return min(f.cfg.Heartbeat, max(f.cfg.DeadAfter/3-f.silence(), f.cfg.Heartbeat/4))
}

// try is how long one report of a process that holds back may take. Two of them and the pause
// between them are shorter than half of DeadAfter, so that no call asks as well.
func (f *Fleet) try() time.Duration { return min(f.cfg.Heartbeat, f.cfg.DeadAfter/6) }

// again is how long Join pauses after so many failures in a row: longer each time.
func (f *Fleet) again(failed int) time.Duration {
	most := min(f.cfg.Heartbeat, (f.cfg.DeadAfter/2-2*f.try())*3/4)
	d := min(f.cfg.Heartbeat/4<<min(failed-1, 8), most)
	return jitter(d, d/2)
}

// jitter returns between d - by and d.
func jitter(d, by time.Duration) time.Duration { return d - rand.N(by+1) }

// silence is for how long no report has been begun that arrived; 0 = none ever has.
func (f *Fleet) silence() time.Duration {
	if heard := f.heard.Load(); heard != nil {
		return f.since(*heard)
	}
	return 0
}

// since is how long ago t was. The monotonic clock may stand still while the machine sleeps, the
// other may be set.
func (f *Fleet) since(t time.Time) time.Duration {
	now := f.cfg.Now()
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}

// silent reports whether the last report is so old that others may soon leave this process out.
func (f *Fleet) silent() bool { return f.silence() >= f.cfg.DeadAfter/2 }

// lost is called when the record cannot be reached. Others may count this process as gone after
// DeadAfter, and go on without it; before that, it takes every change for one that matters.
// Before its first report it knows nothing of the others.
func (f *Fleet) lost(err error) {
	if f.heard.Load() != nil && f.silence() < f.cfg.DeadAfter/3 {
		return
	}
	if !f.cut.Swap(true) {
		f.store.observe(Event{Kind: EventRecord, Phase: f.store.Phase(), Reason: "it does not answer this process", Err: err})
	}
	f.store.joined.Store(f)
	f.store.enter(max(f.store.Phase(), PhaseMirror), // next to which every phase is safe
		func(uint32) uint32 { return fleetMixed })
}

// asked notes a question to the record that was not answered, and when it was begun: what was
// asked before the process stood still is no question of now.
func (f *Fleet) asked(began time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = err
	if tried := f.tried.Load(); tried == nil || began.After(*tried) {
		f.tried.Store(&began)
	}
}

// still reports whether nobody in this process has asked the record for long, as when the process
// stood still.
func (f *Fleet) still() bool {
	if !f.silent() {
		return false
	}
	tried := f.tried.Load()
	return tried == nil || f.since(*tried) >= f.cfg.DeadAfter/2
}

// awake asks for the phase, before a call begins, if this process may have stood still while the
// fleet went on without it. A call that stood still in the middle needs no such question when it
// goes on. What it reads is as new as it was when the call began, since the store that it reads was
// kept up to date then and never goes back. And of a change that it could not tell somebody of it
// asks the record before it keeps silent about that (declare).
func (f *Fleet) awake(ctx context.Context) {
	for f.still() { // or again, while it waited
		select {
		case <-f.ask(ctx):
		case <-ctx.Done():
			return
		}
	}
}

// ask puts the question of awake, one for all calls that wait for it and whether they do or not;
// the channel is closed when it is answered, or when the process has gone where it can be without
// an answer. Join goes on trying then.
//
// Nobody may have left it out before DeadAfter, nor is anything lost by asking one that holds back
// already, so this does not cost a call the time for its stores. Otherwise it stood still for so
// long that the fleet can be anywhere, and the answer is worth more than the calls of a heartbeat.
func (f *Fleet) ask(ctx context.Context) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asking != nil {
		return f.asking
	}
	done := make(chan struct{})
	f.asking = done
	wait := min(askFor, f.cfg.Heartbeat)
	if !f.cut.Load() && f.silence() >= f.cfg.DeadAfter {
		wait = f.cfg.Heartbeat
	}
	work := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
		defer cancel()
		_ = f.sayIf(ctx, f.still)
		f.mu.Lock()
		f.asking = nil
		f.mu.Unlock()
		close(done)
	}
	if !f.store.spawn(work) { // it is closed, and still in use
		go work()
	}
	return done
}
