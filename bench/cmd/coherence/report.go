//go:build unix

package main

import (
	"fmt"
	"time"
)

// report is what all processes measured, by scenario.
type report struct {
	names   []string
	tallies map[string]*tally
	bounds  map[string]time.Duration // what staleness may be
	mayLose map[string]bool          // the servers may have lost writes by then
	notes   []string                 // what went wrong besides
}

func newReport() *report {
	return &report{tallies: map[string]*tally{}, bounds: map[string]time.Duration{}, mayLose: map[string]bool{}}
}

// name enters a scenario.
func (r *report) name(name string, bound time.Duration) {
	r.names = append(r.names, name)
	r.tallies[name], r.bounds[name] = &tally{}, bound
}

// add takes what one process measured.
func (r *report) add(names map[int64]string, got map[int64]*tally) {
	for phase, t := range got {
		sum := r.tallies[names[phase]]
		if sum == nil {
			continue // between two scenarios
		}
		sum.Reads += t.Reads
		sum.L1 += t.L1
		sum.Stale += t.Stale
		sum.Over += t.Over
		sum.OverRaw += t.OverRaw
		sum.Sum += t.Sum
		sum.Max, sum.MaxRaw = max(sum.Max, t.Max), max(sum.MaxRaw, t.MaxRaw)
		sum.Lost += t.Lost
		sum.Undecided += t.Undecided
		sum.Writes += t.Writes
		sum.WriteErrs += t.WriteErrs
		if t.LastErr != "" {
			sum.LastErr = t.LastErr
		}
	}
}

// leastL1: L1 has to answer one read in so many while the links are up. It answers nearly all of them
// on a machine that is not busy.
const leastL1 = 10

// broken says which scenarios did not keep what hearth promises.
func (r *report) broken() (out []string) {
	out = append(out, r.notes...)
	for _, name := range r.names {
		t, bound := r.tallies[name], r.bounds[name]
		if bound == tolerance && t.Over > 0 {
			out = append(out, fmt.Sprintf("%s: %d reads stale by more than %v", name, t.Over, tolerance))
		}
		if bound > tolerance && t.Max > bound+tolerance {
			out = append(out, fmt.Sprintf("%s: stale by %v, bound %v", name, t.Max, bound))
		}
		if lost := t.Lost + t.Undecided; lost > 0 && !r.mayLose[name] {
			out = append(out, fmt.Sprintf("%s: %d reads are said to be lost by the servers, which lose nothing there", name, lost))
		}
		if bound == tolerance && t.L1 < t.Reads/leastL1 {
			out = append(out, fmt.Sprintf("%s: L1 answered %d of %d reads: the others prove nothing about it", name, t.L1, t.Reads))
		}
		if t.Reads == 0 || t.Writes == 0 {
			out = append(out, fmt.Sprintf("%s: %d reads and %d writes prove nothing (%s)", name, t.Reads, t.Writes, t.LastErr))
		}
	}
	return out
}

// figures is the last line of -json.
type figures struct {
	Reads       map[string]int64   `json:"reads"`
	L1          map[string]int64   `json:"l1_hits"`
	Writes      map[string]int64   `json:"writes"`
	StaleOver50 map[string]int64   `json:"stale_over_50ms"`
	StaleRaw50  map[string]int64   `json:"stale_over_50ms_uncorrected"`
	MeanMS      map[string]float64 `json:"mean_staleness_ms"`
	MaxMS       map[string]float64 `json:"max_staleness_ms"`
	MaxRawMS    map[string]float64 `json:"max_staleness_uncorrected_ms"`
	BoundMS     map[string]float64 `json:"bound_ms"`
	Lost        map[string]int64   `json:"lost_by_redis"`
	Undecided   map[string]int64   `json:"undecided"`
	Broken      []string           `json:"broken"`
}

func (r *report) figures() figures {
	f := figures{
		Reads: map[string]int64{}, L1: map[string]int64{}, Writes: map[string]int64{}, StaleOver50: map[string]int64{}, StaleRaw50: map[string]int64{},
		MeanMS: map[string]float64{}, MaxMS: map[string]float64{}, MaxRawMS: map[string]float64{}, BoundMS: map[string]float64{},
		Lost: map[string]int64{}, Undecided: map[string]int64{}, Broken: r.broken(),
	}
	if f.Broken == nil {
		f.Broken = []string{}
	}
	for _, n := range r.names {
		t := r.tallies[n]
		f.Reads[n], f.L1[n], f.Writes[n], f.StaleOver50[n] = t.Reads, t.L1, t.Writes, t.Over
		f.StaleRaw50[n] = t.OverRaw
		f.MaxMS[n], f.MaxRawMS[n], f.BoundMS[n] = ms(t.Max), ms(t.MaxRaw), ms(r.bounds[n])
		f.Lost[n], f.Undecided[n] = t.Lost, t.Undecided
		f.MeanMS[n] = ms(t.Sum) / float64(max(1, t.Stale))
	}
	return f
}

// ms is d in milliseconds.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
