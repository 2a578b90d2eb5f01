package main

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/hearthcache/hearth/bench/internal/side"
)

// quickBudget is what a quick run may take to measure everything once: a minute, less what it takes
// to start and to report. tables is how many times a quick run calls measure, to share the budget.
const (
	quickBudget = 38 * time.Second
	tables      = 18
)

// retries is how often -check measures a section again that has rows beyond their guard.
const retries = 2

// run is one measurement: how long, on what, and what came of it.
type run struct {
	quick   bool
	plan    side.Plan
	servers *machines
	out     io.Writer // for people
	rows    []row
	began   time.Time
	load    string // of the machine, then
	done    int    // tables so far
	lowered int    // of them, with fewer rounds than planned, since the machine was slow
}

// measure runs the variants and prints their table. A quick run has fewer rounds, down to one,
// where its budget is used up.
func (r *run) measure(title string, plan side.Plan, variants ...side.Variant) []side.Result {
	if r.quick {
		left := quickBudget - time.Since(r.began)
		plan.Budget = max(left/time.Duration(max(tables-r.done, 1)), time.Nanosecond)
	}
	r.done++
	res := side.Run(plan, variants...)
	if got := len(res[0].Samples); got < plan.Rounds {
		r.lowered++
		title = fmt.Sprintf("%s (%d of %d rounds)", title, got, plan.Rounds)
	}
	side.Table(r.out, title, res)
	return res
}

// section is a part of the measurement.
type section struct {
	name string
	run  func(*run) error
}

// measured runs a section and returns its rows. One that fails has a row that says so, and keeps
// what it measured before.
func (r *run) measured(s section) []row {
	kept := r.rows
	r.rows = nil
	func() {
		defer func() {
			if p := recover(); p != nil {
				r.fail(s.name, "the section", fmt.Errorf("%v", p))
			}
		}()
		if err := s.run(r); err != nil {
			r.fail(s.name, "the section", err)
		}
	}()
	runtime.GC()
	rows := r.rows
	r.rows = kept
	return rows
}

// all runs the sections one after another; with check, again those with rows beyond their guard.
func (r *run) all(sections []section, check bool) {
	for _, s := range sections {
		rows := r.measured(s)
		for i := 0; check && i < retries && len(beyond(rows)) > 0; i++ {
			fmt.Fprintf(r.out, "\n%s: %d rows beyond their guard, measured again\n", s.name, len(beyond(rows)))
			done, from := r.done, time.Now()
			rows = better(rows, r.measured(s))
			r.done = done
			r.began = r.began.Add(time.Since(from)) // the budget is for measuring everything once
		}
		r.rows = append(r.rows, rows...)
	}
}
