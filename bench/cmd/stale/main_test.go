package main

import (
	"strings"
	"testing"

	"github.com/hearthcache/hearth/internal/servers"
)

// good is the report of a run in which everything was seen.
func good() report {
	r := report{Servers: map[string]serverReport{}, scenarios: scenarios}
	for _, server := range []string{"redis", "memcached"} {
		s := serverReport{Kind: servers.Real, Scenarios: map[string]outcome{}, Removed: map[string]outcome{}}
		for _, sc := range scenarios {
			s.Scenarios[sc.name] = outcome{Reads: million, L1: 1}
			for _, f := range sc.without {
				s.Removed[f.String()] = outcome{Stale: 1}
			}
		}
		r.Servers[server] = s
	}
	return r
}

func TestWrong_NamesWhatWasNotSeen(t *testing.T) {
	if err := good().wrong(false); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		spoil func(r *report)
		want  string
	}{
		"stale":        {func(r *report) { r.StaleHits = 1 }, "1 stale"},
		"invented":     {func(r *report) { r.Invented = 1 }, "nobody wrote"},
		"no scenario":  {func(r *report) { delete(r.Servers["redis"].Scenarios, remote) }, `"remote"`},
		"fence unseen": {func(r *report) { r.Servers["redis"].Removed["lease"] = outcome{} }, `"lease"`},
		"fence unrun":  {func(r *report) { delete(r.Servers["redis"].Removed, "lease") }, `"lease"`},
		"embedded": {func(r *report) {
			s := r.Servers["redis"]
			s.Kind = servers.Embedded
			r.Servers["redis"] = s
		}, "embedded"},
		"few reads": {func(r *report) {
			for name := range r.Servers["redis"].Scenarios {
				r.Servers["redis"].Scenarios[name] = outcome{Reads: 1, L1: 1}
			}
		}, "want a million"},
		"no L1": {func(r *report) {
			for name := range r.Servers["redis"].Scenarios {
				r.Servers["redis"].Scenarios[name] = outcome{Reads: million}
			}
		}, "L1 answered no read"},
	} {
		r := good()
		row.spoil(&r)
		if err := r.wrong(false); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %s", name, err, row.want)
		}
	}
}
