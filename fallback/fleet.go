package fallback

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
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
	// gone. If the record does not answer for a third of it, the process goes from PhaseOld to a
	// phase that is safe next to any other. One that has not even asked for half of it, because
	// it stood still, asks for the phase before its next call. It is also how long nobody moves
	// after the record was made where there was none. 0 = DefaultDeadAfter. It must be the same
	// in all processes.
	DeadAfter time.Duration
	// Now is the clock; nil = time.Now. Clocks of different processes are never compared.
	Now func() time.Time
	// OnWait, if set, is told by Advance what it waits for, again and again: a [*WaitError], or
	// the failure of the record's store. It must be quick.
	OnWait func(error)
}

// Fleet keeps a [Store]'s phase in step with the other processes of a service. All of them join
// under one key; [Fleet.Advance], called in any of them, moves the phase on, and waits for
// processes that are not ready.
//
// The record is changed by compare-and-swap only, so any number of processes may report and any
// number of operators may advance at a time. A process that crashed stops reporting and is
// left out after DeadAfter. Without the record (its server is down) everybody stays in the phase
// they are in. A record that was lost is made anew of what the processes remember, and nobody
// moves until all of them had DeadAfter to report (Record.Unsure).
//
// It is safe for concurrent use.
type Fleet struct {
	cfg   FleetConfig
	store *Store
	cas   backends.CASer

	turn chan struct{} // holds a value while somebody writes the record and acts upon it

	// Under turn.
	took, acted acted     // the step that is in force, and the one by which all calls go
	watched     time.Time // when the record was last looked at
	watching    map[string]watch
	stood       stood

	once  sync.Once
	began Phase // before it joined

	mu       sync.Mutex
	last     Record
	failed   error                   // of the last report
	declared struct{ new, old bool } // the record says, and will say, that this store is owed something
	during   Phase                   // the fleet's phase when it last said so
	refused  time.Time               // when it could not be said
	asking   chan struct{}           // a question of calls that wait for it; nil = none

	heard atomic.Pointer[time.Time] // when the last report that arrived was begun
	tried atomic.Pointer[time.Time] // when the last that did not arrive was begun
	cut   atomic.Bool               // silent, and the record did not answer
	sure  atomic.Bool               // it has known the fleet's phase
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

// ErrUnsure: the fleet record was made anew a moment ago, and processes that know more of the one
// before may still report. A process that gets it must not serve yet: try again.
var ErrUnsure = errors.New("fallback: the fleet record is new, and others may know more")

// Found makes the record of a new fleet, with the phase of this Store, on the word of whoever
// calls it that no process runs that belongs to the fleet: the first that join need not wait then
// to hear of others. If there is a record it is [backends.ErrExists], and nothing has changed.
func (f *Fleet) Found(ctx context.Context) error {
	f.start()
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.unlock()
	return f.update(ctx, true, func(r *Record) error {
		if r.Revision > 0 || len(r.Processes) > 0 {
			return fmt.Errorf("fallback: there is a fleet record already: %w", backends.ErrExists)
		}
		r.Unsure = false
		return nil
	})
}

// FleetStats is how a process does in its fleet.
type FleetStats struct {
	Process string
	Heard   time.Time // when its last report that arrived was begun; zero = none has arrived
	Cut     bool      // the record has not answered for so long that the process holds back
	Unsure  bool      // the record was made anew, and others may know more: nobody moves
	Unheard []string  // in the record that was lost, and not heard of since
	LastErr error     // of the last report; nil = it arrived
}

// Stats returns the state of this process in the fleet. It asks no server.
func (f *Fleet) Stats() FleetStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := FleetStats{
		Process: f.cfg.Process, Cut: f.cut.Load(), Unsure: f.last.Unsure, Unheard: f.last.unheard(), LastErr: f.failed,
	}
	if heard := f.heard.Load(); heard != nil {
		st.Heard = *heard
	}
	return st
}

// warnings says what is wrong, in words.
func (st FleetStats) warnings() (w []string) {
	switch {
	case st.Cut && st.Heard.IsZero():
		w = append(w, fmt.Sprintf("fleet: no report of %s has arrived, and it does not know the fleet's phase: %v", st.Process, st.LastErr))
	case st.Cut:
		w = append(w, fmt.Sprintf("fleet: the record does not answer %s, which pardons nothing until it does: %v", st.Process, st.LastErr))
	}
	if st.Unsure {
		w = append(w, "fleet: the record was made anew, and nobody moves until all had time to report")
	}
	for _, name := range st.Unheard {
		w = append(w, fmt.Sprintf("fleet: the record was lost, and %s has not reported since: what it owed is not known", name))
	}
	return w
}
