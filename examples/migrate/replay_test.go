package main

import "testing"

func TestCut_BringsTheStepsTogetherAndKeepsHalfOfTheRest(t *testing.T) {
	r := &replay{first: 100, pastAt: 100}
	r.end.Store(1100)
	at := func(i int, want float64) {
		t.Helper()
		if got := r.place(i); got < want-1e-9 || got > want+1e-9 {
			t.Errorf("after request %d %v of the way is past, want %v", i, got, want)
		}
	}
	at(600, 0.5)
	r.cut(600, 1100, 0)
	if got := r.end.Load(); got != 850 {
		t.Errorf("it ends after %d requests, want half of the other 500", got)
	}
	at(600, 0.5)
	at(725, 0.75)
	at(850, 1)
	r.cut(725, 1100, 0)
	if got := r.end.Load(); got != 850 {
		t.Errorf("cut again it ends after %d, want no less", got)
	}
	r.cut(725, 1100, 900)
	if got := r.end.Load(); got != 850 {
		t.Errorf("a cut made it longer: %d", got)
	}
	at(850, 1)

	warm := &replay{first: 100, pastAt: 100}
	warm.end.Store(1100)
	warm.cut(50, 1100, 0)
	if got := warm.end.Load(); got != 600 {
		t.Errorf("cut during the warm-up it ends after %d, want half of what is measured", got)
	}
}
