package writebehind_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/writebehind"
)

var errDown = errors.New("source is down")

func TestRetry_PausesDoubleUpToTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		var calls []time.Time
		s.before = func(context.Context, []writebehind.Op[string]) error {
			calls = append(calls, time.Now())
			if len(calls) <= 12 {
				return errDown
			}
			return nil
		}
		w := newWriter(t, writebehind.WithJitter(writebehind.Config[string]{Sink: s, Linger: -1}, writebehind.FullJitter))
		defer closeNow(t, w)
		enqueue(t, w, set("k", "v"))
		flush(t, w)
		want := 50 * time.Millisecond
		for i := range 12 {
			if got := calls[i+1].Sub(calls[i]); got != want {
				t.Errorf("pause %d: %v, want %v", i, got, want)
			}
			want = min(2*want, 30*time.Second)
		}
		if st := w.Stats(); st.Retried != 12 || st.Dead != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestRetry_JitterIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		var calls []time.Time
		s.before = func(context.Context, []writebehind.Op[string]) error {
			calls = append(calls, time.Now())
			if len(calls) <= 500 {
				return errDown
			}
			return nil
		}
		w := newWriter(t, writebehind.Config[string]{Sink: s, Linger: -1, RetryMin: 100 * time.Millisecond, RetryMax: 100 * time.Millisecond})
		defer closeNow(t, w)
		enqueue(t, w, set("k", "v"))
		flush(t, w)
		low, high, sum := time.Hour, time.Duration(0), time.Duration(0)
		for i := range 500 {
			d := calls[i+1].Sub(calls[i])
			low, high, sum = min(low, d), max(high, d), sum+d
		}
		if low > 5*time.Millisecond || high < 95*time.Millisecond || high > 100*time.Millisecond || sum/500 < 40*time.Millisecond || sum/500 > 60*time.Millisecond {
			t.Errorf("pauses from %v to %v, mean %v, want 0 to 100 ms", low, high, sum/500)
		}
	})
}

func TestRetry_OutageParksNothingAndCostsFewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		var calls atomic.Int64 // several batches are under way at a time
		s.before = func(context.Context, []writebehind.Op[string]) error {
			calls.Add(1)
			return errDown
		}
		w := newWriter(t, writebehind.Config[string]{Sink: s})
		defer closeNow(t, w)
		for i := range 1000 {
			enqueue(t, w, set(fmt.Sprint("k", i), "v"))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := calls.Load(); n > 1500 {
			t.Errorf("%d calls in a minute of outage", n)
		}
		s.fail(nil)
		flush(t, w)
		if st := w.Stats(); st.Applied != 1000 || st.Dead != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestRetry_PoisonRecordParksAloneAndDelaysNobody(t *testing.T) {
	for _, at := range []int{0, 1, 64, 127} {
		for _, err := range []error{errDown, writebehind.Permanent(errors.New("constraint"))} {
			t.Run(fmt.Sprint(at, writebehind.IsPermanent(err)), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSource()
					s.before = poison(err, fmt.Sprint("k", at))
					w := newWriter(t, writebehind.Config[string]{Sink: s, MaxAttempts: 3, Linger: 10 * time.Millisecond})
					defer closeNow(t, w)
					start := time.Now()
					for i := range 128 {
						enqueue(t, w, set(fmt.Sprint("k", i), "v"))
					}
					synctest.Wait()
					if n := len(s.lines()); n != 127 {
						t.Errorf("%d of the 127 good records applied at once", n)
					}
					for _, at := range s.times {
						if at.Sub(start) > 10*time.Millisecond {
							t.Fatalf("a good record waited %v", at.Sub(start))
						}
					}
					flush(t, w)
					dead, err := w.DeadLetters(t.Context())
					if err != nil || len(dead) != 1 || dead[0].Op.Key != fmt.Sprint("k", at) || dead[0].Reason == "" {
						t.Errorf("dead letters %v, %v", dead, err)
					}
				})
			})
		}
	}
}

