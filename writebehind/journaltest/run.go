package journaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
)

// Run holds a journal to its contract. open opens the journal that the case before it in the
// same subtest has closed, if any; the storage is empty at the first call of a subtest, for
// which open gets that subtest's t. A [writebehind.Shared] journal is opened as an owner of
// every key.
func Run(t *testing.T, open func(t *testing.T) writebehind.Journal) {
	for _, c := range []struct {
		name string
		why  string
		run  func(t *testing.T, open func() writebehind.Journal)
	}{
		{"Empty", "a new journal has nothing to replay", testEmpty},
		{"Fields", "a record comes back as it was put, whatever is in it", testFields},
		{"Reopen", "what was confirmed is there after the next start", testReopen},
		{"Order", "the sequence of a key follows the order of the writes", testOrder},
		{"SequenceGrows", "a sequence is never given twice, or a sink would ignore the newer write", testSequenceGrows},
		{"RemoveBySequence", "removing an applied record must not take a newer one with it", testRemove},
		{"RemoveAbsent", "after a crash somebody may have been quicker", testRemoveAbsent},
		{"DeadLetters", "a dead letter is kept, and can be brought back", testDead},
		{"ParkAndRemove", "a letter that is void at once is not kept", testParkAndRemove},
		{"ReplaceRemoved", "a record that was applied must not come back with a late redrive, over newer ones", testReplaceRemoved},
		{"CancelledCommit", "a refused commit leaves nothing behind", testCancelled},
		{"ReplayStops", "the caller's error ends a replay", testReplayStops},
		{"Concurrent", "commits of several goroutines do not lose each other's records", testConcurrent},
		{"Closed", "a closed journal says so", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Log(c.why)
			c.run(t, func() writebehind.Journal { return open(t) })
		})
	}
}

func testEmpty(t *testing.T, open func() writebehind.Journal) {
	j := open()
	defer j.Close()
	if got := records(t, j); len(got) != 0 {
		t.Errorf("replayed %v", got)
	}
	commit(t, j, &writebehind.Tx{})
}

func testFields(t *testing.T, open func() writebehind.Journal) {
	j := open()
	defer j.Close()
	now := time.Unix(1_700_000_000, 123_456_789)
	for _, r := range []writebehind.Record{
		{Key: "plain", Kind: writebehind.Set, Value: []byte("v")},
		{Key: "full", Kind: writebehind.Set, Value: []byte("v"), ID: writebehind.ID{1, 2, 15: 9}, Version: 1 << 63, Deadline: now.Add(time.Hour), Enqueued: now},
		{Key: "deleted", Kind: writebehind.Delete, Version: 7, Enqueued: now},
		{Key: "delta", Kind: writebehind.Delta, Value: []byte("+1"), Enqueued: now},
		{Key: "empty delta", Kind: writebehind.Delta, Value: []byte{}},
		{Key: "\x00\xff\r\n {}", Kind: writebehind.Set, Value: []byte{0, 0xff, '\r', '\n'}},
		{Key: string(bytes.Repeat([]byte("k"), 5000)), Kind: writebehind.Set, Value: bytes.Repeat([]byte{7}, 1<<20)},
	} {
		tx := &writebehind.Tx{Put: []writebehind.Record{r}}
		commit(t, j, tx)
		r.Seq = tx.Put[0].Seq
		got := records(t, j)
		if len(got) != 1 || !equal(got[0], r) {
			t.Errorf("%.20q: put %.200v, got %.200v", r.Key, r, got)
		}
		commit(t, j, &writebehind.Tx{Remove: []writebehind.Ref{{Key: r.Key, Seq: r.Seq}}})
	}
}

func testReopen(t *testing.T, open func() writebehind.Journal) {
	j := open()
	put(t, j, set("a", "1"), set("b", "2"))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open()
	defer j.Close()
	if got := values(t, j); fmt.Sprint(got) != "map[a:[1] b:[2]]" {
		t.Errorf("after reopening: %v", got)
	}
}

func testOrder(t *testing.T, open func() writebehind.Journal) {
	j := open()
	defer j.Close()
	recs := put(t, j, set("a", "1"), set("b", "1"), set("a", "2"))
	recs = append(recs, put(t, j, set("a", "3"))...)
	if a, b, c := recs[0].Seq, recs[2].Seq, recs[3].Seq; a == 0 || a >= b || b >= c {
		t.Errorf("sequences of one key: %d, %d, %d", a, b, c)
	}
	if got := values(t, j)["a"]; fmt.Sprint(got) != "[1 2 3]" {
		t.Errorf("replayed in the order %v", got)
	}
}

