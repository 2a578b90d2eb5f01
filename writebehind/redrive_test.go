package writebehind_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/journaltest"
)

// deadDelta returns a journal with one dead letter, a delta of k, and its id.
func deadDelta(t *testing.T, s *source) (*journaltest.Memory, writebehind.ID) {
	t.Helper()
	s.fail(poison(writebehind.Permanent(errDown), "k"))
	j := journaltest.NewMemory()
	w := newWriter(t, writebehind.Config[string]{Sink: s, Journal: j})
	enqueue(t, w, delta("k", "a"))
	flush(t, w)
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.fail(nil)
	left := j.Records()
	if len(left) != 1 || left[0].Dead == "" {
		t.Fatalf("journal %v", left)
	}
	return j.Reopen(), left[0].ID
}

// redriving reports whether tx brings a dead letter back.
func redriving(tx *writebehind.Tx) bool {
	return slices.ContainsFunc(tx.Put, func(r writebehind.Record) bool { return r.Seq != 0 && r.Dead == "" })
}

func TestRedrive_KilledAtAnyPointLosesNothingAndKeepsTheID(t *testing.T) {
	for _, c := range []struct {
		name, why      string
		before, parked bool // killed before the commit; it is a dead letter after the start
		apply          bool // the sink takes it before the kill
		want           int  // how often the source has seen it in the end
	}{
		{name: "before the commit", why: "it is still a dead letter", before: true, parked: true, want: 1},
		{name: "after the commit", why: "it waits", want: 1},
		{name: "after the source took it", why: "it comes again, with the id to tell", apply: true, want: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSource()
				j, id := deadDelta(t, s)
				var killed atomic.Bool
				j.BeforeCommit = func(tx *writebehind.Tx) error {
					if c.before && redriving(tx) || killed.Load() {
						killed.Store(true)
						return errors.New("killed")
					}
					return nil
				}
				applied := make(chan struct{}, 1)
				s.fail(func(context.Context, []writebehind.Op[string]) error {
					if !c.apply && !killed.Load() {
						return errDown // so that the kill finds it waiting
					}
					killed.Store(true) // nothing is removed from the journal any more
					applied <- struct{}{}
					return nil
				})
				w := newWriter(t, writebehind.Config[string]{Sink: s, Journal: j})
				if n, err := w.Redrive(t.Context()); (err != nil) != c.before || n == 1 == c.before {
					t.Fatalf("redriven %d, %v", n, err)
				}
				if c.apply {
					<-applied
				}
				synctest.Wait()
				next := j.Reopen() // the process is gone; the writer finds its journal closed
				closeNow(t, w)

				s.fail(nil)
				s.forget()
				w = newWriter(t, writebehind.Config[string]{Sink: s, Journal: next})
				defer closeNow(t, w)
				dead, err := w.DeadLetters(t.Context())
				if err != nil || (len(dead) == 1) != c.parked {
					t.Errorf("%s: letters %v, %v", c.why, dead, err)
				}
				if c.parked {
					if n, err := w.Redrive(t.Context()); n != 1 || err != nil {
						t.Errorf("redriven %d, %v", n, err)
					}
				}
				flush(t, w)
				if got := s.seen[id]; got != c.want || len(s.seen) != 1 {
					t.Errorf("%s: the source saw it %d times, want %d; all: %v", c.why, got, c.want, s.seen)
				}
			})
		})
	}
}

func TestRedrive_TwiceAtATimeKeepsWhatWaitsInTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		j, id := deadDelta(t, s)
		first := make(chan struct{})
		var once sync.Once
		j.BeforeCommit = func(tx *writebehind.Tx) error {
			if redriving(tx) {
				once.Do(func() { <-first })
			}
			return nil
		}
		s.fail(func(context.Context, []writebehind.Op[string]) error { return errDown })
		w := newWriter(t, writebehind.Config[string]{Sink: s, Journal: j, RetryMin: time.Hour, RetryMax: time.Hour})
		total := make(chan int, 2)
		for range 2 {
			go func() {
				n, err := w.Redrive(t.Context())
				if err != nil {
					t.Error(err)
				}
				total <- n
			}()
			synctest.Wait() // the second finds the letter while the first is at the journal
		}
		close(first)
		if n := <-total + <-total; n != 1 {
			t.Errorf("the letter was redriven %d times", n)
		}
		time.Sleep(time.Minute)
		next := j.Reopen() // the process dies while the letter waits for the source
		closeNow(t, w)
		s.fail(nil)
		w = newWriter(t, writebehind.Config[string]{Sink: s, Journal: next})
		defer closeNow(t, w)
		flush(t, w)
		if s.seen[id] != 1 {
			t.Errorf("the source saw the letter %d times: the second Redrive has removed it from the journal", s.seen[id])
		}
	})
}

// lateReplay is a shared journal that finds one dead letter, when it is let.
type lateReplay struct {
	*journaltest.Memory
	asked, answer chan struct{}
}

func (l *lateReplay) Replay(_ context.Context, fn func(writebehind.Record) error) error {
	close(l.asked)
	<-l.answer
	return fn(writebehind.Record{Seq: 1, Key: "k", Kind: writebehind.Delta, Dead: "x"})
}

func (l *lateReplay) Consume(ctx context.Context, _ func(writebehind.Delivery)) error {
	<-ctx.Done()
	return nil
}

func (l *lateReplay) Fates(_ context.Context, refs []writebehind.Ref) ([]writebehind.Fate, error) {
	return make([]writebehind.Fate, len(refs)), nil
}

func TestRedrive_OvertakenByCloseReturns(t *testing.T) {
	for name, call := range map[string]func(*writebehind.Writer[string]) error{
		"redrive": func(w *writebehind.Writer[string]) error { _, err := w.Redrive(context.Background()); return err },
		"discard": func(w *writebehind.Writer[string]) error { _, err := w.Discard(context.Background()); return err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &lateReplay{Memory: journaltest.NewMemory(), asked: make(chan struct{}), answer: make(chan struct{})}
				w := newWriter(t, writebehind.Config[string]{Sink: newSource(), Journal: j})
				done := make(chan error, 1)
				go func() { done <- call(w) }()
				<-j.asked
				if err := w.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				close(j.answer)
				synctest.Wait()
				select {
				case err := <-done:
					if !errors.Is(err, writebehind.ErrClosed) {
						t.Error(err)
					}
				default:
					t.Error("it waits for a journal that is closed")
				}
			})
		})
	}
}
