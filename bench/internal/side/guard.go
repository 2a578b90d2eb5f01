package side

import (
	"fmt"
	"maps"
	"slices"
)

// T is the part of testing.T that Retry needs.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Over says where a variant costs more than allowed: allowed names the peers and the ratio to each.
func Over(results []Result, name string, by By, allowed map[string]float64) []string {
	var out []string
	for _, peer := range slices.Sorted(maps.Keys(allowed)) {
		if r := Ratio(Named(results, name), Named(results, peer), by); r > allowed[peer] {
			out = append(out, fmt.Sprintf("%s costs %.2f x %s, allowed are %.2f", name, r, peer, allowed[peer]))
		}
	}
	return out
}

// Retry measures up to times times until nothing is over: a noisy neighbour passes, a slow hit path
// does not.
func Retry(t T, times int, measure func() []string) {
	t.Helper()
	for try := range times {
		over := measure()
		if len(over) == 0 {
			return
		}
		for _, o := range over {
			if try == times-1 {
				t.Errorf("%s", o)
			} else {
				t.Logf("again: %s", o)
			}
		}
	}
}
