package fallback

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
	// Processes that have joined.
	Processes map[string]Process `json:"processes"`
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

// update changes the record by compare-and-swap until that succeeds, ctx ends, or the store
// does not answer.
func (f *Fleet) update(ctx context.Context, change func(*Record) error) error {
	for {
		it, err := f.cfg.Store.Get(ctx, f.cfg.Key)
		var r Record
		switch {
		case err == nil:
			if err := json.Unmarshal(it.Value, &r); err != nil {
				return fmt.Errorf("fallback: the fleet record %q cannot be read: %w", f.cfg.Key, err)
			}
		case absent(err):
			r.Phase = f.store.Phase()
			r.Target, r.Step = r.Phase, rand.Text()
		default:
			return fmt.Errorf("fallback: read the fleet record: %w", err)
		}
		if r.Processes == nil {
			r.Processes = make(map[string]Process)
		}
		if err := change(&r); err != nil {
			return err
		}
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
			return nil
		case errors.Is(err, backends.ErrConflict), errors.Is(err, backends.ErrExists), absent(err):
		default:
			return fmt.Errorf("fallback: write the fleet record: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
