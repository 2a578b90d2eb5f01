package writebehind_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/journaltest"
)

func TestOverflow_BlockWaitsForRoomAsLongAsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		open := make(chan struct{})
		s.before = func(context.Context, []writebehind.Op[string]) error { <-open; return nil }
		w := newWriter(t, writebehind.Config[string]{Sink: s, MaxEntries: 2, Linger: -1})
		defer closeNow(t, w)
		enqueue(t, w, set("a", "1"), set("b", "1"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := w.Enqueue(ctx, set("c", "1"))
		if !errors.Is(err, writebehind.ErrFull) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		time.AfterFunc(time.Second, func() { close(open) })
		enqueue(t, w, set("d", "1"))
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("accepted after %v", took)
		}
		flush(t, w)
		if s.row("c") != "" || s.row("d") != "1" {
			t.Errorf("rows %v", s.rows)
		}
		if st := w.Stats(); st.Rejected != 1 || st.Depth != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestOverflow_RejectByEntriesAndBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t, writebehind.Config[string]{
			Sink: newSource(), MaxEntries: 3, MaxBytes: 20, Overflow: writebehind.Reject, Linger: time.Hour, MaxDelay: time.Hour,
		})
		defer closeNow(t, w)
		enqueue(t, w, set("a", "0123456789"))
		for _, c := range []struct {
			name   string
			change writebehind.Change[string]
			want   error
		}{
			{"bytes", set("b", "0123456789"), writebehind.ErrFull},
			{"replaces one as large", set("a", "9876543210"), nil},
			{"fits", set("b", "1"), nil},
			{"fits too", set("c", "1"), nil},
			{"entries", set("d", "1"), writebehind.ErrFull},
			{"replaces though full", set("c", "2"), nil},
			{"larger than the queue", set("e", "0123456789012345678901"), writebehind.ErrFull},
		} {
			if _, err := w.Enqueue(t.Context(), c.change); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
		}
		if m, ok := w.Pending("a"); !ok || m.Value != "9876543210" {
			t.Errorf("pending %v", m)
		}
	})
}

func TestOverflow_WriteThroughAppliesNowAfterWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		w := newWriter(t, writebehind.Config[string]{
			Sink: s, MaxEntries: 1, Overflow: writebehind.WriteThrough, Linger: time.Hour, MaxDelay: time.Hour,
		})
		defer closeNow(t, w)
		enqueue(t, w, delta("k", "1"))
		enqueue(t, w, set("k", "2")) // returns when the source has it
		s.want(t, "k+1", "k=2")
		enqueue(t, w, set("other", "1")) // there is room again
		s.fail(poison(writebehind.Permanent(errDown), "k"))
		_, err := w.Enqueue(t.Context(), set("k", "3"))
		if !errors.Is(err, errDown) || errors.Is(err, tier.ErrUnknown) {
			t.Errorf("refused by the source: %v", err)
		}
		s.fail(poison(errDown, "k"))
		_, err = w.Enqueue(t.Context(), set("k", "3"))
		var each *tier.WriteError
		if !errors.Is(err, errDown) || !errors.Is(err, tier.ErrUnknown) || !errors.As(err, &each) {
			t.Errorf("failed in the source: %v", err)
		}
		if st := w.Stats(); st.Through != 3 || st.Depth != 1 || st.Dead != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

// What was written around a journal comes after what has left it, before a restart too: the
// source would take it for old.
func TestOverflow_WriteThroughCountsOnFromTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, j := newSource(), journaltest.NewMemory()
		cfg := writebehind.Config[string]{Sink: s, Journal: j, Overflow: writebehind.WriteThrough}
		w := newWriter(t, cfg)
		enqueue(t, w, set("k", "1"))
		w.Close(t.Context())

		j = j.Reopen()
		j.BeforeCommit = func(tx *writebehind.Tx) error {
			if len(tx.Put) > 0 {
				return writebehind.ErrFull
			}
			return nil
		}
		cfg.Journal = j
		w = newWriter(t, cfg)
		enqueue(t, w, set("k", "2"))
		w.Close(t.Context())

		cfg.Journal = j.Reopen()
		w = newWriter(t, cfg)
		enqueue(t, w, set("k", "3"))
		w.Close(t.Context())
		s.want(t, "k=1", "k=2", "k=3")
		if s.wrong != nil {
			t.Errorf("sequences that a source ignores: %v", s.wrong)
		}
	})
	plain := struct{ writebehind.Journal }{journaltest.NewMemory()}
	_, err := writebehind.New(writebehind.Config[string]{Sink: newSource(), Journal: plain, Overflow: writebehind.WriteThrough})
	if err == nil || !strings.Contains(err.Error(), "Counted") {
		t.Errorf("a journal that cannot tell its last sequence: %v", err)
	}
}

