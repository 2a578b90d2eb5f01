package fallback

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// Record is what the fleet shares, as JSON under one key, so that a person can read it:
//
//	{"phase":"mirror","target":"ramp 10%","processes":{"web-1/4711/9f3c":{"phase":"mirror","seen":"..."}}}
type Record struct {
	// Phase that all processes are to be in.
	Phase Phase `json:"phase"`
	// Target is where the phase is going. While it differs from Phase the fleet waits for
	// processes that are not ready for it.
	Target Phase `json:"target"`
	// Step is another word each time Phase or Target changes.
	Step string `json:"step"`
	// Revision counts the changes of the record. It goes on where a record that was lost is made
	// anew, so that of two that somebody remembers the higher one is the later.
	Revision uint64 `json:"revision"`
	// Origin is another word each time the record is made where there was none.
	Origin string `json:"origin"`
	// From is the latest that is known of the record that was lost before this one was made;
	// nil = whoever made it knew of none.
	From *Mark `json:"from,omitempty"`
	// Unsure: it was made where there was none, and somebody may know better who has not reported
	// yet. Nobody changes phase until everybody had FleetConfig.DeadAfter to report.
	Unsure bool `json:"unsure,omitempty"`
	// OldUnwritten is since when no process writes to old any more, by the clock of the last that
	// did; zero = they do, or nobody has noted it.
	OldUnwritten time.Time `json:"old_unwritten,omitzero"`
	// Processes that have joined.
	Processes map[string]Process `json:"processes"`
}

// Mark is one state of a record.
type Mark struct {
	Origin   string `json:"origin"`
	Revision uint64 `json:"revision"`
}

// Process is what one process last reported.
type Process struct {
	Phase   Phase     `json:"phase"`
	Target  Phase     `json:"target"`             // the target it acts upon
	Step    string    `json:"step"`               // the step it acts upon: no call that began before is running
	Busy    int       `json:"busy,omitempty"`     // calls that began before it adopted what is in force
	Owed    int       `json:"owed,omitempty"`     // invalidations not delivered yet
	OwedOld int       `json:"owed_old,omitempty"` // of these, to old
	Seen    time.Time `json:"seen"`               // by its own clock
	// Unheard: it was in the record that was lost, and has not reported since. Nobody knows what
	// it owes.
	Unheard bool `json:"unheard,omitempty"`
}

// settled reports whether all calls, in every process, go by the phase that their process reports.
func (r Record) settled() bool {
	for _, p := range r.Processes {
		if p.Busy > 0 {
			return false
		}
	}
	return true
}

// span returns the lowest and the highest phase that any process is in or may soon be in.
func (r Record) span() (lowest, highest Phase) {
	lowest, highest = min(r.Phase, r.Target), max(r.Phase, r.Target)
	for _, p := range r.Processes {
		lowest, highest = min(lowest, p.Phase), max(highest, p.Phase)
	}
	return lowest, highest
}

// Record returns the record as it was last read or written by this process.
func (f *Fleet) Record() Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.last
	r.Processes = maps.Clone(r.Processes)
	return r
}

// unheard names the processes that were in a record that was lost, and have not reported since.
func (r Record) unheard() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(r.Processes)) {
		if r.Processes[name].Unheard {
			names = append(names, name)
		}
	}
	return names
}

// ErrNoRecord: nobody has joined yet, or the record was lost and this process has never seen it.
var ErrNoRecord = errors.New("fallback: there is no fleet record")

// errUnreadable: what is kept under the record's key is none.
var errUnreadable = errors.New("fallback: the fleet record cannot be read")

// update changes the record by compare-and-swap until that succeeds, ctx ends, or the store
// does not answer. Where there is none it is made of what this process knows; if that is
// nothing, it is ErrNoRecord, unless the caller may found one.
//
// Whoever was overtaken pauses, longer each time: of many that try at once only one succeeds, and
// the vain tries of the others are what makes the server slow for all.
func (f *Fleet) update(ctx context.Context, found bool, change func(*Record) error) error {
	for tries := 0; ; tries++ {
		it, err := f.cfg.Store.Get(ctx, f.cfg.Key)
		known := f.Record()
		var r Record
		var news string
		switch {
		case err == nil:
			if err := json.Unmarshal(it.Value, &r); err != nil {
				return fmt.Errorf("%w: %q: %w", errUnreadable, f.cfg.Key, err)
			}
			r, news = f.reconcile(r, known)
		case !absent(err):
			return fmt.Errorf("fallback: read the fleet record: %w", err)
		case known.Revision > 0:
			r, news = f.remake(known), "it was lost and is made anew"
		case found:
			r, news = f.founded(), "there was none, and it was made"
		default:
			return fmt.Errorf("%w under %q", ErrNoRecord, f.cfg.Key)
		}
		if r.Processes == nil {
			r.Processes = make(map[string]Process)
		}
		if r.Origin == "" {
			r.Origin = rand.Text()
		}
		if err := change(&r); err != nil {
			return err
		}
		r.Revision++
		text, err2 := json.MarshalIndent(r, "", "  ")
		if err2 != nil {
			return fmt.Errorf("fallback: %w", err2)
		}
		if absent(err) {
			err = f.cas.Add(ctx, f.cfg.Key, backends.Item{Value: text})
		} else {
			err = f.cas.CompareAndSwap(ctx, f.cfg.Key, it.Token, backends.Item{Value: text})
		}
		switch {
		case err == nil:
			f.mu.Lock()
			f.last = r
			f.mu.Unlock()
			f.tell(known, r, news)
			return nil
		case errors.Is(err, backends.ErrConflict), errors.Is(err, backends.ErrExists), absent(err):
		default:
			return fmt.Errorf("fallback: write the fleet record: %w", err)
		}
		d := min(overtaken<<min(tries, 16), f.cfg.Heartbeat/4)
		if err := pause(ctx, jitter(d, d*3/4)); err != nil {
			return fmt.Errorf("fallback: others kept changing the fleet record: %w", err)
		}
	}
}

// overtaken is the first pause of who was overtaken: a few round trips.
const overtaken = 2 * time.Millisecond

// tell says what became of the record.
func (f *Fleet) tell(was, is Record, news string) {
	if news != "" {
		f.store.observe(Event{Kind: EventRecord, Phase: is.Phase, Reason: news})
	}
	if was.Unsure && was.Origin == is.Origin && !is.Unsure {
		f.store.observe(Event{Kind: EventRecord, Phase: is.Phase, Reason: "everybody had time to report, and it counts again"})
	}
}
