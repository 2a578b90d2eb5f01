package main

import (
	"slices"
	"testing"
)

func TestWindows_OverlapAndMissNothing(t *testing.T) {
	s := series{grain: 10, loads: []int64{1, 2, 3, 9, 9, 1}}
	var got []int64
	for _, w := range s.windows(2) {
		got = append(got, w.loads)
		if w.requests != 20 {
			t.Errorf("a window of %d requests, want 20", w.requests)
		}
	}
	if want := []int64{3, 5, 12, 18, 10}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := peak(s.windows(2), 100); got != 90 {
		t.Errorf("peak is %v loads/s, want 18 in 20 requests at 100/s = 90", got)
	}
}

func TestWindowWidth_HasEnoughLoadsForChanceToBeSmall(t *testing.T) {
	s := series{grain: 100, loads: slices.Repeat([]int64{10}, 600)}
	if got := s.windowWidth(); got != loadsAWindow/10 {
		t.Errorf("width is %d pieces of 10 loads, want %d loads", got, loadsAWindow)
	}
	few := series{grain: 100, loads: slices.Repeat([]int64{1}, 600)}
	if got := few.windowWidth(); got != 200 {
		t.Errorf("width is %d of 600 pieces, want at most a third", got)
	}
	if got := (series{grain: 1, loads: make([]int64, 9)}).windowWidth(); got != 3 {
		t.Errorf("without loads the width is %d, want a third", got)
	}
}

func TestWorstRatio_ComparesWindowsOfTheSameRequests(t *testing.T) {
	base := []window{{10, 10}, {10, 40}, {10, 10}}
	if got := worstRatio([]window{{10, 10}, {10, 40}, {10, 30}}, base); got != 3 {
		t.Errorf("got %v, want 3: the third window against its own", got)
	}
	if got := worstRatio([]window{{10, 20}}, base); got != 2 {
		t.Errorf("a run that ended early: got %v, want 2", got)
	}
}
