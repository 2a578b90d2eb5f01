package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// installed reports whether the real servers are here; they have to be where everything is
// tested.
func installed(t *testing.T) bool {
	t.Helper()
	srv, err := servers.StartRedis(servers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	_, err = exec.LookPath("memcached")
	return err == nil && srv.Kind() == servers.Real
}

// last is the last line of out.
func last(t *testing.T, out string) map[string]any {
	t.Helper()
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	var m map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &m); err != nil {
		t.Fatalf("the last line is no JSON: %v: %s", err, out)
	}
	return m
}

func TestRun_EndsWithOneLineOfJSON(t *testing.T) {
	kind := servers.Embedded
	if installed(t) {
		kind = servers.Real
	}
	for _, scenario := range scenarioNames {
		t.Run(scenario, func(t *testing.T) {
			// Of loads that few requests make, a busy machine may make others: what depends on loads
			// alone has three tries.
			var out, errs bytes.Buffer
			args := []string{"-json", "-requests", "10000", "-rate", "20000", "-budget", "10m", "-scenario", scenario}
			for try := 1; ; try++ {
				out.Reset()
				errs.Reset()
				code := run(t.Context(), args, &out, &errs)
				if code == 0 {
					break
				}
				if m := last(t, out.String()); try == 3 || m["stale_reads"] != 0.0 || m["wrong_reads"] != 0.0 || m["failed_requests"] != 0.0 {
					t.Fatalf("exit code %d at try %d: %s", code, try, &errs)
				}
			}
			if n := strings.Count(out.String(), "\n"); n != 1 {
				t.Errorf("%d lines on standard output, want the JSON alone: %s", n, &out)
			}
			m := last(t, out.String())
			if m["servers"] != kind || m["requests"] != 10000.0 || m["seed"] != 1.0 {
				t.Errorf("servers, requests or seed are wrong: %v", m)
			}
			if m["stale_reads"] != 0.0 || m["wrong_reads"] != 0.0 || m["failed_requests"] != 0.0 {
				t.Errorf("stale, wrong or failed: %v\n%s", m, &errs)
			}
			if ratio := number(t, m, "hearth_worst_window_ratio"); ratio > mostThroughHearth || ratio < 0.5 {
				t.Errorf("the worst window has %v times its usual loads", ratio)
			}
			if n := number(t, m, "loads_per_window"); n < leastLoads {
				t.Errorf("%v loads in a window say nothing", n)
			}
			if phases, _ := m["phases"].([]any); len(phases) != len(walk) {
				t.Errorf("phases are %v, want all %d", m["phases"], len(walk))
			}
			if number(t, m, "duration_s") <= 0 || number(t, m, "copied") < 50 {
				t.Errorf("no time passed, or hardly anything was copied: %v", m)
			}
			for _, says := range []string{"Loads from the source", "through hearth", "stale reads", kind + " servers", "seed 1"} {
				if !strings.Contains(errs.String(), says) {
					t.Errorf("%q is not in what people read:\n%s", says, &errs)
				}
			}
		})
	}
}

func number(t *testing.T, m map[string]any, name string) float64 {
	t.Helper()
	v, ok := m[name].(float64)
	if !ok {
		t.Errorf("%s is missing in %v", name, m)
	}
	return v
}

// deaf is a store that loses deletes.
type deaf struct{ backends.Store }

func (deaf) Delete(context.Context, string) error { return nil }

func TestMigrate_SeesAStoreThatLosesDeletes(t *testing.T) {
	o := small(t)
	o.wrap = func(s backends.Store) backends.Store { return deaf{s} }
	var out bytes.Buffer
	r, err := migrate(t.Context(), o, &out)
	if err != nil {
		t.Fatal(err)
	}
	if p := r.promises()[0]; r.stale() == 0 || p.kept {
		t.Errorf("no stale read was seen: the check sees nothing: %s", p.says)
	}
	r.print(&out)
	if !strings.Contains(out.String(), "✗") {
		t.Errorf("the report does not say that a promise was broken:\n%s", &out)
	}
}

