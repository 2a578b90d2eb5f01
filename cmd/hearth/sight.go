package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/hearthcache/hearth/fallback"
)

// sight is a record, and what was seen of its processes while it was watched.
type sight struct {
	fallback.Record
	watched   time.Duration
	silent    map[string]time.Duration // processes that did not report, and how long that was seen
	goneAfter time.Duration
	failed    error // what came in between
}

// lookEvery is how often a record is read that is watched: a tenth of the usual heartbeat.
const lookEvery = fallback.DefaultHeartbeat / 10

// watch reads the record again until every process has reported since now, or for as long as
// atMost. It compares no clocks, but each process's report with the one before.
func (r *record) watch(ctx context.Context, now fallback.Record, atMost time.Duration) (*sight, error) {
	began := time.Now()
	s := &sight{Record: now, silent: map[string]time.Duration{}}
	last := map[string]time.Time{} // reports, by the clocks of those that made them
	heard := map[string]bool{}
	for name, p := range now.Processes {
		last[name] = p.Seen
	}
	for {
		s.watched = time.Since(began)
		waiting := false
		clear(s.silent)
		for name, p := range s.Processes {
			if seen, known := last[name]; !known || !seen.Equal(p.Seen) {
				heard[name] = true
			}
			if !heard[name] {
				s.silent[name] = s.watched
				waiting = waiting || !p.Unheard
			}
		}
		if !waiting || s.watched >= atMost {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return s, nil
		case <-time.After(min(lookEvery, atMost-s.watched)):
		}
		next, err := r.read(ctx)
		if err != nil {
			return nil, err
		}
		s.Record = next
	}
}

// gone reports whether a process counts as gone.
func (s *sight) gone(name string) bool {
	silent, ok := s.silent[name]
	return ok && s.goneAfter > 0 && silent >= s.goneAfter
}

// report is a sight, as --json prints it.
type phaseReport struct {
	fallback.Record
	Watched float64  `json:"watched_seconds,omitempty"`
	Silent  []string `json:"silent,omitempty"` // no report was seen, but for less than --dead-after
	Gone    []string `json:"gone,omitempty"`
	Waiting []string `json:"waiting,omitempty"` // what phase set waited for last
	Error   string   `json:"error,omitempty"`
}

func (s *sight) show(c *cli.Command, w io.Writer) {
	if c.Bool("json") {
		_ = json.NewEncoder(w).Encode(s.report())
		return
	}
	fmt.Fprintf(w, "phase   %v\n", s.Phase)
	if s.Unsure {
		fmt.Fprintln(w, "unsure  the record was made anew, and nobody moves until every process had time to report")
	}
	if s.Target != s.Phase {
		fmt.Fprintf(w, "target  %v (the fleet waits for processes that are not ready)\n", s.Target)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Processes)) {
		p := s.Processes[name]
		fmt.Fprintf(w, "  %s  %v", name, p.Phase)
		if p.Busy > 0 {
			fmt.Fprintf(w, ", %d calls that began before are running", p.Busy)
		}
		if p.Owed > 0 {
			fmt.Fprintf(w, ", owes %d invalidations", p.Owed)
		}
		silent, quiet := s.silent[name]
		switch {
		case p.Unheard:
			fmt.Fprint(w, ", not heard of since the record was lost: it may owe more")
		case s.gone(name):
			fmt.Fprintf(w, ", gone: no report in %v", silent.Round(time.Second))
		case quiet && silent > 0:
			fmt.Fprintf(w, ", no report in %v", silent.Round(100*time.Millisecond))
		}
		fmt.Fprintln(w)
	}
}

func (s *sight) report() phaseReport {
	r := phaseReport{Record: s.Record, Watched: s.watched.Seconds()}
	for _, name := range slices.Sorted(maps.Keys(s.silent)) {
		switch {
		case s.gone(name):
			r.Gone = append(r.Gone, name)
		case s.watched > 0:
			r.Silent = append(r.Silent, name)
		}
	}
	if s.failed != nil {
		r.Error = s.failed.Error()
	}
	if wait, ok := errors.AsType[*fallback.WaitError](s.failed); ok {
		r.Waiting = wait.Waiting
	}
	return r
}

// waits says what an advance waits for: when that changes, and every few seconds.
type waits struct {
	w             io.Writer
	json          bool
	to            fallback.Phase
	began, logged time.Time
	last          string
}

// waitLine is a line of it with --json.
type waitLine struct {
	To      fallback.Phase `json:"to"`
	Waiting []string       `json:"waiting"`
	Because string         `json:"because,omitempty"`
	Error   string         `json:"error,omitempty"`
	Seconds float64        `json:"seconds"`
}

func (p *waits) show(err error) {
	now := time.Now()
	if err.Error() == p.last && now.Sub(p.logged) < logEvery {
		return
	}
	p.last, p.logged = err.Error(), now
	if !p.json {
		fmt.Fprintln(p.w, p.last)
		return
	}
	line := waitLine{To: p.to, Waiting: []string{}, Seconds: now.Sub(p.began).Seconds()}
	if wait, ok := errors.AsType[*fallback.WaitError](err); ok {
		line.Waiting, line.Because = append(line.Waiting, wait.Waiting...), wait.Because
	} else {
		line.Error = err.Error()
	}
	_ = json.NewEncoder(p.w).Encode(line)
}
