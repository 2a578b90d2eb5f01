package writebehind_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/journaltest"
	"pgregory.net/rapid"
)

func TestJournal_AcceptedWritesAreReplayedBeforeServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.before = func(context.Context, []writebehind.Op[string]) error { return errDown }
		j := journaltest.NewMemory()
		w := newWriter(t, writebehind.Config[string]{Sink: s, Journal: j})
		enqueue(t, w, set("k", "1"), set("k", "2"), delta("d", "x"), delta("d", "y"), del("gone"))
		time.Sleep(time.Second)
		j2 := j.Reopen() // the process dies
		closeNow(t, w)

		s.fail(nil)
		w = newWriter(t, writebehind.Config[string]{Sink: s, Journal: j2})
		if m, ok := w.Pending("k"); !ok || m.Value != "2" {
			t.Errorf("pending %v right after the start", m)
		}
		if m, ok := w.Pending("gone"); !ok || !m.Delete {
			t.Errorf("pending delete: %v", m)
		}
		synctest.Wait()
		s.want(t) // the caches are not registered yet
		var reported []string
		w.OnApplied(func(_ context.Context, ms []tier.Mutation[string]) error {
			for _, m := range ms {
				reported = append(reported, m.Key)
			}
			return nil
		})
		flush(t, w)
		if s.row("k") != "2" || s.row("d") != "xy" || len(s.lines()) != 4 || len(reported) != 4 {
			t.Errorf("applied %v, reported %v", s.lines(), reported)
		}
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left := j2.Records(); len(left) != 0 {
			t.Errorf("left in the journal: %v", left)
		}
	})
}

func TestJournal_ReplayedWritesAreDeliveredWithoutOnAppliedAfterASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := journaltest.NewMemory()
		j.Commit(t.Context(), &writebehind.Tx{Put: []writebehind.Record{{Key: "k", Kind: writebehind.Set, Value: []byte(`"v"`), Enqueued: time.Now()}}})
		s := newSource()
		w := newWriter(t, writebehind.Config[string]{Sink: s, Journal: j})
		defer closeNow(t, w)
		time.Sleep(1001 * time.Millisecond)
		s.want(t, "k=v")
	})
}

func TestJournal_RefusedCommitAcceptsNothing(t *testing.T) {
	run := func(t *testing.T, fault writebehind.Fault) (applied int, err error) {
		synctest.Test(t, func(t *testing.T) {
			s := newSource()
			j := journaltest.NewMemory()
			j.BeforeCommit = func(tx *writebehind.Tx) error {
				if len(tx.Put) > 0 {
					return errors.New("no space left on device")
				}
				return nil
			}
			w := newWriter(t, writebehind.WithFault(writebehind.Config[string]{Sink: s, Journal: j}, fault))
			err = w.Write(t.Context(), []tier.Mutation[string]{{Key: "k", Value: "v"}})
			time.Sleep(time.Second)
			applied = len(s.lines())
			if st := w.Stats(); st.Depth != 0 || st.Accepted != 0 || st.CommitErrors == 0 {
				t.Errorf("stats %+v", st)
			}
			closeNow(t, w)
		})
		return applied, err
	}
	if applied, err := run(t, writebehind.NoFault); err == nil || applied != 0 {
		t.Errorf("error %v, %d applied", err, applied)
	}
	if applied, err := run(t, writebehind.AckBeforeCommit); err != nil || applied != 0 {
		t.Errorf("error %v, %d applied: acknowledging before the commit must show as a lost write here", err, applied)
	}
}

func TestJournal_FullJournalBlocksUntilSomethingIsApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		j := journaltest.NewMemory()
		j.BeforeCommit = func(tx *writebehind.Tx) error {
			if len(tx.Put) > 0 && len(j.Records()) >= 2 {
				return writebehind.ErrFull
			}
			return nil
		}
		w := newWriter(t, writebehind.Config[string]{Sink: s, Journal: j, Linger: 100 * time.Millisecond})
		defer closeNow(t, w)
		start := time.Now()
		for i := range 5 {
			enqueue(t, w, set(fmt.Sprint("k", i), "v"))
		}
		if took := time.Since(start); took < 100*time.Millisecond {
			t.Errorf("five writes into a journal for two took %v", took)
		}
		flush(t, w)
		if n := len(s.lines()); n != 5 {
			t.Errorf("%d applied", n)
		}
	})
}

