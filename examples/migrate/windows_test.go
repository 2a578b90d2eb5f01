package main

import (
	"slices"
	"strings"
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

func TestWindowWidth_HasEnoughLoadsAndFitsIntoTheShortestPhase(t *testing.T) {
	for _, c := range []struct {
		name   string
		s      series
		want   int
		refuse string
	}{
		{"120 loads", series{grain: 100, loads: slices.Repeat([]int64{10}, 600)}, loadsAWindow / 10, ""},
		{"no more than the shortest phase", series{grain: 100, loads: slices.Repeat([]int64{2}, 600)}, int(shortestLeg() * 600), ""},
		{"too few loads in a phase", series{grain: 10, loads: slices.Repeat([]int64{1}, 600)}, int(shortestLeg() * 600), "6,000 requests, those of the warm-up aside, make 32 loads in the shortest phase"},
		{"no loads", series{grain: 1, loads: make([]int64, 600)}, int(shortestLeg() * 600), "make 0 loads in the shortest phase: it takes 50"},
	} {
		got, err := c.s.windowWidth()
		if got != c.want || (err != nil) != (c.refuse != "") || err != nil && !strings.Contains(err.Error(), c.refuse) {
			t.Errorf("%s: %d pieces, %v; want %d, %q", c.name, got, err, c.want, c.refuse)
		}
	}
}

func TestWorst_ComparesWindowsOfTheSameRequests(t *testing.T) {
	base := []window{{10, 10}, {10, 40}, {10, 10}}
	if got, at := worst([]window{{10, 10}, {10, 40}, {10, 30}}, base); got != 3 || at != 2 {
		t.Errorf("got %v at %d, want 3: the third window against its own", got, at)
	}
	if got, _ := worst([]window{{10, 20}}, base); got != 2 {
		t.Errorf("a run that ended early: got %v, want 2", got)
	}
}
