package main

import (
	"bytes"
	"context"
	"encoding/json"
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
	have := installed(t)
	for _, c := range []struct {
		name, kind string
		args       []string
	}{
		{"memcached to Redis", servers.Real, nil},
		{"memcached to Redis", servers.Embedded, []string{"-embedded"}},
		{"Redis to memcached", servers.Real, []string{"-scenario", "redis-memcached"}},
		{"resize", servers.Real, []string{"-scenario", "resize"}},
	} {
		if c.kind == servers.Real && !have {
			c.kind = servers.Embedded
		}
		t.Run(c.name+" "+c.kind, func(t *testing.T) {
			var out, errs bytes.Buffer
			args := append([]string{"-json", "-requests", "2000", "-rate", "20000", "-budget", "10m"}, c.args...)
			if code := run(t.Context(), args, &out, &errs); code != 0 {
				t.Fatalf("exit code %d: %s", code, &errs)
			}
			if n := strings.Count(out.String(), "\n"); n != 1 {
				t.Errorf("%d lines on standard output, want the JSON alone: %s", n, &out)
			}
			m := last(t, out.String())
			if m["servers"] != c.kind || m["requests"] != 2000.0 || m["seed"] != 1.0 {
				t.Errorf("servers, requests or seed are wrong: %v", m)
			}
			if m["stale_reads"] != 0.0 || m["wrong_reads"] != 0.0 || m["failed_requests"] != 0.0 {
				t.Errorf("stale, wrong or failed: %v\n%s", m, &errs)
			}
			steady, cold := number(t, m, "source_loads_steady_per_s"), number(t, m, "source_loads_peak_cold_swap_per_s")
			hearth := number(t, m, "source_loads_peak_hearth_per_s")
			if cold < 4*steady {
				t.Errorf("the cold swap cost the source %.0f loads/s against %.0f: there was nothing to avoid", cold, steady)
			}
			// A window of this short run has some hundred loads; the real run has 1,600.
			if hearth > 1.5*steady {
				t.Errorf("through hearth the source had %.0f loads/s against %.0f", hearth, steady)
			}
			if number(t, m, "duration_s") <= 0 || number(t, m, "copied") < 50 {
				t.Errorf("no time passed, or hardly anything was copied: %v", m)
			}
			for _, says := range []string{"Loads from the source", "through hearth", "stale reads", c.kind + " servers", "seed 1"} {
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
	o, err := parseOptions([]string{"-requests", "1000", "-rate", "20000", "-embedded"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.wrap = func(s backends.Store) backends.Store { return deaf{s} }
	var out bytes.Buffer
	r, err := migrate(t.Context(), o, &out)
	if err != nil {
		t.Fatal(err)
	}
	if r.stale() == 0 || !r.broken() {
		t.Error("no stale read was seen: the check sees nothing")
	}
	r.print(&out)
	if !strings.Contains(out.String(), "✗") {
		t.Errorf("the report does not say that a promise was broken:\n%s", &out)
	}
}

func TestRun_ReplaysATrace(t *testing.T) {
	keys := zipf(3, 500, 0.8, 2000)
	name := writeTrace(t, keys, 32)
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"-json", "-embedded", "-rate", "20000", "-budget", "10m", "-trace", name}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	m := last(t, out.String())
	if m["requests"] != 2000.0 || m["trace"] != name || m["stale_reads"] != 0.0 {
		t.Errorf("got %v", m)
	}
	if measured := number(t, m, "requests_measured"); measured > 1200 || measured < 1190 {
		t.Errorf("%v requests were measured, want what the warm-up of two fifths leaves", measured)
	}
}

func TestRun_SendsFewerRequestsWhereTimeIsShort(t *testing.T) {
	var out, errs bytes.Buffer
	args := []string{"-json", "-embedded", "-requests", "3000", "-rate", "1500", "-budget", "1s"}
	if code := run(t.Context(), args, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	m := last(t, out.String())
	if n := number(t, m, "requests"); n < 1500 || n > 2500 {
		t.Errorf("%v requests were sent, want about half of 3000", n)
	}
	if !strings.Contains(errs.String(), "-budget") {
		t.Errorf("nobody is told that there were fewer:\n%s", &errs)
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
		{"too few requests", []string{"-requests", "10"}, 2, "at least 1000"},
		{"no workers", []string{"-workers", "0"}, 2, "-workers"},
		{"a trace that is not there", []string{"-trace", "nowhere.gz"}, 1, "nowhere.gz"},
		{"a trace that is none", []string{"-trace", "migrate_test.go"}, 1, "a trace is a gzip file"},
		{"a short trace", []string{"-trace", writeTrace(t, zipf(1, 10, 1, 20), 64)}, 1, "too few"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(t.Context(), c.args, &out, &errs); code != c.code || !strings.Contains(errs.String(), c.says) {
				t.Errorf("exit code %d, want %d, and %q in: %s", code, c.code, c.says, &errs)
			}
		})
	}
}
