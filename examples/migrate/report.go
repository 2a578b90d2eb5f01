package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/hearthcache/hearth/internal/servers"
)

// report is what came of all runs.
type report struct {
	options  options
	workload *workload
	requests int       // in each run
	width    int       // of a window, in pieces
	unclear  error     // says why loads cannot be compared; nil = they can
	outcomes []outcome // in the order of way
	took     time.Duration
}

func (r *report) kind() string {
	for _, o := range r.outcomes {
		if o.kind != servers.Real {
			return servers.Embedded
		}
	}
	return servers.Real
}

func (r *report) windows(w way) []window { return r.outcomes[w].series.windows(r.width) }

func (r *report) peak(w way) float64 { return peak(r.windows(w), r.options.rate) }

// ratio is the busiest window of a run over the busiest without a migration.
func (r *report) ratio(w way) float64 { return r.peak(w) / math.Max(r.peak(steady), 1e-9) }

// worst is the highest quotient of a window of a run and the same window without a migration.
func (r *report) worst(w way) float64 {
	ratio, _ := worst(r.windows(w), r.windows(steady))
	return ratio
}

// usual is how many loads a window has without a migration, on average.
func (r *report) usual() float64 {
	s := r.outcomes[steady].series
	return float64(s.total()) * float64(r.width) / float64(max(len(s.loads), 1))
}

func (r *report) sum(of func(outcome) int64) (n int64) {
	for _, o := range r.outcomes {
		n += of(o)
	}
	return n
}

func (r *report) stale() int64  { return r.sum(func(o outcome) int64 { return o.stale }) }
func (r *report) wrong() int64  { return r.sum(func(o outcome) int64 { return o.wrong }) }
func (r *report) failed() int64 { return r.sum(func(o outcome) int64 { return o.failed }) }

// print writes the chart, the table and what they mean.
func (r *report) print(out io.Writer) {
	o := r.options
	fmt.Fprintf(out, "\nLoads from the source a second, %s requests in each column\n\n", thousands(float64(r.outcomes[steady].series.requests())/chartWidth))
	fmt.Fprintln(out, chart(r.outcomes, o.rate))

	fmt.Fprintf(out, "%-34s %14s %14s %14s\n", "", wayNames[steady], wayNames[cold], wayNames[hearth])
	row := func(name string, cell func(w way) string) {
		fmt.Fprintf(out, "%-34s %14s %14s %14s\n", name, cell(steady), cell(cold), cell(hearth))
	}
	row("loads/s, busiest window", func(w way) string { return thousands(r.peak(w)) })
	row("  times that without a migration", func(w way) string { return fmt.Sprintf("%.2f", r.ratio(w)) })
	row("  worst window against its own", func(w way) string { return fmt.Sprintf("%.2f", r.worst(w)) })
	row("loads/s, mean", func(w way) string { return thousands(r.mean(w)) })
	row("hit ratio, worst window", func(w way) string { return fmt.Sprintf("%.1f %%", 100*(1-r.peak(w)/float64(o.rate))) })
	row("stale reads", func(w way) string { return thousands(float64(r.outcomes[w].stale)) })
	row("requests without an answer", func(w way) string { return thousands(float64(r.outcomes[w].failed)) })
	row("seconds", func(w way) string { return fmt.Sprintf("%.1f", r.outcomes[w].took.Seconds()) })
	fmt.Fprintln(out)
	r.explain(out)
}

func (r *report) mean(w way) float64 {
	s := r.outcomes[w].series
	return window{s.requests(), s.total()}.perSecond(r.options.rate)
}

