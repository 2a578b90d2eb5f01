package writebehind_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
)

func TestWrite_NewestOfAKeyIsAppliedAfterTheLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		w := newWriter(t, writebehind.Config[string]{Sink: s, Linger: 10 * time.Millisecond})
		defer closeNow(t, w)
		start := time.Now()
		for i := range 5 {
			if err := w.Write(t.Context(), []tier.Mutation[string]{{Key: "k", Value: fmt.Sprint(i)}}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(time.Second)
		s.want(t, "k=4")
		if took := s.times[0].Sub(start); took != 30*time.Millisecond {
			t.Errorf("applied after %v, want 10 ms after the last write at 20 ms", took)
		}
		if st := w.Stats(); st.Accepted != 5 || st.Applied != 1 || st.Coalesced != 4 || st.Depth != 0 || st.Bytes != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestWrite_AgeCountsFromTheFirstUnwrittenWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		w := newWriter(t, writebehind.Config[string]{Sink: s, Linger: 10 * time.Millisecond, MaxDelay: 100 * time.Millisecond})
		defer closeNow(t, w)
		start := time.Now()
		for i := range 60 { // never quiet for 10 ms
			enqueue(t, w, set("k", fmt.Sprint(i)))
			time.Sleep(5 * time.Millisecond)
		}
		if len(s.times) < 2 || s.times[0].Sub(start) != 100*time.Millisecond {
			t.Errorf("applied at %v, want the first after 100 ms", s.times)
		}
	})
}

func TestWrite_FullBatchDoesNotLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		w := newWriter(t, writebehind.Config[string]{Sink: s, Linger: time.Hour, MaxDelay: time.Hour, MaxBatch: 3, MaxBatchBytes: 100})
		defer closeNow(t, w)
		enqueue(t, w, set("a", "1"), set("b", "1"))
		synctest.Wait()
		s.want(t)
		enqueue(t, w, set("c", "1"))
		synctest.Wait()
		s.want(t, "a=1", "b=1", "c=1")
		enqueue(t, w, set("d", string(make([]byte, 99)))) // as many bytes as fit
		synctest.Wait()
		if n := len(s.lines()); n != 4 {
			t.Errorf("%d operations applied, want 4", n)
		}
	})
}

func TestEnqueue_DeltasStayInOrderAmongStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		w := newWriter(t, writebehind.Config[string]{Sink: s})
		defer closeNow(t, w)
		enqueue(t, w, set("k", "1"), set("k", "2"), delta("k", "a"), delta("k", "b"), set("k", "3"), set("k", "4"), delta("k", "c"), del("k"), set("k", "5"))
		flush(t, w)
		s.want(t, "k=2", "k+a", "k+b", "k=4", "k+c", "k=5")
		if len(s.wrong) > 0 {
			t.Error(s.wrong)
		}
	})
}

func TestPending_ShowsTheNewestUntilItIsAppliedAndReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		applying, reporting := make(chan struct{}), make(chan struct{})
		s.before = func(context.Context, []writebehind.Op[string]) error { <-applying; return nil }
		w := newWriter(t, writebehind.Config[string]{Sink: s, Linger: -1})
		defer closeNow(t, w)
		var reported []tier.Mutation[string]
		w.OnApplied(func(_ context.Context, ms []tier.Mutation[string]) error {
			reported = append(reported, ms...)
			<-reporting
			return nil
		})
		pending := func(want string) {
			t.Helper()
			synctest.Wait()
			m, ok := w.Pending("k")
			got := "nothing"
			if ok {
				got = fmt.Sprint(m.Value, m.Delete)
			}
			if got != want {
				t.Errorf("pending %s, want %s", got, want)
			}
		}
		pending("nothing")
		enqueue(t, w, set("k", "1"))
		pending("1false")
		enqueue(t, w, del("k")) // while the first is being applied
		pending("true")
		applying <- struct{}{}
		pending("true")
		if s.row("k") != "1" || len(reported) != 1 {
			t.Fatalf("row %q, reported %v", s.row("k"), reported)
		}
		reporting <- struct{}{} // the first is done; the delete takes its turn
		pending("true")
		applying <- struct{}{}
		pending("true") // applied, not reported
		reporting <- struct{}{}
		pending("nothing")
		s.want(t, "k=1", "k-")
		enqueue(t, w, delta("k", "x"))
		pending("nothing")
		applying <- struct{}{}
		reporting <- struct{}{}
		synctest.Wait()
		if m := reported[2]; m.Key != "k" || !m.Delete {
			t.Errorf("a delta was reported as %+v", m)
		}
	})
}

func TestWrite_ExpiredWriteIsSkippedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		w := newWriter(t, writebehind.Config[string]{Sink: s, Linger: 100 * time.Millisecond})
		defer closeNow(t, w)
		short, long := set("short", "1"), set("long", "1")
		short.TTL, long.TTL = 50*time.Millisecond, time.Hour
		ack := enqueue(t, w, short, long)
		time.Sleep(60 * time.Millisecond)
		if _, ok := w.Pending("short"); ok {
			t.Error("an expired write is pending")
		}
		if m, ok := w.Pending("long"); !ok || m.TTL != time.Hour-60*time.Millisecond {
			t.Errorf("pending %+v", m)
		}
		if err := ack.Wait(t.Context()); !errors.Is(err, writebehind.ErrExpired) {
			t.Errorf("ack: %v", err)
		}
		s.want(t, "long=1")
		if st := w.Stats(); st.Expired != 1 || st.Depth != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestWrite_HundredThousandWritesOfHundredKeysAreFewSourceWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		w := newWriter(t, writebehind.Config[string]{Sink: s})
		defer closeNow(t, w)
		for i := range 100_000 {
			if err := w.Write(t.Context(), []tier.Mutation[string]{{Key: fmt.Sprint("k", i%100), Value: fmt.Sprint(i)}}); err != nil {
				t.Fatal(err)
			}
			if i%1000 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		flush(t, w)
		if n := len(s.lines()); n > 1000 {
			t.Errorf("%d source writes", n)
		}
		for i := range 100 {
			if got, want := s.row(fmt.Sprint("k", i)), fmt.Sprint(99_900+i); got != want {
				t.Errorf("k%d = %s, want %s", i, got, want)
			}
		}
	})
}

func TestConfig_RateBoundsOperationsPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		w := newWriter(t, writebehind.Config[string]{Sink: s, Rate: 50, Linger: -1})
		defer closeNow(t, w)
		start := time.Now()
		for i := range 500 {
			enqueue(t, w, set(fmt.Sprint("k", i), "v"))
		}
		flush(t, w)
		if took := time.Since(start); took < 8900*time.Millisecond || took > 10*time.Second {
			t.Errorf("500 operations at 50 a second took %v", took)
		}
	})
}

func TestConfig_ConcurrencyBoundsCallsOfApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		now, most := 0, 0
		s.before = func(context.Context, []writebehind.Op[string]) error {
			s.mu.Lock()
			now++
			most = max(most, now)
			s.mu.Unlock()
			time.Sleep(10 * time.Millisecond)
			s.mu.Lock()
			now--
			s.mu.Unlock()
			return nil
		}
		w := newWriter(t, writebehind.Config[string]{Sink: s, MaxBatch: 1, Concurrency: 3, Linger: -1})
		defer closeNow(t, w)
		for i := range 30 {
			enqueue(t, w, set(fmt.Sprint("k", i), "v"))
		}
		flush(t, w)
		if most != 3 {
			t.Errorf("up to %d calls at a time, want 3", most)
		}
	})
}

func TestWrite_OneApplyOfAKeyAtATime(t *testing.T) {
	run := func(t *testing.T, fault writebehind.Fault) []string {
		s := newSource()
		synctest.Test(t, func(t *testing.T) {
			first := true
			s.before = func(context.Context, []writebehind.Op[string]) error {
				if first { // the older value takes its time
					first = false
					time.Sleep(time.Second)
				}
				return nil
			}
			w := newWriter(t, writebehind.WithFault(writebehind.Config[string]{Sink: s, Linger: -1}, fault))
			defer closeNow(t, w)
			enqueue(t, w, set("k", "old"))
			synctest.Wait()
			enqueue(t, w, set("k", "new"))
			flush(t, w)
			time.Sleep(2 * time.Second)
		})
		return append(s.wrong, s.row("k"))
	}
	if got := run(t, writebehind.NoFault); fmt.Sprint(got) != "[new]" {
		t.Errorf("violations and final value: %v", got)
	}
	if got := run(t, writebehind.AnyOrder); got[len(got)-1] != "old" {
		t.Errorf("without the order of a key the test sees %v: it could not have seen the bug", got)
	}
}

func TestWrite_FinishedOperationIsRemovedBySequenceNotByKey(t *testing.T) {
	run := func(t *testing.T, fault writebehind.Fault) string {
		s := newSource()
		synctest.Test(t, func(t *testing.T) {
			s.before = func(context.Context, []writebehind.Op[string]) error { time.Sleep(time.Second); return nil }
			w := newWriter(t, writebehind.WithFault(writebehind.Config[string]{Sink: s, Linger: -1}, fault))
			defer closeNow(t, w)
			enqueue(t, w, set("k", "old"))
			synctest.Wait()
			enqueue(t, w, set("k", "new")) // accepted while the older one is being applied
			flush(t, w)
		})
		return s.row("k")
	}
	if got := run(t, writebehind.NoFault); got != "new" {
		t.Errorf("the source ends with %q", got)
	}
	if got := run(t, writebehind.RemoveByKey); got != "old" {
		t.Errorf("with removal by key the source ends with %q: the test could not have seen the bug", got)
	}
}
