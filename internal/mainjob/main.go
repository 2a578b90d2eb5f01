// Mainjob judges the JSON line with which examples/migrate -json ends: whether the move to another
// cache server kept its promises. It reads standard input and looks at its last line.
//
//	go run ./examples/migrate -json | go run ./internal/mainjob
//
// The exit code is 0 when every bound is kept, 1 with a line per bound that is not, 2 when there
// is nothing to judge.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

func main() { os.Exit(run(os.Stdin, os.Stdout)) }

// The bounds.
const (
	mostThroughHearth = 1.2 // times the loads without a migration
	leastForColdSwap  = 5   // as much, for the synthetic load: or there was nothing to avoid
	mostSeconds       = 40
)

// result is what is judged of the line. What is missing in it must not pass for zero.
type result struct {
	Servers    *string  `json:"servers"`
	Trace      string   `json:"trace"`
	Requests   *int     `json:"requests"`
	Steady     *float64 `json:"source_loads_steady_per_s"`
	ColdPeak   *float64 `json:"source_loads_peak_cold_swap_per_s"`
	HearthPeak *float64 `json:"source_loads_peak_hearth_per_s"`
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
	if r.Servers == nil || r.Requests == nil || r.Steady == nil || r.ColdPeak == nil || r.HearthPeak == nil || r.Stale == nil || r.Wrong == nil || r.Failed == nil || r.Duration == nil {
		fmt.Fprintln(out, "mainjob: the result lacks a field: servers, requests, source_loads_steady_per_s, source_loads_peak_cold_swap_per_s, source_loads_peak_hearth_per_s, stale_reads, wrong_reads, failed_requests or duration_s")
		return 2
	}
	missed := r.missed()
	for _, m := range missed {
		fmt.Fprintln(out, "missed:", m)
	}
	if len(missed) > 0 {
		return 1
	}
	fmt.Fprintf(out, "%d requests on real servers in %.1f s, 0 stale reads; the source had %.2f times its usual peak through hearth, %.1f times by the cold swap\n",
		*r.Requests, *r.Duration, *r.HearthPeak / *r.Steady, *r.ColdPeak / *r.Steady)
	return 0
}

// missed names the bounds that were not kept.
func (r *result) missed() (missed []string) {
	miss := func(bad bool, format string, args ...any) {
		if bad {
			missed = append(missed, fmt.Sprintf(format, args...))
		}
	}
	miss(*r.Servers != "real", "servers are %q, not real", *r.Servers)
	miss(*r.Requests <= 0, "%d requests", *r.Requests)
	miss(*r.Steady <= 0, "%v loads/s without a migration: nothing to compare with", *r.Steady)
	miss(*r.Stale != 0, "%d stale reads", *r.Stale)
	miss(*r.Wrong != 0, "%d wrong reads", *r.Wrong)
	miss(*r.Failed != 0, "%d failed requests", *r.Failed)
	miss(!(*r.HearthPeak <= mostThroughHearth**r.Steady), "%v loads/s through hearth, at most %v times %v", *r.HearthPeak, mostThroughHearth, *r.Steady)
	miss(r.Trace == "" && !(*r.ColdPeak >= leastForColdSwap**r.Steady), "%v loads/s by the cold swap, at least %d times %v", *r.ColdPeak, leastForColdSwap, *r.Steady)
	miss(!(*r.Duration <= mostSeconds), "it took %v s, at most %d", *r.Duration, mostSeconds)
	return missed
}
