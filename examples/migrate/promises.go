package main

import "fmt"

// The bounds, in times the loads without a migration.
const (
	mostThroughHearth = 1.2
	leastForColdSwap  = 5 // for the synthetic load: or there was nothing to avoid
)

// promise is something that the run through hearth has to keep, and what was measured of it.
type promise struct {
	kept bool
	says string
}

// promises are all of them; the exit code depends on each.
func (r *report) promises() []promise {
	var ps []promise
	add := func(kept bool, format string, args ...any) {
		ps = append(ps, promise{kept, fmt.Sprintf(format, args...)})
	}
	add(r.stale()+r.wrong() == 0, "%d stale reads, %d values that the source never had, in %s reads", r.stale(), r.wrong(), thousands(float64(r.reads())))
	add(r.failed() == 0, "%d requests without an answer", r.failed())
	add(len(r.phases()) == len(walk), "%d of the %d phases of the way: up, down again, and up for good", len(r.phases()), len(walk))
	if r.unclear != nil {
		add(false, "%v", r.unclear)
	}
	add(r.ratio(hearth) <= mostThroughHearth, "through hearth the source had %.2f times its usual peak (at most %.1f)", r.ratio(hearth), mostThroughHearth)
	windows := r.windows(hearth)
	ratio, at := worst(windows, r.windows(steady))
	add(len(windows) > 0 && ratio <= mostThroughHearth, "at the worst moment, in phase %s, it had %.2f times the loads of the same %s requests without a migration (at most %.1f)",
		r.phaseAt(at), ratio, thousands(float64(r.width*r.outcomes[steady].series.grain)), mostThroughHearth)
	least := float64(leastForColdSwap)
	if r.options.trace != "" {
		least = 0 // it is what it is
	}
	bound := "of a trace nothing is asked"
	if least > 0 {
		bound = fmt.Sprintf("at least %v, or there was nothing to avoid", least)
	}
	add(r.ratio(cold) >= least, "the cold swap cost it %.1f times its usual peak (%s)", r.ratio(cold), bound)
	return ps
}

// phaseAt is the phase in which the middle of a window lies.
func (r *report) phaseAt(window int) string {
	o := r.outcomes[hearth]
	middle := (float64(window) + float64(r.width)/2) / float64(max(len(o.series.loads), 1))
	phase := walk[0].phase
	for i, m := range o.marks {
		if m.at <= middle {
			phase = walk[i+1].phase
		}
	}
	return phase.String()
}
