package main

import (
	"math"
	"slices"
	"testing"
)

func TestNewWorkload_IsTheSameForTheSameSeed(t *testing.T) {
	with := func(seed uint64) *workload {
		w, err := newWorkload(options{seed: seed, keys: 1000, skew: 0.8, requests: 5000})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	a, b, c := with(1), with(1), with(2)
	if !slices.Equal(a.reads, b.reads) || !slices.Equal(a.changes, b.changes) || !slices.Equal(a.names, b.names) {
		t.Error("the same seed made different requests")
	}
	if slices.Equal(a.reads, c.reads) || slices.Equal(a.changes, c.changes) {
		t.Error("another seed made the same requests")
	}
}

func TestZipf_TheKthKeyIsDrawnAsOftenAsItShould(t *testing.T) {
	const keys, n, skew = 50, 200_000, 0.9
	drawn := make([]float64, keys)
	for _, k := range zipf(1, keys, skew, n) {
		drawn[k]++
	}
	sum := 0.0
	for k := range drawn {
		sum += math.Pow(float64(k+1), -skew)
	}
	for k, got := range drawn {
		want := n * math.Pow(float64(k+1), -skew) / sum
		if math.Abs(got-want) > 6*math.Sqrt(want) {
			t.Errorf("key %d was drawn %.0f times, want about %.0f", k, got, want)
		}
	}
}

func TestDerive_ChangesAsManyAsItSaysAndOnlyWhatWasAskedFor(t *testing.T) {
	w := workloadOf(1, zipf(1, 5000, 0.8, 100_000))
	var saves, edits, deletes float64
	asked := map[uint32]bool{}
	for i, c := range w.changes {
		asked[w.reads[i]] = true
		if c.kind != noChange && !asked[c.record] {
			t.Fatalf("request %d changes a record that nobody has asked for", i)
		}
		switch {
		case c.kind == remove:
			deletes++
		case c.kind == update && c.record == w.reads[i]:
			saves++
		case c.kind == update:
			edits++
		}
	}
	perMille := 1000 / float64(len(w.changes))
	for _, c := range []struct {
		name      string
		got, want float64
	}{{"saved", saves, savePerMille}, {"edited", edits, editPerMille}, {"deleted", deletes, deletePerMille}} {
		if got := c.got * perMille; math.Abs(got-c.want) > 0.1*c.want+0.5 {
			t.Errorf("%.1f in a thousand %s, want %.0f", got, c.name, c.want)
		}
	}
}
