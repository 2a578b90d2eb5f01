// Package side measures variants side by side: interleaved in rounds, so that whatever else the
// machine does falls on all of them alike. Only ratios between variants of one Run mean anything.
package side

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"
)

// Variant is one thing to measure. Op does n operations.
type Variant struct {
	Name string
	Op   func(n int)

	// Fixed, if above zero, is the n of every round: for things that cannot be repeated at will,
	// such as filling a cache. Else n is chosen so that a round lasts as long as Plan says.
	Fixed int

	// Before and After, if set, run around every round, unmeasured.
	Before, After func()

	// Warm, if set, runs once, after the variant was warmed up and before the first round.
	Warm func()
}

// Plan says how much to measure. Zero fields mean 7 rounds of 50 ms.
type Plan struct {
	Rounds int
	Round  time.Duration

	// Budget, if above zero, ends the rounds early, after the first at the soonest; what warms up
	// counts. Every variant has all rounds that were begun.
	Budget time.Duration
}

// Sample is one round of one variant, per operation.
type Sample struct {
	WallNs, CPUNs float64 // CPU: of the whole process, all threads, user and system
	Bytes, Allocs float64
}

// Result is what one variant did. Samples are in the order of the rounds, so those of the same
// index of two results were taken next to each other.
type Result struct {
	Name    string
	Samples []Sample
}

// Run measures all variants, round by round, each round beginning with another one.
func Run(p Plan, variants ...Variant) []Result {
	p.Rounds = cmp.Or(p.Rounds, 7)
	p.Round = cmp.Or(p.Round, 50*time.Millisecond)
	began := time.Now()
	results := make([]Result, len(variants))
	counts := make([]int, len(variants))
	for i, v := range variants {
		results[i].Name = v.Name
		if counts[i] = v.Fixed; v.Fixed == 0 {
			counts[i] = calibrate(v, p.Round)
		}
	}
	for _, v := range variants {
		if v.Warm != nil {
			v.Warm()
		}
	}
	for round := range p.Rounds {
		if round > 0 && p.Budget > 0 && time.Since(began) > p.Budget {
			break
		}
		for j := range variants {
			i := (j + round) % len(variants)
			if variants[i].Before != nil {
				variants[i].Before()
			}
			results[i].Samples = append(results[i].Samples, measure(variants[i].Op, counts[i]))
			if variants[i].After != nil {
				variants[i].After()
			}
		}
	}
	return results
}

// calibrate also warms the variant up.
func calibrate(v Variant, want time.Duration) int {
	if v.Before != nil {
		v.Before()
	}
	for n := 100; ; n *= 4 {
		start := time.Now()
		v.Op(n)
		if took := time.Since(start); took > want/8 || n > 1<<28 {
			if v.After != nil {
				v.After()
			}
			return max(1, int(float64(n)*float64(want)/float64(took+1)))
		}
	}
}

func measure(op func(int), n int) Sample {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cpu, start := cpuTime(), time.Now()
	op(n)
	wall, used := time.Since(start), cpuTime()-cpu
	runtime.ReadMemStats(&after)
	per := float64(n)
	return Sample{
		WallNs: float64(wall) / per,
		CPUNs:  float64(used) / per,
		Bytes:  float64(after.TotalAlloc-before.TotalAlloc) / per,
		Allocs: float64(after.Mallocs-before.Mallocs) / per,
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Parallel is an Op that splits its n over g goroutines, each with a number of its own.
func Parallel(g int, op func(worker, n int)) func(int) {
	return func(n int) {
		var wg sync.WaitGroup
		for w := range g {
			wg.Go(func() { op(w, n/g) })
		}
		wg.Wait()
	}
}

// By takes one figure out of a sample.
type By func(Sample) float64

// The figures of a sample.
func Wall(s Sample) float64   { return s.WallNs }
func CPU(s Sample) float64    { return s.CPUNs }
func Allocs(s Sample) float64 { return s.Allocs }

// Median is the median over the rounds.
func (r Result) Median(by By) float64 { return median(r.series(by)) }

// Min is the least disturbed round.
func (r Result) Min(by By) float64 { return slices.Min(r.series(by)) }

func (r Result) series(by By) []float64 {
	out := make([]float64, len(r.Samples))
	for i, s := range r.Samples {
		out[i] = by(s)
	}
	return out
}

// Ratio is what a costs relative to b: the median over the rounds of the ratio of neighbours,
// which drops what disturbs both; or the ratio of the minima, if that is lower.
func Ratio(a, b Result, by By) float64 {
	return min(Paired(a, b, by), a.Min(by)/b.Min(by))
}

// Paired is the median over the rounds of the ratio of neighbours, alone.
func Paired(a, b Result, by By) float64 {
	ratios := make([]float64, min(len(a.Samples), len(b.Samples)))
	for i := range ratios {
		ratios[i] = by(a.Samples[i]) / by(b.Samples[i])
	}
	return median(ratios)
}

func median(p []float64) float64 {
	if len(p) == 0 {
		return 0
	}
	p = slices.Sorted(slices.Values(p))
	if n := len(p); n%2 == 0 {
		return (p[n/2-1] + p[n/2]) / 2
	}
	return p[len(p)/2]
}

// Named is the result of that name.
func Named(results []Result, name string) Result {
	for _, r := range results {
		if r.Name == name {
			return r
		}
	}
	panic("side: no variant " + name)
}

// Table prints the results, with ratios to the first of them.
func Table(w io.Writer, title string, results []Result) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, strings.Join([]string{title, "ns", "min", "x", "cpu ns", "B", "allocs", ""}, "\t"))
	for _, r := range results {
		bytes := r.Median(func(s Sample) float64 { return s.Bytes })
		fmt.Fprintf(tw, "%s\t%.1f\t%.1f\t%.2f\t%.1f\t%.0f\t%.2f\t\n", r.Name, r.Median(Wall), r.Min(Wall),
			Ratio(r, results[0], Wall), r.Median(CPU), bytes, r.Median(Allocs))
	}
	tw.Flush()
}
