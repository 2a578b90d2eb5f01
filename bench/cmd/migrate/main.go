package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hearthcache/hearth/bench/internal/hammer"
	"github.com/hearthcache/hearth/internal/fence"
	"github.com/hearthcache/hearth/internal/servers"
)

func main() {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	jsonOnly := flag.Bool("json", false, "print nothing but the last line")
	quick := flag.Bool("quick", false, "fewer reads, within a minute")
	only := flag.String("scenario", "", "run this scenario alone: fleet, mixed, cut or own")
	flag.Parse()
	if *only != "" && !slices.Contains([]string{inFleet, mixed, cut, own}, *only) {
		fmt.Fprintf(os.Stderr, "migrate: there is no scenario %q: there are fleet, mixed, cut and own\n", *only)
		os.Exit(2)
	}
	var out io.Writer = os.Stdout
	if *jsonOnly {
		out = os.Stderr
	}
	rep, err := measure(out, *only, *quick)
	if err != nil {
		fmt.Fprintln(os.Stderr, "migrate:", err)
		os.Exit(1)
	}
	line, err := json.Marshal(rep)
	if err != nil {
		fmt.Fprintln(os.Stderr, "migrate:", err)
		os.Exit(1)
	}
	fmt.Println(string(line))
	if wrong := rep.wrong(!*quick && *only == ""); wrong != nil {
		fmt.Fprintln(os.Stderr, "migrate:", wrong)
		os.Exit(1)
	}
}

// report is the last line.
type report struct {
	Reads      uint64               `json:"reads"`
	StaleHits  uint64               `json:"stale_hits"`
	Invented   uint64               `json:"invented"` // values that nobody ever wrote
	Removed    map[string]uint64    `json:"removed"`
	PeakLoad   float64              `json:"peak_source_load_ratio"`
	Windows    int                  `json:"load_windows"`
	Directions map[string]direction `json:"directions"`
	Processes  int                  `json:"processes"`
	Seconds    float64              `json:"duration_s"`

	planned []run // in each direction; what had to be seen
}

// direction is what was seen in a migration from one server to another.
type direction struct {
	Kind      string             `json:"kind"` // of the servers: real or embedded
	Scenarios map[string]outcome `json:"scenarios"`
	Removed   map[string]outcome `json:"removed"`
}

// Bounds of a full run.
const (
	million  = 1_000_000
	mostLoad = 1.2 // times the share of loads with the busier server alone; chance is added
)

// chance is three standard deviations of the quotient of two counts of so many.
func chance(n uint64) float64 { return 3 * math.Sqrt(2/float64(max(n, 1))) }

// wrong says which promise was broken, which rule was not seen to be needed, or what the run was
// too small to tell; of one that is not full the number of reads and windows is not asked.
func (r report) wrong(full bool) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if r.StaleHits+r.Invented > 0 {
		bad("%d stale reads with all rules in force, %d values that nobody wrote", r.StaleHits, r.Invented)
	}
	if full && r.Reads < million {
		bad("%d reads with all rules in force, want a million", r.Reads)
	}
	for _, name := range directions {
		d := r.Directions[name]
		if d.Kind != servers.Real {
			bad("%s: the servers are %q, which proves nothing: install the real ones", name, d.Kind)
		}
		for _, run := range r.planned {
			if run.Without != "" {
				if rule := rules[run.Without]; d.Removed[rule].Stale == 0 {
					bad("%s: no stale read without the rule %q", name, rule)
				}
			} else if o := d.Scenarios[run.Scenario]; o.Reads == 0 || o.Hits == 0 {
				bad("%s: no read, or no hit, in scenario %q", name, run.Scenario)
			}
		}
		f, ran := d.Scenarios[inFleet]
		if !ran {
			continue
		}
		if f.Changes == 0 {
			bad("%s: the phase never changed", name)
		}
		if most := mostLoad * (1 + chance(f.WindowWrites)); f.Windows > 0 && f.PeakLoad > most {
			bad("%s: the source had %.2f times its share of loads, at most %.2f in windows of %d writes", name, f.PeakLoad, most, f.WindowWrites)
		}
		if full && f.Windows == 0 {
			bad("%s: no window in which all was well, so nothing is known of the source's load: the machine is too busy", name)
		}
	}
	return errors.Join(errs...)
}

