package fallback

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// Defaults of [FleetConfig].
const (
	DefaultHeartbeat = 2 * time.Second
	DefaultDeadAfter = 15 * time.Second // several heartbeats, and longer than any call takes
)

// FleetConfig configures a [Fleet].
type FleetConfig struct {
	// Store keeps the record; it must be able to compare and swap (Redis or memcached can).
	// Use a server that outlives the migration.
	Store backends.Store
	// Key the record is kept under; the same in every process of one migration.
	Key string
	// Process names this process, for people; "" = host, process id and a few random digits.
	// It must be unique.
	Process string
	// Heartbeat is how often the process reports and looks at the record. 0 = DefaultHeartbeat.
	Heartbeat time.Duration
	// DeadAfter is how long others watch a process that does not report before it counts as
	// gone. One that has not reported for half of it asks for the phase before its next call;
	// if the record does not answer, it goes from PhaseOld to a phase that is safe next to
	// any other. 0 = DefaultDeadAfter.
	DeadAfter time.Duration
	// Now is the clock; nil = time.Now. Clocks of different processes are never compared.
	Now func() time.Time
}

// Fleet keeps a [Store]'s phase in step with the other processes of a service. All of them join
// under one key; [Fleet.Advance], called in any of them, moves the phase on, and waits for
// processes that are not ready.
//
// The record is changed by compare-and-swap only, so any number of processes may report and any
// number of operators may advance at a time. A process that crashed stops reporting and is
// left out after DeadAfter. Without the record (its server is down) everybody stays in the phase
// they are in.
type Fleet struct {
	cfg   FleetConfig
	store *Store
	cas   backends.CASer

	turn chan struct{} // holds a value while somebody writes the record and acts upon it

	// Under turn.
	took, acted acted     // the step that is in force, and the one by which all calls go
	watched     time.Time // when the record was last looked at
	watching    map[string]watch

	mu       sync.Mutex
	last     Record
	declared struct{ new, old bool } // the record says, and will say, that this store is owed something
	during   Phase                   // the fleet's phase when it last said so
	refused  time.Time               // when it could not be said

	heard atomic.Pointer[time.Time] // when the last report that arrived was begun
	cut   atomic.Bool               // silent, and the record did not answer
}

// acted is a step of the record that a process acts upon.
type acted struct {
	step   string
	target Phase
}

// watch is what is known about a process that reports: its last report, and for how long there
// has been no other.
type watch struct {
	seen time.Time
	idle time.Duration
}

// WaitError says what an advance waits for.
type WaitError struct {
	To       Phase
	Waiting  []string // processes that are not ready, by name
	Because  string   // what the first of them lacks
	LastSeen time.Time
}

// Error implements error.
func (e *WaitError) Error() string {
	return fmt.Sprintf("fallback: cannot go to %v yet: waiting for %s (%s)", e.To, strings.Join(e.Waiting, ", "), e.Because)
}

// NewFleet returns a Fleet for s. It refuses a record store that cannot compare and swap.
func NewFleet(s *Store, cfg FleetConfig) (*Fleet, error) {
	switch {
	case s == nil:
		return nil, errors.New("fallback: NewFleet needs a Store, got nil")
	case cfg.Store == nil || cfg.Key == "":
		return nil, errors.New("fallback: a fleet needs a store and a key for its record")
	case cfg.Heartbeat < 0 || cfg.DeadAfter < 0:
		return nil, errors.New("fallback: FleetConfig.Heartbeat or DeadAfter is negative")
	}
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, DefaultHeartbeat)
	cfg.DeadAfter = cmp.Or(cfg.DeadAfter, max(DefaultDeadAfter, 5*cfg.Heartbeat))
	if cfg.DeadAfter < 3*cfg.Heartbeat {
		return nil, errors.New("fallback: FleetConfig.DeadAfter is below three heartbeats")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Process == "" {
		host, _ := os.Hostname()
		var id [4]byte
		_, _ = rand.Read(id[:])
		cfg.Process = fmt.Sprintf("%s/%d/%s", host, os.Getpid(), hex.EncodeToString(id[:]))
	}
	cas := backends.CapsOf(cfg.Store).CASer
	if cas == nil {
		return nil, fmt.Errorf("fallback: the store of the fleet record cannot compare and swap (%w)", backends.ErrUnsupported)
	}
	return &Fleet{cfg: cfg, store: s, cas: cas, turn: make(chan struct{}, 1), watching: map[string]watch{}}, nil
}

// Advance moves the fleet to phase to, in as many steps as are needed: from [PhaseOld] into a
// ramp it goes through [PhaseMirror]. It returns nil when every live process is in that phase, and
// no call is running any more that began in another.
// While it waits for a process, it keeps the record's target, so that others can see what it
// waits for; when ctx ends it returns a [*WaitError] that names them, and the fleet stays where
// it is until somebody advances again.
func (f *Fleet) Advance(ctx context.Context, to Phase) error {
	if !to.Valid() {
		return fmt.Errorf("fallback: %v is no phase", to)
	}
	var waiting *WaitError
	for {
		done, now, err := f.step(ctx, to)
		switch {
		case done:
			return nil
		case err == nil:
			waiting = now
		case ctx.Err() == nil || waiting == nil:
			return err
		}
		select {
		case <-ctx.Done():
			if waiting != nil {
				return waiting
			}
			return ctx.Err()
		case <-time.After(f.cfg.Heartbeat / 4):
		}
	}
}

// TryAdvance is one step of Advance, without waiting: nil when the fleet is there.
func (f *Fleet) TryAdvance(ctx context.Context, to Phase) error {
	_, waiting, err := f.step(ctx, to)
	if err != nil {
		return err
	}
	if waiting != nil {
		return waiting
	}
	return nil
}

func (f *Fleet) step(ctx context.Context, to Phase) (done bool, waiting *WaitError, err error) {
	if err := f.lock(ctx); err != nil {
		return false, nil, err
	}
	defer f.unlock()
	err = f.update(ctx, func(r *Record) error {
		f.watch(r)
		f.prune(r)
		was := *r
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
		return nil
	})
	if err != nil {
		return false, nil, err
	}
	f.adopt()
	r := f.Record()
	if r.Phase != to {
		return false, waiting, nil
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
		return false, behind, nil
	}
	return true, nil, nil
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
		if f.gone(name) {
			if why = ""; owed(p) > 0 {
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

// Forget takes a process off the record: one that crashed while it owed invalidations, after
// the new store was cleared, or because what it owed has expired.
func (f *Fleet) Forget(ctx context.Context, process string) error {
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.unlock()
	return f.update(ctx, func(r *Record) error { delete(r.Processes, process); return nil })
}
