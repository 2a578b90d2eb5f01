package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/hearthcache/hearth/bench/internal/side"
)

// row is one comparison with what it is to come to. Guard is what a check on a noisy machine may
// insist on.
type row struct {
	Section string  `json:"section"`
	Row     string  `json:"row"`
	Hearth  float64 `json:"hearth"`
	Peer    float64 `json:"peer"`
	Unit    string  `json:"unit"`
	Ratio   float64 `json:"ratio"`
	Bound   string  `json:"bound"` // "at most" or "at least"; "" where there is no goal
	Goal    float64 `json:"goal"`
	Guard   float64 `json:"guard"`
	Met     bool    `json:"met"`
	Guarded bool    `json:"guarded"`       // within the guard
	Why     string  `json:"why,omitempty"` // it is not met
}

// limit is a goal and its guard.
type limit struct {
	bound       string
	goal, guard float64
}

func atMost(goal, guard float64) limit  { return limit{"at most", goal, guard} }
func atLeast(goal, guard float64) limit { return limit{"at least", goal, guard} }

// shown is for what is worth knowing without a goal.
var shown = limit{}

func (l limit) holds(ratio, than float64) bool {
	switch l.bound {
	case "at most":
		return ratio <= than
	case "at least":
		return ratio >= than
	}
	return true
}

// add records a comparison by figures alone.
func (r *run) add(section, name, unit string, hearth, peer, ratio float64, l limit) {
	met, guarded, why := l.holds(ratio, l.goal), l.holds(ratio, l.guard), ""
	switch {
	case math.IsNaN(ratio) || math.IsInf(ratio, 0):
		met, guarded, ratio, why = l == shown, l == shown, 0, "not measurable: the peer's figure is zero"
	case !met:
		why = l.why(section, name, ratio)
	}
	r.rows = append(r.rows, row{
		Section: section, Row: name, Hearth: round(hearth), Peer: round(peer), Unit: unit, Ratio: round(ratio),
		Bound: l.bound, Goal: l.goal, Guard: l.guard, Met: met, Guarded: guarded, Why: why,
	})
}

func round(x float64) float64 {
	if x == 0 {
		return 0
	}
	scale := math.Pow(10, 3-math.Ceil(math.Log10(math.Abs(x))))
	if scale < 1 {
		return math.Round(x)
	}
	return math.Round(x*scale) / scale
}

// cost records how much more time hearth takes than the peer. The least disturbed round of each
// counts: on a machine that does something else now and then, medians compare the disturbances.
func (r *run) cost(section, name string, res []side.Result, hearth, peer string, l limit) {
	h, p := side.Named(res, hearth), side.Named(res, peer)
	r.add(section, name, "ns/op", h.Min(side.Wall), p.Min(side.Wall), h.Min(side.Wall)/p.Min(side.Wall), l)
}

// speed records how many times faster hearth is than the peer.
func (r *run) speed(section, name string, res []side.Result, hearth, peer string, l limit) {
	h, p := side.Named(res, hearth), side.Named(res, peer)
	r.add(section, name, "op/s", 1e9/h.Min(side.Wall), 1e9/p.Min(side.Wall), p.Min(side.Wall)/h.Min(side.Wall), l)
}

func table(w io.Writer, rows []row) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\nsection\trow\thearth\tpeer\tunit\tratio\tgoal\tguard\t\t")
	for _, r := range rows {
		goal, guard, verdict := "", "", ""
		if r.Bound != "" {
			sign := map[string]string{"at most": "<=", "at least": ">="}[r.Bound]
			goal, guard, verdict = fmt.Sprint(sign, " ", r.Goal), fmt.Sprint(r.Guard), "met"
			if !r.Met {
				verdict, _, _ = strings.Cut(r.Why, ";")
			}
		}
		fmt.Fprintf(tw, "%s\t%s\t%g\t%g\t%s\t%.2f\t%s\t%s\t%s\t\n", r.Section, r.Row, r.Hearth, r.Peer, r.Unit, r.Ratio, goal, guard, verdict)
	}
	tw.Flush()
}
