package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/cmd/hearth/internal/bulk"
	"github.com/hearthcache/hearth/fallback"
)

// join starts a process of a fleet and returns its store; it reports until the test ends. Its clock
// is off by so much.
func join(t *testing.T, record, key, name string, off time.Duration) *fallback.Store {
	t.Helper()
	store, closeStore, err := bulk.OpenStore(record)
	if err != nil {
		t.Fatal(err)
	}
	s, err := fallback.New(fallback.Config{
		New: fallback.Member{Store: memory.New(memory.Config{})},
		Old: []fallback.Member{{Store: memory.New(memory.Config{})}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := fallback.NewFleet(s, fallback.FleetConfig{
		Store: store, Key: key, Process: name, Heartbeat: 50 * time.Millisecond,
		DeadAfter: 2 * time.Second, Now: func() time.Time { return time.Now().Add(off) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.Join(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		closeStore()
	})
	return s
}

func TestPhase_MovesTheFleetAndSaysWhereItIs(t *testing.T) {
	_, redisURL := startRedis(t)
	_, memcachedURL := startMemcached(t)
	for _, record := range []string{redisURL, memcachedURL} {
		if code, stdout, stderr := hearth(t, "phase", "init", "--record", record, "--name", "orders"); code != exitOK || !strings.Contains(stdout, "phase   old") {
			t.Fatalf("%d, %s, %s", code, stdout, stderr)
		}
		if code, _, stderr := hearth(t, "phase", "init", "--record", record, "--name", "orders", "mirror"); code != exitFailed || !strings.Contains(stderr, "already") {
			t.Fatalf("%d, %s", code, stderr)
		}
		one, two := join(t, record, "orders", "web-1", 0), join(t, record, "orders", "web-2", 0)
		for _, phase := range []string{"mirror", "ramp 12.5%", "new", "mirror", "old"} {
			code, stdout, stderr := hearth(t, "phase", "set", "--record", record, "--name", "orders", phase)
			if code != exitOK || !strings.Contains(stdout, "phase   "+phase) {
				t.Fatalf("%s: %d, %s, %s", phase, code, stdout, stderr)
			}
			if one.Phase().String() != phase || two.Phase().String() != phase {
				t.Errorf("processes are in %v and %v, not %s", one.Phase(), two.Phase(), phase)
			}
		}
		code, stdout, _ := hearth(t, "phase", "get", "--record", record, "--name", "orders", "--json")
		var r fallback.Record
		if err := json.Unmarshal([]byte(stdout), &r); code != exitOK || err != nil || len(r.Processes) != 2 {
			t.Errorf("%d, %v, %s", code, err, stdout)
		}
	}
}

func TestPhase_NamesTheProcessItWaitsFor(t *testing.T) {
	_, record := startRedis(t)
	join(t, record, "orders", "web-1", -time.Hour)
	store, closeStore, err := bulk.OpenStore(record)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore()
	// A process that has stopped doing anything but is not yet taken for gone.
	// It is put in by compare-and-swap, since web-1 reports all the while.
	_, err = backends.Update(t.Context(), store, "orders", func(old []byte, _ bool) ([]byte, error) {
		var r fallback.Record
		if err := json.Unmarshal(old, &r); err != nil {
			return nil, err
		}
		r.Processes["web-2"] = fallback.Process{Seen: time.Now().Add(time.Hour), Busy: 3, Owed: 1}
		return json.Marshal(r)
	}, backends.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The clock of one is an hour behind, that of the other an hour ahead.
	code, stdout, _ := hearth(t, "phase", "get", "--record", record, "--name", "orders", "--watch", "6s", "--dead-after", "6s")
	if code != exitOK || !strings.Contains(stdout, "3 calls that began before are running, owes 1 invalidations, gone: no report in 6s") ||
		strings.Count(stdout, "gone") != 1 {
		t.Errorf("%d, %s", code, stdout)
	}
	code, stdout, _ = hearth(t, "phase", "get", "--record", record, "--name", "orders", "--watch", "2s", "--json")
	var seen phaseReport
	if err := json.Unmarshal([]byte(stdout), &seen); code != exitOK || err != nil || !slices.Equal(seen.Silent, []string{"web-2"}) || seen.Gone != nil {
		t.Errorf("not gone yet: %d, %v, %s", code, err, stdout)
	}
	code, stdout, stderr := hearth(t, "phase", "set", "--record", record, "--name", "orders", "--json", "--wait", "2s", "new")
	var got phaseReport
	if err := json.Unmarshal([]byte(stdout), &got); code != exitFailed || err != nil || got.Phase > fallback.PhaseMirror ||
		!slices.Equal(got.Waiting, []string{"web-2"}) || got.Error == "" {
		t.Errorf("%d, %v, %s", code, err, stdout)
	}
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	for _, text := range lines {
		var line waitLine
		if err := json.Unmarshal([]byte(text), &line); err != nil || line.To != fallback.PhaseNew || !slices.Contains(line.Waiting, "web-2") {
			t.Errorf("%v in %q", err, text)
		}
	}
	if len(lines) < 2 {
		t.Errorf("it has waited without a word: %q", stderr)
	}
	code, _, stderr = hearth(t, "phase", "set", "--record", record, "--name", "orders", "--wait", "3s", "new")
	if code != exitFailed || !strings.Contains(stderr, "web-2") {
		t.Errorf("%d, %s", code, stderr)
	}
	if code, stdout, stderr := hearth(t, "phase", "forget", "--record", record, "--name", "orders", "web-2"); code != exitOK || strings.Contains(stdout, "web-2") {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
	if code, _, stderr := hearth(t, "phase", "set", "--record", record, "--name", "orders", "new"); code != exitOK {
		t.Errorf("%d, %s", code, stderr)
	}
}

func TestPhase_ARecordThatWentAwayIsNoFleetThatIsNotReady(t *testing.T) {
	c, record := startRedis(t)
	seen, _ := json.Marshal(fallback.Record{Processes: map[string]fallback.Process{"web-1": {Seen: time.Now(), Busy: 1}}})
	if err := c.Set(t.Context(), "orders", seen, 0).Err(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // the server goes when the command has begun to wait
		defer close(done)
		for !strings.Contains(c.Get(t.Context(), "orders").Val(), `"target": "new"`) && t.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
		c.ShutdownNoSave(t.Context())
	}()
	code, _, stderr := hearth(t, "phase", "set", "--record", record, "--name", "orders", "--wait", "3s", "new")
	<-done
	if code != exitConnect || !strings.Contains(stderr, "cannot reach "+record) {
		t.Errorf("%d, %s", code, stderr)
	}
}

// A record that was made under a mistyped name has nobody to move.
func TestPhase_NobodyIsMovedUnlessThatIsSaid(t *testing.T) {
	_, record := startRedis(t)
	at := []string{"--record", record, "--name", "odrers"}
	phase := func(command string, args ...string) (int, string, string) {
		return hearth(t, append(append([]string{"phase", command}, at...), args...)...)
	}
	if code, _, stderr := phase("init"); code != exitOK {
		t.Fatal(stderr)
	}
	code, stdout, stderr := phase("set", "new")
	if code != exitFailed || stdout != "" || !strings.Contains(stderr, "no process has joined") || !strings.Contains(stderr, "--empty") {
		t.Errorf("%d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, _ := phase("set", "--json", "new"); code != exitFailed || !strings.Contains(stdout, "no process has joined") {
		t.Errorf("%d, %q", code, stdout)
	}
	if _, stdout, _ := phase("get"); !strings.Contains(stdout, "phase   old") {
		t.Errorf("it was moved: %q", stdout)
	}
	if code, stdout, stderr := phase("set", "--empty", "new"); code != exitOK || !strings.Contains(stdout, "phase   new") {
		t.Errorf("%d, %q, %q", code, stdout, stderr)
	}
	if code, _, stderr := phase("forget", "web-1"); code != exitFailed || !strings.Contains(stderr, "web-1") {
		t.Errorf("%d, %q", code, stderr)
	}
}

func TestPhase_NoAnswerInTimeIsNoFleetThatIsNotReady(t *testing.T) {
	r := &record{url: "redis://h"}
	for err, want := range map[error]int{
		fmt.Errorf("read the fleet record: %w", context.DeadlineExceeded): exitConnect,
		&fallback.WaitError{To: fallback.PhaseNew}:                        exitFailed,
		fallback.ErrOvertaken:                                             exitFailed,
	} {
		if e, ok := errors.AsType[*exitError](r.failed(err)); !ok || e.code != want {
			t.Errorf("%v: %+v, want code %d", err, e, want)
		}
	}
}
