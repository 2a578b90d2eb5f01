// Mainjob judges the JSON line with which examples/migrate -json ends: whether the move to another
// cache server kept its promises. It reads standard input and looks at its last line.
//
//	go run ./examples/migrate -json | go run ./internal/mainjob
//
// The exit code is 0 when every bound is kept, 1 with a line per bound that is not, and 2 when there
// is nothing to judge. It is 3 if none but bounds on load and time are missed, which a busy machine
// may do, so that a second try is worth it.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() { os.Exit(run(os.Stdin, os.Stdout)) }

// The bounds.
const (
	mostThroughHearth = 1.2 // times the loads without a migration
	leastForColdSwap  = 5   // as much, for the synthetic load: or there was nothing to avoid
	mostSeconds       = 40
	leastLoads        = 50 // in a window: or chance decides
)

// result is what is judged of the line. What is missing in it must not pass for zero.
type result struct {
	Servers    *string  `json:"servers"`
	Trace      string   `json:"trace"`
	Requests   *int     `json:"requests"`
	Steady     *float64 `json:"source_loads_steady_per_s"`
	ColdPeak   *float64 `json:"source_loads_peak_cold_swap_per_s"`
	HearthPeak *float64 `json:"source_loads_peak_hearth_per_s"`
	Worst      *float64 `json:"hearth_worst_window_ratio"` // to the same requests without a migration
	Window     *float64 `json:"loads_per_window"`
	Phases     []string `json:"phases"`
	Stale      *int64   `json:"stale_reads"`
	Wrong      *int64   `json:"wrong_reads"`
	Failed     *int64   `json:"failed_requests"` // what failed cannot be checked for staleness
	Duration   *float64 `json:"duration_s"`
}

// run is the program; it returns its exit code.
func run(in io.Reader, out io.Writer) int {
	all, err := io.ReadAll(in)
	if err != nil {
		fmt.Fprintln(out, "mainjob:", err)
		return 2
	}
	all = bytes.TrimSpace(all)
	var r result
	if err := json.Unmarshal(all[bytes.LastIndexByte(all, '\n')+1:], &r); err != nil {
		fmt.Fprintln(out, "mainjob: the last line is no result:", err)
		return 2
	}
	if lacks := r.lacks(); len(lacks) > 0 {
		fmt.Fprintln(out, "mainjob: the result lacks", strings.Join(lacks, ", "))
		return 2
	}
	wrong, busy := r.missed()
	for _, m := range slices.Concat(wrong, busy) {
		fmt.Fprintln(out, "missed:", m)
	}
	switch {
	case len(wrong) > 0:
		return 1
	case len(busy) > 0:
		return 3
	}
	fmt.Fprintf(out, "%d requests on real servers in %.1f s through %d phases, 0 stale reads; the source had %.2f times its usual peak through hearth (%.2f times in the worst of the windows of %.0f loads), %.1f times by the cold swap\n",
		*r.Requests, *r.Duration, len(r.Phases), *r.HearthPeak / *r.Steady, *r.Worst, *r.Window, *r.ColdPeak / *r.Steady)
	return 0
}

// lacks names the fields that are missing.
func (r *result) lacks() (names []string) {
	for _, f := range []struct {
		name   string
		absent bool
	}{
		{"servers", r.Servers == nil}, {"requests", r.Requests == nil}, {"source_loads_steady_per_s", r.Steady == nil},
		{"source_loads_peak_cold_swap_per_s", r.ColdPeak == nil}, {"source_loads_peak_hearth_per_s", r.HearthPeak == nil},
		{"hearth_worst_window_ratio", r.Worst == nil}, {"loads_per_window", r.Window == nil}, {"phases", r.Phases == nil},
		{"stale_reads", r.Stale == nil}, {"wrong_reads", r.Wrong == nil}, {"failed_requests", r.Failed == nil},
		{"duration_s", r.Duration == nil},
	} {
		if f.absent {
			names = append(names, f.name)
		}
	}
	return names
}

// missed names the bounds that were not kept: those that no machine may miss, and those of load and
// time.
func (r *result) missed() (wrong, busy []string) {
	miss := func(to *[]string, bad bool, format string, args ...any) {
		if bad {
			*to = append(*to, fmt.Sprintf(format, args...))
		}
	}
	miss(&wrong, *r.Servers != "real", "servers are %q, not real", *r.Servers)
	miss(&wrong, *r.Requests <= 0, "%d requests", *r.Requests)
	miss(&wrong, *r.Steady <= 0, "%v loads/s without a migration: nothing to compare with", *r.Steady)
	miss(&wrong, *r.Stale != 0, "%d stale reads", *r.Stale)
	miss(&wrong, *r.Wrong != 0, "%d wrong reads", *r.Wrong)
	miss(&wrong, *r.Failed != 0, "%d failed requests", *r.Failed)
	miss(&wrong, !walked(r.Phases), "the phases %s are not all of them, up, down again and up", strings.Join(r.Phases, ", "))
	miss(&wrong, !(*r.Window >= leastLoads), "%v loads in a window, at least %d", *r.Window, leastLoads)
	miss(&busy, !(*r.HearthPeak <= mostThroughHearth**r.Steady), "%v loads/s through hearth, at most %v times %v", *r.HearthPeak, mostThroughHearth, *r.Steady)
	miss(&busy, !(*r.Worst <= mostThroughHearth), "%v times the loads of the same requests without a migration in the worst window, at most %v", *r.Worst, mostThroughHearth)
	miss(&busy, r.Trace == "" && !(*r.ColdPeak >= leastForColdSwap**r.Steady), "%v loads/s by the cold swap, at least %d times %v", *r.ColdPeak, leastForColdSwap, *r.Steady)
	miss(&busy, !(*r.Duration <= mostSeconds), "it took %v s, at most %d", *r.Duration, mostSeconds)
	return wrong, busy
}

// walked reports whether the phases went from old to new, back to old and up to retire, through
// Mirror and a ramp each time.
func walked(phases []string) bool {
	way := []string{"old", "mirror", "ramp", "new", "ramp", "mirror", "old", "mirror", "ramp", "new", "retire"}
	for i, p := range phases {
		kind, _, _ := strings.Cut(p, " ")
		switch {
		case len(way) > 0 && kind == way[0]:
			way = way[1:]
		case i > 0 && kind == "ramp" && strings.HasPrefix(phases[i-1], "ramp"):
		default:
			return false
		}
	}
	return len(way) == 0
}
