package bulk

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Between the reading and the writing of a value the service changes the record: it tells the
// source and then the target. Whatever the target holds afterwards must not be the old value.
func TestCopy_AFencedCopyDoesNotUndoAChange(t *testing.T) {
	for name, start := range map[string]func() server{
		"redis":     func() server { return startRedis(t) },
		"memcached": func() server { return startMemcached(t, 1) },
	} {
		for _, mode := range []Mode{Fenced, Add} {
			from, to := startMemcached(t, 1), start()
			from.set("changed", "old", 0, 0)
			from.set("deleted", "old", 0, 0)
			from.set("written", "old", 0, 0)
			from.set("quiet", "value", 3, 50*time.Second)
			a, b := openBoth(t, from.url(), to.url(), Options{})
			r := mustCopy(t, Job{From: a, To: b, Mode: mode, unfenced: func() {
				from.set("changed", "new", 0, 0)
				to.del("changed")
				from.del("deleted")
				to.del("deleted")
				from.set("written", "new", 0, 0)
				to.set("written", "new", 0, 0)
			}})
			stale := 0
			for _, k := range []string{"changed", "deleted", "written"} {
				if v, _, ttl := to.get(k); ttl >= 0 && v != "new" {
					stale++
				}
			}
			if v, _, ttl := to.get("quiet"); v != "value" || ttl < 48*time.Second || ttl > 51*time.Second {
				t.Errorf("%s: the others are copied: %q, %v", name, v, ttl)
			}
			switch {
			case mode == Fenced && stale > 0:
				t.Errorf("%s: %d stale values behind a fence", name, stale)
			case mode == Fenced && r.Fates[Changed] != 3:
				t.Errorf("%s: fates %v", name, r.Fates)
			case mode == Add && stale != 2:
				t.Errorf("%s: without the fence %d stale values, want 2: the test sees nothing", name, stale)
			}
		}
	}
}

// What a fenced copy does not fill it gives back, so that the service can fill it at once.
func TestCopy_AFencedCopyLeavesNoLeaseBehind(t *testing.T) {
	from, to := startRedis(t), startRedis(t)
	from.c.LPush(t.Context(), "list", "1")
	from.set("k", "v", 0, 0)
	a, b := openBoth(t, from.url(), to.url(), Options{})
	if r := mustCopy(t, Job{From: a, To: b, Mode: Fenced}); r.Fates[NotString] != 1 || r.Fates[Copied] != 1 {
		t.Errorf("fates %v", r.Fates)
	}
	if n := b.estimate(t.Context()); n != 1 {
		t.Errorf("%d keys in the target", n)
	}
}

// A run that was killed may have taken leases long after its last checkpoint: one is written only
// when whole batches are done. Whoever goes on waits until they have ended, or these keys would
// look as if the target held something.
func TestCopy_AKilledFencedCopyLosesNoKey(t *testing.T) {
	const n = 200
	for name, start := range map[string]func() server{
		"redis":     func() server { return startRedis(t) },
		"memcached": func() server { return startMemcached(t, 1) },
	} {
		from, to := startRedis(t), start()
		fill(t, from, n)
		a, b := openBoth(t, from.url(), to.url(), Options{})
		ctx, kill := context.WithCancel(t.Context())
		var once sync.Once
		var asKilled []byte
		j := Job{From: a, To: b, Mode: Fenced, StateFile: filepath.Join(t.TempDir(), "state"), Workers: 1, hold: time.Second}
		j.unfenced = func() { // leases are taken, and nothing is filled
			once.Do(func() {
				asKilled, _ = os.ReadFile(j.StateFile)
				kill()
			})
		}
		if r, err := Copy(ctx, j); err == nil || r.Complete {
			t.Fatal("the copy was not stopped")
		}
		if held := b.estimate(t.Context()); held == 0 {
			t.Fatalf("%s: no leases are left behind: the test sees nothing", name)
		}
		var s state
		if err := json.Unmarshal(asKilled, &s); err != nil {
			t.Fatal(err)
		}
		s.Saved = s.Saved.Add(-40 * time.Second) // a slow copy
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(j.StateFile, text, 0o600); err != nil {
			t.Fatal(err)
		}
		j.unfenced = nil
		r := mustCopy(t, j)
		lost := 0
		for i := range n {
			if v, _, _ := to.get(fmt.Sprint("key:", i)); v != fmt.Sprint("value ", i) {
				lost++
			}
		}
		if !r.Resumed || lost > 0 {
			t.Errorf("%s: %d keys are not there, fates %v", name, lost, r.Fates)
		}
	}
}