// measure runs every scenario, or only one, in both directions, one after the other, the directions side by
// side.
func measure(out io.Writer, only string, quick bool) (report, error) {
	began := time.Now()
	dir, err := os.MkdirTemp("", "hearth-migrate-")
	if err != nil {
		return report{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	rep := report{Removed: map[string]uint64{}, Directions: map[string]direction{}, Processes: processes}
	fmt.Fprintf(out, "%-18s %-7s %-18s %10s %10s %8s %8s %8s %7s\n", "direction", "scenario", "without", "reads", "hits", "loads", "stale", "phases", "seconds")
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	rep.planned = slices.DeleteFunc(runs(quick), func(r run) bool { return only != "" && r.Scenario != only })
	for _, to := range []string{"redis", "memcached"} {
		wg.Go(func() {
			for _, r := range rep.planned {
				r.Old, r.New = "memcached", "redis"
				if to == "memcached" {
					r.Old, r.New = r.New, r.Old
				}
				r.Path = filepath.Join(dir, fmt.Sprintf("%s-%s-%s", to, r.Scenario, r.Without))
				o, err := r.run(func(reads uint64, passed time.Duration) {
					mu.Lock()
					defer mu.Unlock()
					fmt.Fprintf(out, "%-18s %-7s %-18s %10d reads after %.0f s\n", r.direction(), r.Scenario, r.Without, reads, passed.Seconds())
				})
				mu.Lock()
				if err != nil {
					errs = append(errs, fmt.Errorf("%s, %s without %q: %w", r.direction(), r.Scenario, r.Without, err))
				}
				rep.add(r, o)
				fmt.Fprintf(out, "%-18s %-7s %-18s %10d %10d %8d %8d %8d %7.1f\n",
					r.direction(), r.Scenario, r.Without, o.Reads, o.Hits, o.Loads, o.Stale, o.Changes, o.Seconds)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	rep.Seconds = time.Since(began).Seconds()
	return rep, errors.Join(errs...)
}

func (r *report) add(run run, o outcome) {
	d, ok := r.Directions[run.direction()]
	if !ok {
		d = direction{Kind: o.kind, Scenarios: map[string]outcome{}, Removed: map[string]outcome{}}
		r.Directions[run.direction()] = d
	}
	if run.Without != "" {
		r.Removed[rules[run.Without]] += o.Stale
		d.Removed[rules[run.Without]] = o
		return
	}
	r.Reads += o.Reads
	r.StaleHits += o.Stale
	r.Invented += o.Invented
	r.PeakLoad = max(r.PeakLoad, o.PeakLoad)
	r.Windows += o.Windows
	d.Scenarios[run.Scenario] = o
}

var directions = []string{"memcached to redis", "redis to memcached"}

// rules are the fences by the names the report has for them.
var rules = map[string]string{
	fence.MigrateOrder.String(): "order", fence.MigrateLease.String(): "lease",
	fence.MigrateTombstone.String(): "tombstone", fence.MigrateBars.String(): "bars",
}

// runs are the scenarios, each with all rules in force and without those it is about.
func runs(quick bool) []run {
	fleet, control, most := time.Minute, 10*time.Second, 30*time.Second
	goal := uint64(500_000) // in each direction
	if quick {
		fleet, control, most, goal = 12*time.Second, 2500*time.Millisecond, 12*time.Second, 0
	}
	// Of the eight minutes that all of it may take, five at most.
	out := []run{{Scenario: inFleet, Until: hammer.Until{Goal: goal, Least: fleet, Most: 5 * fleet}}}
	for _, s := range []struct {
		name    string
		without []fence.Fence
	}{
		{mixed, []fence.Fence{fence.MigrateOrder, fence.MigrateLease}},
		{cut, []fence.Fence{fence.MigrateTombstone}},
		{own, []fence.Fence{fence.MigrateBars}},
	} {
		out = append(out, run{Scenario: s.name, Until: hammer.Until{Least: control, Most: control}})
		for _, f := range s.without {
			r := run{Scenario: s.name, Without: f.String(), Until: hammer.Until{Most: most}}
			if s.name == own { // a round takes longer
				r.Most += most / 2
			}
			out = append(out, r)
		}
	}
	return out
}
