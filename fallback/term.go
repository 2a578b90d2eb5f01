package fallback

import (
	"context"
	"sync/atomic"
)

// term is a time in which one phase was in force and one thing was known about other processes.
// A call belongs to the term it began in, and works by its rules to its end; so a fleet must not
// go on before the calls of earlier terms are over ([Store.earlier]).
type term struct {
	phase   Phase
	fleet   uint32       // what is known about other processes
	running atomic.Int64 // calls and background copies that began in it
}

// begin enters the term in force for one call; whoever calls it ends it. A process that may have
// been left out of its fleet while it stood still asks for the phase first.
func (s *Store) begin(ctx context.Context) *term {
	if f := s.joined.Load(); f != nil {
		f.awake(ctx)
	}
	if !s.counts.served.Load() {
		s.counts.served.Store(true)
	}
	return s.hold()
}

// hold is begin for what follows from a call that has begun.
func (s *Store) hold() *term {
	for {
		t := s.term.Load()
		t.running.Add(1)
		if s.term.Load() == t { // else it may have been counted already
			return t
		}
		t.running.Add(-1)
	}
}

// again is begin for what follows from a call of t that has not ended yet, and belongs to t too.
func (t *term) again() { t.running.Add(1) }

func (t *term) end() { t.running.Add(-1) }

// turn begins a new term if phase or fleet differ from what is in force. It returns the phase
// that was.
func (s *Store) turn(phase func(now Phase) Phase, fleet func(now uint32) uint32) (from Phase) {
	s.termMu.Lock()
	defer s.termMu.Unlock()
	now := s.term.Load()
	next := &term{phase: phase(now.phase), fleet: fleet(now.fleet)}
	if next.phase != now.phase || next.fleet != now.fleet {
		s.term.Store(next)
		s.ended = append(s.ended, now)
		s.sweep()
	}
	return now.phase
}

// earlier returns how many calls that began in an earlier term are still running.
func (s *Store) earlier() (n int) {
	s.termMu.Lock()
	defer s.termMu.Unlock()
	s.sweep()
	for _, t := range s.ended {
		n += int(t.running.Load())
	}
	return n
}

// sweep drops the ended terms without a call; none can come to them any more.
func (s *Store) sweep() {
	kept := s.ended[:0]
	for _, t := range s.ended {
		if t.running.Load() > 0 {
			kept = append(kept, t)
		}
	}
	clear(s.ended[len(kept):])
	s.ended = kept
}

// What a fleet record can say about the phases of all processes.
const (
	fleetUnknown uint32 = iota // nothing: there is no record
	fleetMixed                 // both stores may be read
	fleetOnOld                 // nobody reads new
	fleetRetired               // nobody reads old
)

// view decides who must be told of a change at once. In PhaseOld nobody next to us reads new, in
// PhaseRetire nobody reads old; unless a fleet record says that some process is not that far. In
// PhaseNew others read old where new lacks a key or does not answer them.
func (t *term) view(key string) view {
	v := view{mode: t.phase.mode(key)}
	switch t.phase {
	case PhaseOld:
		v.lenient = true
	case PhaseMirror:
		v.lenient = t.fleet == fleetOnOld
	case PhaseRetire:
		v.lenient = t.fleet == fleetUnknown || t.fleet == fleetRetired
	}
	return v
}

// pardons reports whether the caller of a change need not know that the store which is not the
// authority missed it. In a fleet the record must say first that something is owed here: nobody
// goes on to read that store then until it was delivered, not even if this process is gone.
func (s *Store) pardons(ctx context.Context, v view) bool {
	if !v.lenient {
		return false
	}
	f := s.joined.Load()
	return f == nil || f.declare(ctx, v)
}