func TestWrite_MoreThanTheQueueHoldsGoesInPortions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		w := newWriter(t, writebehind.Config[string]{Sink: s, MaxEntries: 10})
		var ms []tier.Mutation[string]
		for i := range 95 {
			ms = append(ms, tier.Mutation[string]{Key: fmt.Sprint("k", i), Value: "v"})
		}
		if err := w.Write(t.Context(), ms); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(s.lines()); n != 95 {
			t.Errorf("%d applied", n)
		}
	})
}

func TestWrite_RefusesWhatNoSourceCouldTake(t *testing.T) {
	w := newWriter(t, writebehind.Config[string]{Sink: newSource()})
	defer closeNow(t, w)
	negative := set("k", "v")
	negative.TTL = -1
	for want, c := range map[error]writebehind.Change[string]{tier.ErrEmptyKey: set("", "v"), tier.ErrInvalidTTL: negative} {
		if _, err := w.Enqueue(t.Context(), set("fine", "v"), c); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if st := w.Stats(); st.Accepted != 0 {
		t.Error("a refused call left something behind")
	}
}

func TestClose_DrainsWithoutLingering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		w := newWriter(t, writebehind.Config[string]{Sink: s, Linger: time.Hour, MaxDelay: time.Hour})
		enqueue(t, w, set("k", "v"), delta("k", "1"))
		start := time.Now()
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.want(t, "k=v", "k+1")
		if time.Since(start) > time.Second {
			t.Errorf("took %v", time.Since(start))
		}
		if _, err := w.Enqueue(t.Context(), set("k", "v")); !errors.Is(err, writebehind.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if err := w.Close(t.Context()); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestClose_SaysWhatWasNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.before = func(ctx context.Context, _ []writebehind.Op[string]) error { <-ctx.Done(); return ctx.Err() }
		w := newWriter(t, writebehind.Config[string]{Sink: s, MaxBatch: 1, Concurrency: 2, Linger: -1})
		for i := range 5 {
			enqueue(t, w, set(fmt.Sprint("k", i), "v"))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		var left *writebehind.DrainError
		err := w.Close(ctx)
		if !errors.As(err, &left) || left.Remaining != 5 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(start); took > 1100*time.Millisecond {
			t.Errorf("Close took %v", took)
		}
	})
}

func TestFlush_IsABarrierForWhatWasAcceptedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		first, late := make(chan struct{}), make(chan struct{})
		s.before = func(_ context.Context, ops []writebehind.Op[string]) error {
			switch ops[0].Key {
			case "k0":
				<-first
			case "late":
				<-late
			}
			return nil
		}
		w := newWriter(t, writebehind.Config[string]{Sink: s, Linger: -1, MaxBatch: 1})
		defer closeNow(t, w)
		for i := range 10 {
			enqueue(t, w, set(fmt.Sprint("k", i), "1"))
		}
		flushed := make(chan error, 1)
		go func() { flushed <- w.Flush(t.Context()) }()
		synctest.Wait()
		enqueue(t, w, set("late", "1"))
		synctest.Wait()
		select {
		case <-flushed:
			t.Error("flushed with k0 not applied")
		default:
		}
		close(first)
		if err := <-flushed; err != nil || len(s.lines()) != 10 {
			t.Errorf("flushed %v with %d applied", err, len(s.lines()))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush with a stuck write: %v", err)
		}
		close(late)
		flush(t, w)
	})
}
