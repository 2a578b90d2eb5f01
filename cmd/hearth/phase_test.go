package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/cmd/hearth/internal/bulk"
	"github.com/hearthcache/hearth/fallback"
)

// join starts a process of a fleet and returns its store; it reports until the test ends.
func join(t *testing.T, record, key, name string) *fallback.Store {
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
	f, err := fallback.NewFleet(s, fallback.FleetConfig{Store: store, Key: key, Process: name, Heartbeat: 50 * time.Millisecond})
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
		one, two := join(t, record, "orders", "web-1"), join(t, record, "orders", "web-2")
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
	join(t, record, "orders", "web-1")
	store, closeStore, err := bulk.OpenStore(record)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore()
	// A process that has stopped doing anything but is not yet taken for gone.
	it, err := store.Get(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	var r fallback.Record
	if err := json.Unmarshal(it.Value, &r); err != nil {
		t.Fatal(err)
	}
	r.Processes["web-2"] = fallback.Process{Seen: time.Now().Add(time.Hour), Busy: 3, Owed: 1}
	text, _ := json.Marshal(r)
	if err := store.Set(t.Context(), "orders", backends.Item{Value: text}); err != nil {
		t.Fatal(err)
	}
	if code, stdout, _ := hearth(t, "phase", "get", "--record", record, "--name", "orders"); code != exitOK ||
		!strings.Contains(stdout, "3 calls that began before are running, owes 1 invalidations") {
		t.Errorf("%d, %s", code, stdout)
	}
	code, _, stderr := hearth(t, "phase", "set", "--record", record, "--name", "orders", "--wait", "3s", "new")
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
	code, _, stderr := hearth(t, "phase", "set", "--record", record, "--name", "orders", "new")
	<-done
	if code != exitConnect || !strings.Contains(stderr, "cannot reach "+record) {
		t.Errorf("%d, %s", code, stderr)
	}
}
