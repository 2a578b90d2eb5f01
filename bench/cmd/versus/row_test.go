package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

func quiet() *run { return &run{out: io.Discard, began: time.Now()} }

func TestAdd_JudgesGoalGuardAndWhatIsTolerated(t *testing.T) {
	for _, c := range []struct {
		name             string
		ratio            float64
		l                limit
		met, guarded, ok bool
	}{
		{"met", 0.9, atMost(1, 1.1), true, true, true},
		{"within the guard", 1.05, atMost(1, 1.1), false, true, true},
		{"beyond the guard", 1.2, atMost(1, 1.1), false, false, false},
		{"a known miss", 1.2, atMost(1, 1.1).tolerating(1.3), false, false, true},
		{"a known miss that got worse", 1.4, atMost(1, 1.1).tolerating(1.3), false, false, false},
		{"at least", 3, atLeast(4, 2), false, true, true},
	} {
		r := quiet()
		w := *r.add("bulk", "100 keys, decoded", "ns/op", c.ratio, 1, c.ratio, c.l)
		if *w.Met != c.met || *w.Guarded != c.guarded || w.ok() != c.ok {
			t.Errorf("%s: met %v guarded %v ok %v", c.name, *w.Met, *w.Guarded, w.ok())
		}
		if !c.met && !strings.Contains(w.Why, "not reached") {
			t.Errorf("%s: why %q", c.name, w.Why)
		}
	}
}

func TestReport_HasTheFieldsAndNullsWithoutAGoal(t *testing.T) {
	r := quiet()
	r.add("l1", "with", "ns/op", 1, 2, 0.5, atMost(1, 2))
	r.add("l1", "without", "ns/op", 1, 2, 0.5, shown)
	text, err := json.Marshal(r.report())
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Rows []map[string]any }
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"section", "row", "hearth", "peer", "ratio", "goal", "guard", "met"} {
		for _, w := range got.Rows {
			if _, there := w[field]; !there {
				t.Errorf("%v has no %s", w["row"], field)
			}
		}
	}
	if w := got.Rows[1]; w["goal"] != nil || w["guard"] != nil || w["met"] != nil {
		t.Error("without a goal:", w)
	}
	if got.Rows[0]["met"] != true {
		t.Error(got.Rows[0])
	}
}

func TestAll_AFailingSectionKeepsTheOthersAndItsOwnRows(t *testing.T) {
	r := quiet()
	r.all([]section{
		{"a", func(r *run) error { r.add("a", "one", "", 1, 1, 1, shown); return errors.New("refused") }},
		{"b", func(*run) error { panic("boom") }},
		{"c", func(r *run) error { r.add("c", "two", "", 1, 1, 1, shown); return nil }},
	}, false)
	if len(r.rows) != 4 || r.rows[1].Failed != "refused" || r.rows[2].Failed != "boom" || r.rows[3].Row != "two" {
		t.Errorf("%+v", r.rows)
	}
	if len(beyond(r.rows)) != 2 {
		t.Error("failures are not beyond:", beyond(r.rows))
	}
}

func TestAll_CheckMeasuresAgainTwiceAtMost(t *testing.T) {
	for _, c := range []struct {
		name         string
		good         int // the call that is within its guard
		calls, tries int
		beyond       int
	}{{"at once", 1, 1, 1, 0}, {"then", 2, 2, 2, 0}, {"never", 9, 3, 3, 1}} {
		r, calls := quiet(), 0
		r.all([]section{{"a", func(r *run) error {
			calls++
			ratio := 5.0
			if calls == c.good {
				ratio = 1
			}
			r.add("a", "x", "", ratio, 1, ratio, atMost(1, 2))
			return nil
		}}}, true)
		if calls != c.calls || len(r.rows) != 1 || r.rows[0].Tries != c.tries || len(beyond(r.rows)) != c.beyond {
			t.Errorf("%s: %d calls, %+v", c.name, calls, r.rows)
		}
	}
}

func TestWhy_SaysNothingOfThisRunsMachine(t *testing.T) {
	for _, r := range reasons {
		if strings.Contains(r.why, "was busy") {
			t.Error(r.why)
		}
	}
}

func TestUnmetAndChart_ShowMissesAndZeroGoals(t *testing.T) {
	r := quiet()
	r.add("bulk", "100 keys, decoded: x", "ns/op", 1.2, 1, 1.2, atMost(1, 1.1).tolerating(1.3))
	r.add("l1", "allocations", "allocs/op", 0, 0, 0, atMost(0, 0))
	r.add("memory", "below", "B", 1, 2, -1, atMost(32, 48))
	r.fail("redis", "the section", errors.New("refused"))
	var b strings.Builder
	unmet(func(format string, a ...any) { fmt.Fprintf(&b, format, a...) }, r.rows)
	for _, want := range []string{"100 keys", "known miss, up to 1.3 is tolerated", "refused"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in %s", want, b.String())
		}
	}
	if text := svg(r.rows); strings.Count(text, "<rect") != 3 || strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Error(text)
	}
}