func TestJournal_GivingUpBeforeTheCommitAcceptsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		j := journaltest.NewMemory()
		slow := make(chan struct{})
		j.BeforeCommit = func(tx *writebehind.Tx) error { <-slow; return nil }
		w := newWriter(t, writebehind.Config[string]{Sink: s, Journal: j})
		defer closeNow(t, w)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		errs := make(chan error, 2)
		go func() { errs <- w.Write(ctx, []tier.Mutation[string]{{Key: "asked", Value: "v"}}) }()
		synctest.Wait() // its commit is under way
		go func() { errs <- w.Write(ctx, []tier.Mutation[string]{{Key: "waiting", Value: "v"}}) }()
		unknown := 0
		for range 2 {
			err := <-errs
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
			if errors.Is(err, tier.ErrUnknown) {
				unknown++
			}
		}
		close(slow)
		flush(t, w)
		time.Sleep(time.Second)
		if s.row("waiting") != "" || s.row("asked") != "v" || unknown != 1 {
			t.Errorf("rows %v, %d unknown outcomes", s.rows, unknown)
		}
	})
}

func TestJournal_DeadLettersSurviveAndUndecodableOnesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.before = poison(writebehind.Permanent(errDown), "bad")
		j := journaltest.NewMemory()
		j.Commit(t.Context(), &writebehind.Tx{Put: []writebehind.Record{{Key: "garbled", Kind: writebehind.Set, Value: []byte("{"), Enqueued: time.Now()}}})
		w := newWriter(t, writebehind.Config[string]{Sink: s, Journal: j})
		enqueue(t, w, set("bad", "v"), set("good", "v"))
		flush(t, w)
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.fail(nil)
		w = newWriter(t, writebehind.Config[string]{Sink: s, Journal: j.Reopen()})
		defer closeNow(t, w)
		dead, err := w.DeadLetters(t.Context())
		if err != nil || len(dead) != 2 || string(dead[0].Raw) != "{" || dead[1].Op.Value != "v" || dead[1].Reason != errDown.Error() {
			t.Fatalf("letters %+v, %v", dead, err)
		}
		if n, err := w.Redrive(t.Context()); n != 1 || err == nil || !strings.Contains(err.Error(), "garbled") {
			t.Errorf("redriven %d, %v", n, err)
		}
		flush(t, w)
		s.want(t, "good=v", "bad=v")
	})
}

// TestModel_RandomOperationsWithFailuresAndCrashes checks, for random histories, that nothing
// accepted is lost: per key the source ends with the newest accepted state, every accepted delta
// has arrived, and the order of a key is the order of acceptance.
func TestModel_RandomOperationsWithFailuresAndCrashes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(rt)
			for range rapid.IntRange(1, 60).Draw(rt, "steps") {
				m.step(rt, t)
			}
			m.s.fail(nil)
			flush(t, m.w)
			m.w.Redrive(t.Context())
			flush(t, m.w)
			m.check(rt)
			if err := m.w.Close(t.Context()); err != nil {
				rt.Fatal(err)
			}
			if left := m.j.Records(); len(left) > 0 {
				rt.Fatalf("left in the journal: %v", left)
			}
		})
	})
}

type model struct {
	s     *source
	j     *journaltest.Memory
	w     *writebehind.Writer[string]
	last  map[string]string   // newest accepted state
	after map[string][]string // deltas accepted since
	n     int
}

func newModel(rt *rapid.T) *model {
	m := &model{s: newSource(), j: journaltest.NewMemory(), last: map[string]string{}, after: map[string][]string{}}
	m.start(rt)
	return m
}

