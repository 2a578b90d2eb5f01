package fallback

import (
	"crypto/rand"
	"maps"
	"time"
)

// What is done about a record that is not there any more (its server was restarted, flushed, or
// evicted it), or that has gone back (restored from a snapshot, or a replica that had missed the
// last reports was promoted).
//
// Every process remembers the record as it last read it. Whoever notices first makes it anew of
// that, and whoever remembers a later revision corrects it: the highest revision counts. What
// nobody remembers can only be what a process said last that has not been heard of since, so each
// of these counts as one that owes something, until it reports or a person says that it does not
// matter ([Fleet.Forget]). Until everybody had DeadAfter to report, the record is unsure: nobody
// moves, no change is pardoned, and who comes new stays next to where every phase is safe.

// founded is the record that a process makes that knows of none. There may have been one all the
// same, of which others know more.
func (f *Fleet) founded() Record {
	return Record{Phase: f.began, Target: f.began, Step: rand.Text(), Origin: rand.Text(), Unsure: true}
}

// remake returns the record that takes the place of one that was lost.
func (f *Fleet) remake(known Record) Record {
	r := known
	r.From = &Mark{known.Origin, known.Revision}
	r.Origin, r.Step, r.Unsure = rand.Text(), rand.Text(), true
	r.Processes = make(map[string]Process, len(known.Processes))
	f.remember(&r, known)
	return r
}

// remember adds the processes that r lacks and known has.
func (f *Fleet) remember(r *Record, known Record) {
	for name, p := range known.Processes {
		if _, listed := r.Processes[name]; !listed && name != f.cfg.Process {
			p.Unheard = true
			r.Processes[name] = p
		}
	}
}

// reconcile returns r, as it was read, with what this process knows and r does not, and says what
// had happened to it.
func (f *Fleet) reconcile(r, known Record) (is Record, news string) {
	if known.Revision == 0 {
		return r, ""
	}
	if r.Origin == known.Origin {
		if !f.wentBack(r, known) {
			return r, ""
		}
		old := r
		r = f.remake(known)
		f.remember(&r, old)
		return r, "it went back to an earlier state, and is made anew"
	}
	related := r.From != nil && r.From.Origin == known.Origin
	if related && r.From.Revision >= known.Revision {
		return r, "" // it was made by somebody who knew more
	}
	if r.Processes == nil {
		r.Processes = make(map[string]Process)
	}
	if related { // what its maker remembered of others is older
		maps.DeleteFunc(r.Processes, func(_ string, p Process) bool { return p.Unheard })
	}
	f.remember(&r, known)
	if r.From == nil || known.Revision > r.From.Revision {
		r.From = &Mark{known.Origin, known.Revision}
		if r.Unsure {
			r.Phase, r.Target, r.Step = known.Phase, known.Target, rand.Text()
			r.OldUnwritten = known.OldUnwritten
		}
	}
	r.Revision = max(r.Revision, known.Revision)
	return r, "it was lost, and what others did not know of it is put back"
}

// wentBack reports whether r is an earlier state of the record than known. A change of others may
// have come to it since, but nobody else writes what this process reports.
func (f *Fleet) wentBack(r, known Record) bool {
	said, was := known.Processes[f.cfg.Process]
	says, is := r.Processes[f.cfg.Process]
	return r.Revision < known.Revision || was && is && !says.Unheard && says.Seen.Before(said.Seen)
}

// settle ends the time in which the record is unsure: whoever remembers more of the one before has
// reported by then, or has not reached the record for so long that it holds back by itself.
func (f *Fleet) settle(r *Record) {
	if !r.Unsure || f.stood.origin != r.Origin || f.stood.time < f.cfg.DeadAfter {
		return
	}
	r.Unsure, r.Step = false, rand.Text()
}

// stood is for how long a record has been seen to be there.
type stood struct {
	origin string
	time   time.Duration
}

// hold keeps this process where it is while the record is unsure. If it has never known the
// fleet's phase that is PhaseMirror, and Beat does not return before the record is sure. One that
// was away for long, or is where the others cannot be, goes where all phases are safe.
func (f *Fleet) hold(r *Record) {
	phase := f.store.Phase()
	switch {
	case !f.sure.Load(), !phase.Compatible(r.Phase):
		phase = PhaseMirror
	case f.silent():
		phase = max(phase, PhaseMirror)
	}
	f.store.enter(phase, func(uint32) uint32 { return fleetMixed })
}
