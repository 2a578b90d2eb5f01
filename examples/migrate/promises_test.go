package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// kept is a report of runs in which every promise was kept: 740 pieces with ten loads each, one
// for each tenth of a part of the walk.
func kept() *report {
	loads := func(n int64) series { return series{grain: 10, loads: slices.Repeat([]int64{n}, 740)} }
	r := &report{options: options{rate: 1000}, workload: &workload{}, width: 12, outcomes: []outcome{
		{way: steady, series: loads(10), requests: 7400},
		{way: cold, series: loads(50), requests: 7400},
		{way: hearth, series: loads(12), requests: 7400},
	}}
	for _, st := range new(single).legs() {
		r.outcomes[hearth].marks = append(r.outcomes[hearth].marks, mark{st.share, st.name})
	}
	return r
}

func TestPromises_NameTheFigureThatMissed(t *testing.T) {
	for _, p := range kept().promises() {
		if !p.kept {
			t.Errorf("all is well, and still: %s", p.says)
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(r *report)
		says  []string
	}{
		{"a stale read", func(r *report) { r.outcomes[hearth].stale = 1 }, []string{"1 stale reads"}},
		{"a wrong read", func(r *report) { r.outcomes[cold].wrong = 2 }, []string{"2 values that the source never had"}},
		{"a failed request", func(r *report) { r.outcomes[hearth].failed = 3 }, []string{"3 requests without an answer"}},
		{"a phase not reached", func(r *report) {
			h := &r.outcomes[hearth]
			h.marks = h.marks[:len(h.marks)-1]
		}, []string{"14 of the 15 phases"}},
		{"a moment that is cold, beside others that are not", func(r *report) {
			r.outcomes[steady].series.loads[0] = 100 // so that the peaks compare well
			r.outcomes[cold].series.loads[0] = 1000
			for i := range 12 {
				r.outcomes[hearth].series.loads[350+i] = 13
			}
		}, []string{"in phase mirror, it had 1.30 times the loads of the same 120 requests"}},
		{"a higher peak", func(r *report) {
			for i := range 740 {
				r.outcomes[hearth].series.loads[i] = 20
			}
		}, []string{"the source had 2.00 times its usual peak", "at the worst moment, in phase old, it had 2.00 times"}},
		{"too few requests", func(r *report) { r.unclear = errors.New("9 loads in the shortest phase") }, []string{"9 loads"}},
		{"nothing compared", func(r *report) { r.outcomes[hearth].series.loads = nil }, []string{"at the worst moment"}},
		{"nothing to avoid", func(r *report) {
			for i := range 740 {
				r.outcomes[cold].series.loads[i] = 49
			}
		}, []string{"the cold swap cost it 4.9 times"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := kept()
			c.spoil(r)
			var missed []string
			for _, p := range r.promises() {
				if !p.kept {
					missed = append(missed, p.says)
				}
			}
			for i, says := range c.says {
				if len(missed) != len(c.says) || !strings.Contains(missed[i], says) {
					t.Fatalf("not kept: %q, want those that say %q", missed, c.says)
				}
			}
		})
	}
}

func TestPromises_OfATraceNothingIsAskedOfTheColdSwap(t *testing.T) {
	r := kept()
	r.options.trace, r.outcomes[cold].series.loads = "web.keys.gz", slices.Repeat([]int64{11}, 740)
	for _, p := range r.promises() {
		if !p.kept {
			t.Error(p.says)
		}
	}
}
