package main

import (
	"strings"
	"testing"

	"github.com/hearthcache/hearth/internal/servers"
)

// good is the report of a run in which everything was seen.
func good() report {
	r := report{Reads: million, Directions: map[string]direction{}, planned: runs(false)}
	for _, name := range directions {
		d := direction{Kind: servers.Real, Scenarios: map[string]outcome{}, Removed: map[string]outcome{}}
		for _, run := range r.planned {
			if run.Without != "" {
				d.Removed[rules[run.Without]] = outcome{Stale: 1}
				continue
			}
			d.Scenarios[run.Scenario] = outcome{Reads: 1, Hits: 1, Changes: 1, Windows: 1, WindowWrites: windowWrites, PeakLoad: mostLoad}
		}
		r.Directions[name] = d
	}
	return r
}

func TestWrong_NamesWhatWasNotSeen(t *testing.T) {
	if err := good().wrong(true); err != nil {
		t.Fatal(err)
	}
	const there = "memcached to redis"
	fleet := func(change func(o *outcome)) func(r *report) {
		return func(r *report) {
			o := r.Directions[there].Scenarios[inFleet]
			change(&o)
			r.Directions[there].Scenarios[inFleet] = o
		}
	}
	for _, c := range []struct {
		name    string
		spoil   func(r *report)
		want    string
		partial bool // it is wrong too if the run is not full
	}{
		{"stale", func(r *report) { r.StaleHits = 1 }, "1 stale reads", true},
		{"invented", func(r *report) { r.Invented = 1 }, "1 values that nobody wrote", true},
		{"few reads", func(r *report) { r.Reads = million - 1 }, "999999 reads", false},
		{"embedded", func(r *report) {
			d := r.Directions[there]
			d.Kind = servers.Embedded
			r.Directions[there] = d
		}, `the servers are "embedded"`, true},
		{"no direction", func(r *report) { delete(r.Directions, there) }, `no read, or no hit, in scenario "fleet"`, true},
		{"no scenario", func(r *report) { delete(r.Directions[there].Scenarios, mixed) }, `"mixed"`, true},
		{"no hit", fleet(func(o *outcome) { o.Hits = 0 }), `"fleet"`, true},
		{"order not seen", func(r *report) { r.Directions[there].Removed["order"] = outcome{} }, `"order"`, true},
		{"lease not run", func(r *report) { delete(r.Directions[there].Removed, "lease") }, `"lease"`, true},
		{"tombstone not run", func(r *report) { delete(r.Directions[there].Removed, "tombstone") }, `"tombstone"`, true},
		{"bars not run", func(r *report) { delete(r.Directions[there].Removed, "bars") }, `"bars"`, true},
		{"no phases", fleet(func(o *outcome) { o.Changes = 0 }), "never changed", true},
		{"too many loads", fleet(func(o *outcome) { o.PeakLoad = 1.4 }), "1.40 times its share of loads, at most 1.36 in windows of 1000", true},
		{"no window", fleet(func(o *outcome) { o.Windows, o.PeakLoad = 0, 0 }), "nothing is known of the source's load", false},
	} {
		r := good()
		c.spoil(&r)
		if err := r.wrong(true); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
		if err := r.wrong(false); (err != nil) != c.partial {
			t.Errorf("%s, in a run that is not full: %v", c.name, err)
		}
	}
}