func (m *model) start(rt *rapid.T) {
	w, err := writebehind.New(writebehind.Config[string]{
		Sink: m.s, Journal: m.j,
		MaxBatch:    rapid.IntRange(1, 8).Draw(rt, "batch"),
		Concurrency: rapid.IntRange(1, 4).Draw(rt, "concurrency"),
		Linger:      time.Duration(rapid.IntRange(-1, 20).Draw(rt, "linger")) * time.Millisecond,
	})
	if err != nil {
		rt.Fatal(err)
	}
	m.w = w
}

func (m *model) step(rt *rapid.T, t *testing.T) {
	key := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(rt, "key")
	m.n++
	v := fmt.Sprint(m.n)
	switch rapid.IntRange(0, 11).Draw(rt, "step") {
	case 0, 1, 2, 3:
		enqueue(t, m.w, set(key, v+";"))
		m.last[key], m.after[key] = v+";", nil
	case 4:
		enqueue(t, m.w, del(key))
		m.last[key], m.after[key] = "", nil
	case 5, 6:
		enqueue(t, m.w, delta(key, "+"+v+";"))
		m.after[key] = append(m.after[key], "+"+v+";")
	case 7, 8:
		time.Sleep(time.Duration(rapid.IntRange(1, 200).Draw(rt, "ms")) * time.Millisecond)
	case 9:
		rate := rapid.IntRange(0, 2).Draw(rt, "failures")
		var calls atomic.Int64
		m.s.fail(func(context.Context, []writebehind.Op[string]) error {
			if n := calls.Add(1); rate > 0 && int(n)%(rate+1) == 0 {
				return errDown
			}
			return nil
		})
	case 10: // the process dies; what it is applying may or may not arrive
		old := m.w
		m.j = m.j.Reopen()
		m.s.fail(nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		old.Close(ctx)
		m.s.forget()
		m.start(rt)
	case 11:
		if pending, ok := m.w.Pending(key); ok {
			got := pending.Value
			if want := m.last[key]; got != want {
				rt.Fatalf("pending %s is %q, the newest accepted state %q", key, got, want)
			}
		}
	}
}

func (m *model) check(rt *rapid.T) {
	if len(m.s.wrong) > 0 {
		rt.Fatalf("order: %v", m.s.wrong)
	}
	for key, want := range m.last {
		got := m.s.row(key)
		if !strings.HasPrefix(got, want) {
			rt.Fatalf("%s ends as %q, the newest accepted state is %q", key, got, want)
		}
		// Deltas may be repeated by a replay, never lost, and their first arrivals are in order.
		at := len(want)
		for _, d := range m.after[key] {
			i := strings.Index(got[len(want):], d)
			if i < 0 || i+len(want) < at {
				rt.Fatalf("%s ends as %q, want %q and then %v", key, got, want, m.after[key])
			}
			at = i + len(want)
		}
	}
}

func TestJournal_WriteWithoutRoomRefusesNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := journaltest.NewMemory()
		j.BeforeCommit = func(tx *writebehind.Tx) error {
			time.Sleep(time.Millisecond) // so that callers share commits
			for _, rec := range tx.Put {
				if rec.Key == "huge" {
					return writebehind.ErrFull
				}
			}
			return nil
		}
		w := newWriter(t, writebehind.Config[string]{Sink: newSource(), Journal: j, Overflow: writebehind.Reject})
		defer closeNow(t, w)
		errs := map[string]error{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, key := range []string{"a", "b", "huge", "c", "d"} {
			wg.Go(func() {
				err := w.Write(t.Context(), []tier.Mutation[string]{{Key: key, Value: "v"}})
				mu.Lock()
				defer mu.Unlock()
				errs[key] = err
			})
		}
		wg.Wait()
		for key, err := range errs {
			if errors.Is(err, writebehind.ErrFull) != (key == "huge") || key != "huge" && err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
		if st := w.Stats(); st.Accepted != 4 || st.Rejected != 1 {
			t.Errorf("stats %+v", st)
		}
	})
}