func TestRetry_EveryRecordIsTriedAloneBeforeItsAttemptsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.before = poison(errDown, "a", "b", "c", "d") // in front, side by side
		w := newWriter(t, writebehind.Config[string]{Sink: s, MaxAttempts: 3})
		defer closeNow(t, w)
		enqueue(t, w, set("a", "1"), set("b", "1"), set("c", "1"), set("d", "1"), set("e", "1"), set("f", "1"), set("g", "1"))
		flush(t, w)
		if st := w.Stats(); st.Dead != 4 || st.Applied != 3 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestRetry_DefaultLimitCountsOnlyWhileTheSinkTakesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.before = poison(errDown, "bad")
		w := newWriter(t, writebehind.Config[string]{Sink: s, RetryMax: time.Second})
		defer closeNow(t, w)
		enqueue(t, w, set("bad", "v"))
		time.Sleep(time.Hour)
		if st := w.Stats(); st.Dead != 0 {
			t.Error("parked without a sign that the sink is alive")
		}
		for range 60 {
			enqueue(t, w, set("good", "v"))
			time.Sleep(time.Second)
		}
		if st := w.Stats(); st.Dead != 1 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestSink_OutcomesPerOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		first := true
		s.before = func(_ context.Context, ops []writebehind.Op[string]) error {
			if !first {
				return nil
			}
			first = false
			return &writebehind.BatchError{Errs: []error{nil, errDown, writebehind.Permanent(errDown)}}
		}
		w := newWriter(t, writebehind.Config[string]{Sink: s})
		defer closeNow(t, w)
		ack := enqueue(t, w, set("a", "1"), set("b", "1"), set("c", "1"))
		var dead *writebehind.DeadError
		if err := ack.Wait(t.Context()); !errors.As(err, &dead) || dead.Key != "c" {
			t.Errorf("ack: %v", err)
		}
		s.want(t, "a=1", "b=1")
		if !slices.Equal(s.sizes, []int{3, 1}) {
			t.Errorf("batches of %v: what was written must not be sent again", s.sizes)
		}
	})
}

func TestSink_PanicIsAPermanentErrorOfOneRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := 0
		sink := writebehind.SinkFunc[string](func(_ context.Context, ops []writebehind.Op[string]) error {
			if poison(errDown, "bad")(nil, ops) != nil {
				panic("nil pointer")
			}
			taken += len(ops)
			return nil
		})
		w := newWriter(t, writebehind.Config[string]{Sink: sink, Concurrency: 1})
		defer closeNow(t, w)
		enqueue(t, w, set("a", "1"), set("bad", "1"), set("b", "1"))
		flush(t, w)
		dead, _ := w.DeadLetters(t.Context())
		if taken != 2 || len(dead) != 1 || dead[0].Reason != "writebehind: sink panicked: nil pointer" {
			t.Errorf("%d taken, dead %v", taken, dead)
		}
	})
}

func TestSink_SlowCallIsEndedByTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		slow := true
		s.before = func(ctx context.Context, _ []writebehind.Op[string]) error {
			if slow {
				slow = false
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		w := newWriter(t, writebehind.Config[string]{Sink: s, ApplyTimeout: time.Second, Linger: -1})
		defer closeNow(t, w)
		start := time.Now()
		enqueue(t, w, set("k", "v"))
		flush(t, w)
		if took := time.Since(start); took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestRetry_NewerWriteFlowsAndVoidsTheParkedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.before = func(_ context.Context, ops []writebehind.Op[string]) error {
			if ops[0].Value == "bad" {
				return writebehind.Permanent(errDown)
			}
			return nil
		}
		w := newWriter(t, writebehind.Config[string]{Sink: s})
		defer closeNow(t, w)
		enqueue(t, w, set("k", "bad"))
		flush(t, w)
		enqueue(t, w, set("k", "good"))
		flush(t, w)
		s.want(t, "k=good")
		if dead, _ := w.DeadLetters(t.Context()); len(dead) != 0 {
			t.Errorf("a letter older than the record is left: %v", dead)
		}
		if n, err := w.Redrive(t.Context()); n != 0 || err != nil {
			t.Errorf("redriven %d, %v", n, err)
		}
		s.want(t, "k=good")
	})
}

func TestRedrive_AppliesBeforeWhatCameSinceWithTheSameID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		broken := true
		var ids []writebehind.ID
		s.before = func(_ context.Context, ops []writebehind.Op[string]) error {
			if string(ops[0].Delta) == "a" {
				ids = append(ids, ops[0].ID)
			}
			if broken {
				return writebehind.Permanent(errDown)
			}
			return nil
		}
		w := newWriter(t, writebehind.Config[string]{Sink: s, Linger: time.Second})
		defer closeNow(t, w)
		enqueue(t, w, delta("k", "a"))
		enqueue(t, w, set("x", "1"))
		flush(t, w)
		broken = false
		enqueue(t, w, delta("k", "b"))
		if n, err := w.Redrive(t.Context(), "k"); n != 1 || err != nil {
			t.Fatalf("redriven %d, %v", n, err)
		}
		flush(t, w)
		s.want(t, "k+a", "k+b")
		if len(ids) < 2 || len(slices.Compact(ids)) != 1 {
			t.Errorf("ids %v", ids)
		}
		if n, err := w.Discard(t.Context()); n != 1 || err != nil {
			t.Errorf("discarded %d, %v", n, err)
		}
		if dead, _ := w.DeadLetters(t.Context()); len(dead) != 0 {
			t.Errorf("left %v", dead)
		}
	})
}