// explain says in words what was measured, and what came of it.
func (r *report) explain(out io.Writer) {
	o, w := r.options, r.workload
	fmt.Fprintf(out, "%s: %s requests in each run (%s of them measured), %s records, seed %d, %s servers.\n", w.name,
		thousands(float64(r.requests)), thousands(float64(r.outcomes[steady].series.requests())), thousands(float64(len(w.names))), o.seed, r.kind())
	fmt.Fprintf(out, "Of the requests %.1f %% save, %.1f %% edit and %.1f %% delete a record first, by a hash of seed, key and position.\n",
		savePerMille/10.0, editPerMille/10.0, deletePerMille/10.0)
	fmt.Fprintf(out, "A window is %s requests, of which %.0f are loads without a migration; it is compared with the same requests there.\n",
		thousands(float64(r.width*r.outcomes[steady].series.grain)), r.usual())
	if r.requests < len(w.reads) {
		fmt.Fprintf(out, "The machine is slow: %s requests would not have ended within %v (-budget).\n", thousands(float64(len(w.reads))), o.budget)
	}
	for _, res := range r.outcomes {
		if res.requests < r.requests {
			fmt.Fprintf(out, "%s: only the first %s requests, since the machine is slow (-budget).\n", wayNames[res.way], thousands(float64(res.requests)))
		}
		if res.behind {
			fmt.Fprintf(out, "%s: the machine could not send %s requests a second; figures are scaled as if it had.\n", wayNames[res.way], thousands(float64(o.rate)))
		}
		if res.firstErr != nil {
			fmt.Fprintf(out, "%s: the first request without an answer: %v\n", wayNames[res.way], res.firstErr)
		}
	}
	h := r.outcomes[hearth]
	fmt.Fprintf(out, "Through hearth %s values were copied to the new server, which in the last phase gave %.0f %% of the remote hits.\n",
		thousands(float64(h.progress.Copied)), 100*h.last.ShareNew())
	fmt.Fprintln(out)
	for _, p := range r.promises() {
		sign := "✓"
		if !p.kept {
			sign = "✗"
		}
		fmt.Fprintf(out, "%s %s\n", sign, p.says)
	}
}

// phases are those that the run through hearth has been in, in their order.
func (r *report) phases() []string {
	phases := []string{walk[0].phase.String()}
	for i := range r.outcomes[hearth].marks {
		phases = append(phases, walk[i+1].phase.String())
	}
	return phases
}

// reads is how many reads were judged, in all runs.
func (r *report) reads() int64 {
	return r.sum(func(o outcome) int64 { return int64(o.requests) }) - r.failed()
}

// line is the last line with -json.
type line struct {
	Scenario string `json:"scenario"`
	Servers  string `json:"servers"`
	Trace    string `json:"trace,omitempty"`
	Workload string `json:"workload"`
	Seed     uint64 `json:"seed"`
	Requests int    `json:"requests"` // in each of the three runs
	Measured int    `json:"requests_measured"`
	Records  int    `json:"records"`
	Rate     int    `json:"rate_per_s"`
	Window   int    `json:"requests_per_window"`

	WindowLoads float64 `json:"loads_per_window"` // without a migration, on average

	Steady     float64 `json:"source_loads_steady_per_s"`
	ColdPeak   float64 `json:"source_loads_peak_cold_swap_per_s"`
	HearthPeak float64 `json:"source_loads_peak_hearth_per_s"`
	SteadyMean float64 `json:"source_loads_steady_mean_per_s"`
	ColdRatio  float64 `json:"cold_swap_to_steady"`
	Ratio      float64 `json:"hearth_to_steady"`
	ColdWorst  float64 `json:"cold_swap_worst_window_ratio"`
	Worst      float64 `json:"hearth_worst_window_ratio"`

	Stale    int64    `json:"stale_reads"`
	Wrong    int64    `json:"wrong_reads"`
	Reads    int64    `json:"reads_checked"`
	Failed   int64    `json:"failed_requests"`
	Copied   int64    `json:"copied"`
	Phases   []string `json:"phases"`
	Duration float64  `json:"duration_s"`
}

func (r *report) line() line {
	return line{
		Scenario: r.options.scenario, Servers: r.kind(), Trace: r.options.trace, Workload: r.workload.name, Seed: r.options.seed,
		Requests: r.requests, Measured: r.outcomes[steady].series.requests(), Records: len(r.workload.names),
		Rate: r.options.rate, Window: r.width * r.outcomes[steady].series.grain, WindowLoads: round(r.usual()),
		Steady: round(r.peak(steady)), ColdPeak: round(r.peak(cold)), HearthPeak: round(r.peak(hearth)), SteadyMean: round(r.mean(steady)),
		ColdRatio: round(r.ratio(cold)), Ratio: round(r.ratio(hearth)),
		ColdWorst: round(r.worst(cold)), Worst: round(r.worst(hearth)),
		Stale: r.stale(), Wrong: r.wrong(), Reads: r.reads(), Failed: r.failed(),
		Copied: r.outcomes[hearth].progress.Copied, Phases: r.phases(), Duration: round(r.took.Seconds()),
	}
}

func (r *report) printJSON(out io.Writer) error { return json.NewEncoder(out).Encode(r.line()) }

func round(v float64) float64 { return math.Round(v*1000) / 1000 }
