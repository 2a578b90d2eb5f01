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
// insist on; a known miss beyond it has a wider limit of its own, Tolerated, so that it getting
// worse is still seen. What a row without a goal has no use for is null.
type row struct {
	Section   string   `json:"section"`
	Row       string   `json:"row"`
	Hearth    float64  `json:"hearth"`
	Peer      float64  `json:"peer"`
	Unit      string   `json:"unit"`
	Ratio     float64  `json:"ratio"`
	Bound     string   `json:"bound"` // "at most" or "at least"; "" where there is no goal
	Goal      *float64 `json:"goal"`
	Guard     *float64 `json:"guard"`
	Tolerated *float64 `json:"tolerated,omitempty"`
	Met       *bool    `json:"met"`
	Guarded   *bool    `json:"guarded"`          // within the guard
	Why       string   `json:"why,omitempty"`    // it is not met
	Failed    string   `json:"failed,omitempty"` // nothing was measured, for this reason
	Tries     int      `json:"tries"`            // above 1: measured again by -check

	HearthUse *use `json:"hearth_use,omitempty"`
	PeerUse   *use `json:"peer_use,omitempty"`
}

// use is what an operation took of this process, which is the client: medians over the rounds.
type use struct {
	CPUNs  float64 `json:"cpu_ns"`
	Allocs float64 `json:"allocs"`
}

func usage(r side.Result) *use {
	return &use{round(r.Median(side.CPU)), round(r.Median(side.Allocs))}
}

// ok is what a check insists on.
func (r row) ok() bool {
	if r.Failed != "" {
		return false
	}
	if r.Guarded == nil || *r.Guarded {
		return true
	}
	return r.Tolerated != nil && limit{bound: r.Bound}.holds(r.Ratio, *r.Tolerated)
}

// missed says that there is a goal, and it is not reached.
func (r row) missed() bool { return r.Met != nil && !*r.Met }

// limit is a goal and its guard, and what is tolerated of a known miss, if not zero.
type limit struct {
	bound                  string
	goal, guard, tolerated float64
}

func atMost(goal, guard float64) limit  { return limit{bound: "at most", goal: goal, guard: guard} }
func atLeast(goal, guard float64) limit { return limit{bound: "at least", goal: goal, guard: guard} }

func (l limit) tolerating(x float64) limit { l.tolerated = x; return l }

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
func (r *run) add(section, name, unit string, hearth, peer, ratio float64, l limit) *row {
	w := row{Section: section, Row: name, Hearth: round(hearth), Peer: round(peer), Unit: unit, Bound: l.bound, Tries: 1}
	met, guarded := l.holds(ratio, l.goal), l.holds(ratio, l.guard)
	if math.IsNaN(ratio) || math.IsInf(ratio, 0) {
		met, guarded, ratio = false, false, 0
		w.Failed = "not measurable: a figure is zero"
	} else if !met {
		w.Why = l.why(section, name, ratio)
	}
	w.Ratio = round(ratio)
	if l != shown {
		w.Goal, w.Guard, w.Met, w.Guarded = &l.goal, &l.guard, &met, &guarded
	}
	if l.tolerated != 0 {
		w.Tolerated = &l.tolerated
	}
	r.rows = append(r.rows, w)
	return &r.rows[len(r.rows)-1]
}

// fail records that nothing was measured, which is not met.
func (r *run) fail(section, name string, err error) {
	met := false
	r.rows = append(r.rows, row{Section: section, Row: name, Met: &met, Guarded: &met, Failed: err.Error(), Why: "not measured; " + err.Error(), Tries: 1})
}

func round(x float64) float64 {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	scale := math.Pow(10, 3-math.Ceil(math.Log10(math.Abs(x))))
	if scale < 1 {
		return math.Round(x)
	}
	return math.Round(x*scale) / scale
}

// cost records how much more time hearth takes than the peer: the median of the ratios of
// neighbouring rounds, beside the median of each. What disturbs both sides of a round drops out.
func (r *run) cost(section, name string, res []side.Result, hearth, peer string, l limit) {
	h, p := side.Named(res, hearth), side.Named(res, peer)
	w := r.add(section, name, "ns/op", h.Median(side.Wall), p.Median(side.Wall), side.Paired(h, p, side.Wall), l)
	w.HearthUse, w.PeerUse = usage(h), usage(p)
}

// speed records how many times faster hearth is than the peer, likewise.
func (r *run) speed(section, name string, res []side.Result, hearth, peer string, l limit) {
	h, p := side.Named(res, hearth), side.Named(res, peer)
	w := r.add(section, name, "op/s", 1e9/h.Median(side.Wall), 1e9/p.Median(side.Wall), side.Paired(p, h, side.Wall), l)
	w.HearthUse, w.PeerUse = usage(h), usage(p)
}

// better keeps of each row the first measurement that is ok, or else the last one. Rows that only
// one of the two has are kept, except failures that the second measurement does not repeat.
func better(first, second []row) []row {
	again := map[string]row{}
	for _, w := range second {
		again[w.Row] = w
	}
	var out []row
	have := map[string]bool{}
	for _, w := range first {
		n, there := again[w.Row]
		switch {
		case w.ok() || !there && w.Bound != "":
		case !there:
			continue // a failure that is gone
		default:
			n.Tries = w.Tries + 1
			w = n
		}
		have[w.Row] = true
		out = append(out, w)
	}
	for _, w := range second {
		if !have[w.Row] && w.Failed == "" {
			out = append(out, w)
		}
	}
	return out
}

// beyond are the rows that a check refuses.
func beyond(rows []row) []row {
	var out []row
	for _, w := range rows {
		if !w.ok() {
			out = append(out, w)
		}
	}
	return out
}

// verdict is goal, guard and outcome in words, for the table and the page.
func (r row) verdict() (goal, guard, outcome string) {
	if r.Failed != "" {
		return "", "", "not measured"
	}
	if r.Goal == nil {
		return "", "", ""
	}
	goal, guard, outcome = fmt.Sprintf("%s %g", r.Bound, *r.Goal), fmt.Sprint(*r.Guard), "met"
	if r.Tolerated != nil {
		guard += fmt.Sprintf(" (known miss, tolerated: %g)", *r.Tolerated)
	}
	if r.missed() {
		outcome = "not met"
	}
	return goal, guard, outcome
}

func (u *use) text() (cpu, allocs string) {
	if u == nil {
		return "", ""
	}
	return figure(u.CPUNs), figure(u.Allocs)
}

func table(w io.Writer, rows []row) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\nsection\trow\thearth\tpeer\tunit\tratio\tgoal\tguard\t\t")
	for _, r := range rows {
		goal, guard, outcome := r.verdict()
		goal = strings.NewReplacer("at most", "<=", "at least", ">=").Replace(goal)
		fmt.Fprintf(tw, "%s\t%s\t%g\t%g\t%s\t%.2f\t%s\t%s\t%s\t\n", r.Section, r.Row, r.Hearth, r.Peer, r.Unit, r.Ratio, goal, guard, outcome)
	}
	tw.Flush()
}
