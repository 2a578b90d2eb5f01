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
	// Heartbeat is how often the process reports and looks at the record. It must be longer than
	// any call to the Store takes, its timeouts included: a process reports that it acts upon a
	// target a heartbeat after it saw it, when the calls that began before are over. 0 =
	// DefaultHeartbeat.
	Heartbeat time.Duration
	// DeadAfter is how long after its last report a process counts as gone. A process that
	// could not report for half of it goes back to a phase that is safe next to any other.
	// 0 = DefaultDeadAfter.
	DeadAfter time.Duration
	// Now is the clock; nil = time.Now. The clocks of a fleet may differ by a fraction of
	// DeadAfter.
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

	mu     sync.Mutex
	last   Record
	joined bool      // the record's phase was adopted once
	acted  Phase     // the target that was acted upon a heartbeat ago
	read   time.Time // when the record was last read or written
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
	return &Fleet{cfg: cfg, store: s, cas: cas}, nil
}

// Join reports this process, adopts the fleet's phase, and keeps both up to date until ctx ends;
// it then takes the process off the record. It returns ctx's error, or at once the error of the
// first report. The first process to join sets the phase to its own. A program that must not
// serve before it is in the fleet's phase calls Beat first.
func (f *Fleet) Join(ctx context.Context) error {
	if err := f.Beat(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(f.cfg.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.cfg.Heartbeat)
			defer cancel()
			_ = f.update(bye, func(r *Record) error { delete(r.Processes, f.cfg.Process); return nil })
			return ctx.Err()
		case <-tick.C:
			if f.Beat(ctx) != nil {
				f.lost()
			}
		}
	}
}

// Beat is one report: it adopts what the record says and says where this process is. Join calls
// it; programs with a schedule of their own may.
func (f *Fleet) Beat(ctx context.Context) error {
	// Twice when the phase changes: the record must never claim a phase that is not in force.
	for range 2 {
		before := f.store.Phase()
		err := f.update(ctx, func(r *Record) error {
			f.prune(r)
			acted := f.first(r)
			r.Processes[f.cfg.Process] = Process{
				Phase: f.store.Phase(), Target: acted, Owed: f.owed(), Seen: f.cfg.Now().UTC(),
			}
			return nil
		})
		if err != nil {
			return err
		}
		if f.adopt(); f.store.Phase() == before {
			break
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acted = f.last.Target
	return nil
}

// first adopts the record's phase before a process shows up in it for the first time. It
// returns the target that the process acts upon: the one it saw a heartbeat ago, so that calls
// which began before that are over.
func (f *Fleet) first(r *Record) (acted Phase) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.joined {
		f.joined, f.acted = true, r.Target
		_ = f.store.SetPhase(r.Phase)
	}
	return f.acted
}

func (f *Fleet) owed() int {
	p := f.store.Progress()
	return p.OwedNew + p.OwedOld
}

// prune leaves out processes that are gone. One that owed something when it was last seen stays:
// nobody will deliver that any more, and only a person can say that it does not matter.
func (f *Fleet) prune(r *Record) {
	maps.DeleteFunc(r.Processes, func(_ string, p Process) bool { return f.gone(p) && p.Owed == 0 })
}

func (f *Fleet) gone(p Process) bool { return f.cfg.Now().Sub(p.Seen) > f.cfg.DeadAfter }

// adopt puts the record's phase in force, and what it says about the others.
func (f *Fleet) adopt() {
	r := f.Record()
	if r.Phase != f.store.Phase() {
		_ = f.store.SetPhase(r.Phase)
	}
	lowest, highest := r.span()
	state := fleetMixed
	switch {
	case highest <= PhaseMirror:
		state = fleetOnOld
	case lowest == PhaseRetire:
		state = fleetRetired
	}
	f.store.fleet.Store(state)
}

// lost is called when the record cannot be reached. Others may count this process as gone after
// DeadAfter, and go on without it; before that, it takes every change for one that matters.
func (f *Fleet) lost() {
	f.mu.Lock()
	silent := f.cfg.Now().Sub(f.read)
	f.mu.Unlock()
	if silent < f.cfg.DeadAfter/2 {
		return
	}
	f.store.fleet.Store(fleetMixed)
	if f.store.Phase() == PhaseOld {
		_ = f.store.SetPhase(PhaseMirror) // next to which every phase is safe
	}
}

// Advance moves the fleet to phase to, in as many steps as are needed: from [PhaseOld] into a
// ramp it goes through [PhaseMirror]. It returns nil when every live process is in that phase.
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
	err = f.update(ctx, func(r *Record) error {
		f.prune(r)
		r.Target = to
		waiting = f.ready(r, to)
		if waiting == nil {
			r.Phase = to
		} else if mid := PhaseMirror; !r.Phase.Compatible(to) && f.ready(r, mid) == nil {
			r.Phase = mid
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
	if behind := f.laggards(r, func(p Process) string {
		if p.Phase != to {
			return "it is in phase " + p.Phase.String()
		}
		return ""
	}); len(behind.Waiting) > 0 {
		behind.To = to
		return false, behind, nil
	}
	return true, nil, nil
}

// ready says who is not ready for the fleet to go to phase to, nil = all are: every process must
// be in a phase that is compatible with it. Before anybody reads the other store, every process
// must also have seen the target, and so tell that store of every change at once, and owe
// nothing from before.
func (f *Fleet) ready(r *Record, to Phase) *WaitError {
	e := f.laggards(*r, func(p Process) string {
		switch {
		case !p.Phase.Compatible(to):
			return "it is in phase " + p.Phase.String()
		case (to > PhaseMirror) == (r.Phase > PhaseMirror) && (to == PhaseRetire) == (r.Phase == PhaseRetire):
			return ""
		case p.Target != r.Target:
			return "it has not seen the target yet"
		case p.Owed > 0:
			return fmt.Sprintf("it has %d undelivered invalidations", p.Owed)
		}
		return ""
	})
	if len(e.Waiting) == 0 {
		return nil
	}
	e.To = to
	return e
}

func (f *Fleet) laggards(r Record, lacks func(Process) string) *WaitError {
	e := &WaitError{}
	for _, name := range slices.Sorted(maps.Keys(r.Processes)) {
		p := r.Processes[name]
		why := lacks(p)
		if why == "" || f.gone(p) && p.Owed == 0 {
			continue
		}
		if f.gone(p) {
			why = fmt.Sprintf("it is gone and left %d undelivered invalidations; see Forget", p.Owed)
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
	return f.update(ctx, func(r *Record) error { delete(r.Processes, process); return nil })
}
