package main

import (
	"context"
	"fmt"

	"github.com/hearthcache/hearth/fallback"
)

// leg is a phase on the way through hearth.
type leg struct {
	phase fallback.Phase
	short string // for the chart
	parts int    // of the way, in proportion to the others
}

// walk is the way through the phases, in one run: up, all the way down again, and up for good.
var walk = []leg{
	{fallback.PhaseOld, "old", 4},
	{fallback.PhaseMirror, "mirror", 7},
	{fallback.Ramp(25), "25%", 4},
	{fallback.Ramp(50), "50%", 4},
	{fallback.Ramp(75), "75%", 4},
	{fallback.PhaseNew, "new", 5},
	{fallback.Ramp(50), "50%", 4},
	{fallback.PhaseMirror, "mirror", 7},
	{fallback.PhaseOld, "old", 4},
	{fallback.PhaseMirror, "mirror", 7},
	{fallback.Ramp(25), "25%", 4},
	{fallback.Ramp(50), "50%", 4},
	{fallback.Ramp(75), "75%", 4},
	{fallback.PhaseNew, "new", 5},
	{fallback.PhaseRetire, "retire", 7},
}

// shortestLeg is the share of the way that the shortest leg is.
func shortestLeg() float64 {
	whole, least := 0, walk[0].parts
	for _, l := range walk {
		whole += l.parts
		least = min(least, l.parts)
	}
	return float64(least) / float64(whole)
}

// legs is the walk as steps of a replay; its first leg is in force from the beginning. In
// PhaseRetire old is not read any more, so on the last leg before it new is given what only old
// has, and Retire waits for that.
func (s *single) legs() []step {
	whole := 0
	for _, l := range walk {
		whole += l.parts
	}
	var steps []step
	passed := walk[0].parts
	for i, l := range walk[1:] {
		before := l.phase == fallback.PhaseNew && walk[i+2].phase == fallback.PhaseRetire
		do := func(ctx context.Context) error {
			if l.phase == fallback.PhaseRetire {
				if err := s.drain.wait(); err != nil {
					return fmt.Errorf("copy what only the old server has: %w", err)
				}
			}
			s.before = s.migration.Progress()
			if err := s.migration.SetPhase(l.phase); err != nil {
				return err
			}
			if before {
				s.drain.begin(ctx, s.migration, s.site)
			}
			return nil
		}
		steps = append(steps, step{share: float64(passed) / float64(whole), name: l.short, do: do})
		passed += l.parts
	}
	return steps
}
