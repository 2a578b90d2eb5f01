package main

import (
	"testing"

	"github.com/hearthcache/hearth/fallback"
)

func TestWalk_GoesUpAndDownAndUpToTheEndInStepsThatGoTogether(t *testing.T) {
	if walk[0].phase != fallback.PhaseOld || walk[len(walk)-1].phase != fallback.PhaseRetire {
		t.Errorf("from %v to %v, want from old to retire", walk[0].phase, walk[len(walk)-1].phase)
	}
	var turns []fallback.Phase // where it changes its direction
	for i := 1; i < len(walk); i++ {
		from, to := walk[i-1].phase, walk[i].phase
		if !from.Compatible(to) || from == to {
			t.Errorf("%v and %v cannot follow one another in a fleet", from, to)
		}
		if i > 1 && (from > walk[i-2].phase) != (to > from) {
			turns = append(turns, from)
		}
	}
	if len(turns) != 2 || turns[0] != fallback.PhaseNew || turns[1] != fallback.PhaseOld {
		t.Errorf("it turns at %v, want once at new and once at old", turns)
	}
}

func TestLegs_HaveTheirShareOfTheWay(t *testing.T) {
	steps := new(single).legs()
	if len(steps) != len(walk)-1 {
		t.Fatalf("%d steps for %d phases", len(steps), len(walk))
	}
	for i, st := range steps {
		next := 1.0
		if i+1 < len(steps) {
			next = steps[i+1].share
		}
		if st.share <= 0 || next-st.share < shortestLeg()-1e-9 {
			t.Errorf("%s lasts from %v to %v, less than the shortest leg, %v", st.name, st.share, next, shortestLeg())
		}
	}
}