func testSequenceGrows(t *testing.T, open func() writebehind.Journal) {
	j := open()
	a := put(t, j, set("k", "1"))[0]
	commit(t, j, &writebehind.Tx{Remove: refs(a)})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open()
	defer j.Close()
	if c, ok := j.(writebehind.Counted); ok {
		if last, err := c.LastSeq(); last < a.Seq || err != nil {
			t.Errorf("last sequence %d, %v, after %d was given", last, err, a.Seq)
		}
	}
	if b := put(t, j, set("k", "2"))[0]; b.Seq <= a.Seq {
		t.Errorf("after a restart with nothing left: %d, before it %d", b.Seq, a.Seq)
	}
}

func testRemove(t *testing.T, open func() writebehind.Journal) {
	j := open()
	defer j.Close()
	old := put(t, j, set("k", "old"))
	put(t, j, set("k", "new"))
	commit(t, j, &writebehind.Tx{Remove: refs(old...)})
	if got := values(t, j)["k"]; fmt.Sprint(got) != "[new]" {
		t.Errorf("left: %v", got)
	}
}

func testRemoveAbsent(t *testing.T, open func() writebehind.Journal) {
	j := open()
	defer j.Close()
	r := put(t, j, set("k", "1"))[0]
	commit(t, j, &writebehind.Tx{Remove: refs(r)})
	commit(t, j, &writebehind.Tx{Remove: append(refs(r), writebehind.Ref{Key: "never", Seq: r.Seq + 1000})})
	if got := values(t, j); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func testDead(t *testing.T, open func() writebehind.Journal) {
	j := open()
	r := put(t, j, set("k", "bad"))[0]
	put(t, j, set("other", "1"))
	dead := r
	dead.Dead, dead.Died, dead.Attempts = "constraint", time.Unix(1_700_000_001, 0), 5
	commit(t, j, &writebehind.Tx{Put: []writebehind.Record{dead}})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open()
	defer j.Close()
	got := find(t, j, "k")
	if len(got) != 1 || got[0].Dead != "constraint" || got[0].Attempts != 5 || string(got[0].Value) != "bad" ||
		!got[0].Died.Equal(dead.Died) || got[0].ID != r.ID {
		t.Fatalf("the dead letter came back as %v", got)
	}
	back := got[0]
	back.Dead, back.Died, back.Attempts = "", time.Time{}, 0
	commit(t, j, &writebehind.Tx{Put: []writebehind.Record{back}})
	got = find(t, j, "k")
	if len(got) != 1 || got[0].Dead != "" || string(got[0].Value) != "bad" || got[0].Seq < r.Seq || got[0].ID != r.ID {
		t.Fatalf("after a redrive: %v", got)
	}
	dead.Seq = got[0].Seq
	commit(t, j, &writebehind.Tx{Put: []writebehind.Record{dead}})
	commit(t, j, &writebehind.Tx{Remove: refs(find(t, j, "k")...)})
	if got := find(t, j, "k"); len(got) != 0 {
		t.Errorf("a discarded letter is still there: %v", got)
	}
}

func testParkAndRemove(t *testing.T, open func() writebehind.Journal) {
	j := open()
	defer j.Close()
	r := put(t, j, set("k", "bad"))[0]
	r.Dead = "x"
	commit(t, j, &writebehind.Tx{Put: []writebehind.Record{r}, Remove: refs(r)})
	if got := find(t, j, "k"); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func testReplaceRemoved(t *testing.T, open func() writebehind.Journal) {
	j := open()
	defer j.Close()
	applied, parked := put(t, j, set("k", "applied"))[0], put(t, j, set("p", "parked"))[0]
	commit(t, j, &writebehind.Tx{Remove: refs(applied)})
	late := applied
	late.Dead = "late"
	commit(t, j, &writebehind.Tx{Put: []writebehind.Record{late}})
	commit(t, j, &writebehind.Tx{Put: []writebehind.Record{applied}})
	dead := parked
	dead.Dead = "x"
	commit(t, j, &writebehind.Tx{Put: []writebehind.Record{dead}})
	commit(t, j, &writebehind.Tx{Remove: refs(dead)})
	commit(t, j, &writebehind.Tx{Put: []writebehind.Record{parked}})
	if got := values(t, j); len(got) != 0 {
		t.Errorf("back: %v", got)
	}
}

func testCancelled(t *testing.T, open func() writebehind.Journal) {
	j := open()
	defer j.Close()
	r := put(t, j, set("k", "1"))[0]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Commit(ctx, &writebehind.Tx{Put: []writebehind.Record{set("k", "2")}, Remove: refs(r)}); err == nil {
		t.Error("a commit with a cancelled context succeeded")
	}
	if got := values(t, j)["k"]; fmt.Sprint(got) != "[1]" {
		t.Errorf("left: %v", got)
	}
}

func testReplayStops(t *testing.T, open func() writebehind.Journal) {
	j := open()
	defer j.Close()
	put(t, j, set("a", "1"), set("a", "2"))
	stop, n := errors.New("stop"), 0
	err := j.Replay(t.Context(), func(writebehind.Record) error { n++; return stop })
	if !errors.Is(err, stop) || n != 1 {
		t.Errorf("error %v after %d records", err, n)
	}
}

func testConcurrent(t *testing.T, open func() writebehind.Journal) {
	j := open()
	defer j.Close()
	const writers, each = 8, 20
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := range each {
				tx := &writebehind.Tx{Put: []writebehind.Record{set(fmt.Sprint("k", i), fmt.Sprint(n))}}
				if err := j.Commit(t.Context(), tx); err != nil {
					t.Error(err)
				}
				if n%2 == 1 {
					if err := j.Commit(t.Context(), &writebehind.Tx{Remove: refs(tx.Put...)}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	got := values(t, j)
	for i := range writers {
		if key := fmt.Sprint("k", i); fmt.Sprint(got[key]) != "[0 2 4 6 8 10 12 14 16 18]" {
			t.Errorf("%s: %v", key, got[key])
		}
	}
}

func testClosed(t *testing.T, open func() writebehind.Journal) {
	j := open()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := j.Commit(t.Context(), &writebehind.Tx{Put: []writebehind.Record{set("k", "v")}}); !errors.Is(err, tier.ErrClosed) {
		t.Errorf("Commit: %v", err)
	}
	if err := j.Replay(t.Context(), func(writebehind.Record) error { return nil }); !errors.Is(err, tier.ErrClosed) {
		t.Errorf("Replay: %v", err)
	}
}

func set(key, value string) writebehind.Record {
	return writebehind.Record{Key: key, Kind: writebehind.Set, Value: []byte(value), Enqueued: time.Unix(1_700_000_000, 0)}
}

func put(t *testing.T, j writebehind.Journal, recs ...writebehind.Record) []writebehind.Record {
	t.Helper()
	tx := &writebehind.Tx{Put: recs}
	commit(t, j, tx)
	return tx.Put
}

func commit(t *testing.T, j writebehind.Journal, tx *writebehind.Tx) {
	t.Helper()
	if err := j.Commit(t.Context(), tx); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

func refs(recs ...writebehind.Record) []writebehind.Ref {
	var out []writebehind.Ref
	for _, r := range recs {
		out = append(out, writebehind.Ref{Key: r.Key, Seq: r.Seq})
	}
	return out
}

func records(t *testing.T, j writebehind.Journal) (out []writebehind.Record) {
	t.Helper()
	if err := j.Replay(t.Context(), func(r writebehind.Record) error { out = append(out, r); return nil }); err != nil {
		t.Fatalf("replay: %v", err)
	}
	return out
}

func find(t *testing.T, j writebehind.Journal, key string) (out []writebehind.Record) {
	t.Helper()
	for _, r := range records(t, j) {
		if r.Key == key {
			out = append(out, r)
		}
	}
	return out
}

func values(t *testing.T, j writebehind.Journal) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, r := range records(t, j) {
		out[r.Key] = append(out[r.Key], string(r.Value))
	}
	return out
}

func equal(a, b writebehind.Record) bool {
	return a.Seq == b.Seq && a.ID == b.ID && a.Key == b.Key && a.Kind == b.Kind && bytes.Equal(a.Value, b.Value) &&
		a.Version == b.Version && a.Deadline.Equal(b.Deadline) && a.Enqueued.Equal(b.Enqueued) &&
		a.Attempts == b.Attempts && a.Dead == b.Dead && a.Died.Equal(b.Died)
}