// small returns options of a run that is too short for its loads to be compared.
func small(t *testing.T, args ...string) options {
	t.Helper()
	o, err := parseOptions(append([]string{"-embedded", "-rate", "20000", "-budget", "10m"}, args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	o.requests = 2000
	return o
}

func TestMigrate_WalksOverStandIns(t *testing.T) {
	var out bytes.Buffer
	r, err := migrate(t.Context(), small(t), &out)
	if err != nil {
		t.Fatal(err)
	}
	if r.kind() != servers.Embedded || len(r.phases()) != len(walk) || r.stale()+r.wrong()+r.failed() != 0 {
		t.Errorf("%s servers, %d phases, %d stale, %d wrong, %d failed", r.kind(), len(r.phases()), r.stale(), r.wrong(), r.failed())
	}
	r.print(&out)
	if !strings.Contains(out.String(), "✗ 1,998 requests, ") {
		t.Errorf("nothing says that these are too few requests to compare:\n%s", &out)
	}
}

func TestMigrate_ReplaysATrace(t *testing.T) {
	o := small(t, "-trace", writeTrace(t, zipf(3, 500, 0.8, 2000), 32))
	r, err := migrate(t.Context(), o, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	m := r.line()
	if m.Requests != 2000 || m.Trace != o.trace || m.Stale != 0 {
		t.Errorf("got %+v", m)
	}
	if m.Measured > 1200 || m.Measured < 1190 {
		t.Errorf("%v requests were measured, want what the warm-up of two fifths leaves", m.Measured)
	}
}

func TestMigrate_SendsFewerRequestsWhereTimeIsShort(t *testing.T) {
	o := small(t, "-rate", "1000", "-budget", "1s")
	var out bytes.Buffer
	r, err := migrate(t.Context(), o, &out)
	if err != nil {
		t.Fatal(err)
	}
	if r.requests < 1 || r.requests > 1600 { // fewer than 1000 where the machine could not send that many
		t.Errorf("%v requests were sent, want little more than half of 2000", r.requests)
	}
	if len(r.phases()) != len(walk) {
		t.Errorf("phases are missing, there were %v", r.phases())
	}
	r.print(&out)
	if !strings.Contains(out.String(), "-budget") {
		t.Errorf("nobody is told that there were fewer:\n%s", &out)
	}
}

func TestRun_EndsWhenInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"-embedded", "-rate", "1000"}, &out, &errs); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

func TestRun_SaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"help", []string{"-h"}, 0, "usage: migrate"},
		{"an argument", []string{"web12.keys.gz"}, 2, "-trace web12.keys.gz"},
		{"an unknown flag", []string{"-speed"}, 2, "-speed"},
		{"an unknown scenario", []string{"-scenario", "mysql-redis"}, 2, "memcached-redis, redis-memcached, resize"},
		{"a width without trace", []string{"-width", "32"}, 2, "without -trace"},
		{"an odd width", []string{"-width", "48", "-trace", "x"}, 2, "32 or 64"},
		{"too few requests", []string{"-requests", "9999"}, 2, "at least 10000"},
		{"no workers", []string{"-workers", "0"}, 2, "-workers"},
		{"a trace that is not there", []string{"-trace", "nowhere.gz"}, 1, "nowhere.gz"},
		{"a trace that is none", []string{"-trace", "migrate_test.go"}, 1, "a trace is a gzip file"},
		{"a short trace", []string{"-trace", writeTrace(t, zipf(1, 10, 1, 20), 64)}, 1, "too few"},
		{"nothing to avoid", []string{"-embedded", "-rate", "40000", "-requests", "10000", "-keys", "20"}, 1, "not kept: the cold swap cost it "},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(t.Context(), c.args, &out, &errs); code != c.code || !strings.Contains(errs.String(), c.says) {
				t.Errorf("exit code %d, want %d, and %q in: %s", code, c.code, c.says, &errs)
			}
		})
	}
}
