//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program builds the command: it starts itself once for each process.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "coherence")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// measured runs it over one Redis.
func measured(t *testing.T, path string, args ...string) (f figures, people string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, append([]string{"-quick", "-json", "-only", "redis"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		t.Fatalf("standard output is no JSON: %v\n%s", err, &errs)
	}
	return f, errs.String(), cmd.ProcessState.ExitCode()
}

func TestCoherence_HearsAndShowsWhoDoesNot(t *testing.T) {
	path := program(t)
	deaf, _, code := measured(t, path, "-deaf")
	if code != 1 || deaf.StaleOver50["redis"] == 0 || len(deaf.Broken) == 0 {
		t.Errorf("exit code %d: processes that hear nothing were not seen to be stale: %+v", code, deaf)
	}
	// What the machine takes from the processes is taken off, but not all of it can be: three tries.
	for try := 1; ; try++ {
		f, people, code := measured(t, path)
		if code == 0 {
			for _, name := range []string{"redis", "redis_reset", "redis_recovered"} {
				if f.Reads[name] == 0 || f.L1[name] == 0 || f.StaleOver50[name] != 0 {
					t.Errorf("%s: %d reads, %d by L1, %d stale", name, f.Reads[name], f.L1[name], f.StaleOver50[name])
				}
			}
			if !strings.Contains(people, "redis_black_hole") {
				t.Errorf("people are told nothing:\n%s", people)
			}
			return
		}
		if try == 3 {
			t.Fatalf("exit code %d at every try: %v\n%s", code, f.Broken, people)
		}
	}
}

func TestBroken_NamesWhatWasNotKept(t *testing.T) {
	good := func() *report {
		r := newReport()
		r.name("redis", tolerance)
		r.name("hole", time.Second)
		for _, name := range r.names {
			*r.tallies[name] = tally{Reads: 100, L1: 90, Writes: 10}
		}
		return r
	}
	if b := good().broken(); len(b) != 0 {
		t.Fatalf("nothing is wrong, and it says %v", b)
	}
	for name, row := range map[string]struct {
		spoil func(r *report)
		want  string
	}{
		"stale":             {func(r *report) { r.tallies["redis"].Over = 1 }, "redis: 1 reads stale"},
		"beyond the bound":  {func(r *report) { r.tallies["hole"].Max = 2 * time.Second }, "hole: stale by 2s"},
		"no L1":             {func(r *report) { r.tallies["redis"].L1 = 9 }, "L1 answered 9 of 100"},
		"nothing written":   {func(r *report) { r.tallies["hole"].Writes = 0 }, "prove nothing"},
		"lost without loss": {func(r *report) { r.tallies["redis"].Lost = 1 }, "lose nothing"},
		"not noticed":       {func(r *report) { r.notes = []string{"not noticed"} }, "not noticed"},
	} {
		r := good()
		row.spoil(r)
		if b := strings.Join(r.broken(), "; "); !strings.Contains(b, row.want) {
			t.Errorf("%s: %q, want %q", name, b, row.want)
		}
	}
}
