package writebehind_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("WRITEBEHIND_CHILD"); dir != "" {
		childProducer(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// source is a sink that keeps records, applies deltas by appending, and fails as it is told.
type source struct {
	mu     sync.Mutex
	rows   map[string]string
	log    []string // "key=value", "key-", "key+delta", in the order of arrival
	times  []time.Time
	sizes  []int // of the batches that came
	seqs   map[string]uint64
	seen   map[writebehind.ID]int
	wrong  []string // order violations
	active map[string]bool

	// before is asked with each batch, outside the lock; its error is Apply's.
	before func(ctx context.Context, ops []writebehind.Op[string]) error
}

func newSource() *source {
	return &source{rows: map[string]string{}, seqs: map[string]uint64{}, seen: map[writebehind.ID]int{}, active: map[string]bool{}}
}

func (s *source) Apply(ctx context.Context, ops []writebehind.Op[string]) error {
	s.mu.Lock()
	s.sizes = append(s.sizes, len(ops))
	for _, o := range ops {
		if s.active[o.Key] {
			s.wrong = append(s.wrong, fmt.Sprintf("two applies of %s at a time", o.Key))
		}
		s.active[o.Key] = true
	}
	before := s.before
	s.mu.Unlock()
	var err error
	if before != nil {
		err = before(ctx, ops)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range ops {
		delete(s.active, o.Key)
	}
	if err != nil {
		if each, ok := err.(*writebehind.BatchError); ok {
			for i, o := range ops {
				if each.Errs[i] == nil {
					s.apply(o)
				}
			}
		}
		return err
	}
	for _, o := range ops {
		s.apply(o)
	}
	return nil
}

// fail sets before while a writer is at work.
func (s *source) fail(before func(context.Context, []writebehind.Op[string]) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

// forget lets a replay come with sequences that were there before.
func (s *source) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seqs = map[string]uint64{}
}

func (s *source) apply(o writebehind.Op[string]) {
	if o.Seq < s.seqs[o.Key] {
		s.wrong = append(s.wrong, fmt.Sprintf("%s: %d after %d", o.Key, o.Seq, s.seqs[o.Key]))
	}
	s.seqs[o.Key] = o.Seq
	s.seen[o.ID]++
	s.times = append(s.times, time.Now())
	switch {
	case o.Delta != nil:
		s.rows[o.Key] += string(o.Delta)
		s.log = append(s.log, o.Key+"+"+string(o.Delta))
	case o.Delete:
		delete(s.rows, o.Key)
		s.log = append(s.log, o.Key+"-")
	default:
		s.rows[o.Key] = o.Value
		s.log = append(s.log, o.Key+"="+o.Value)
	}
}

func (s *source) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

func (s *source) row(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rows[key]
}

func (s *source) want(t *testing.T, lines ...string) {
	t.Helper()
	if got := s.lines(); !slices.Equal(got, lines) {
		t.Errorf("the source saw\n %s\nwant\n %s", strings.Join(got, " "), strings.Join(lines, " "))
	}
}

// poison makes Apply fail for batches with one of the keys in them.
func poison(err error, keys ...string) func(context.Context, []writebehind.Op[string]) error {
	return func(_ context.Context, ops []writebehind.Op[string]) error {
		for _, o := range ops {
			if slices.Contains(keys, o.Key) {
				return err
			}
		}
		return nil
	}
}

func newWriter(t *testing.T, cfg writebehind.Config[string]) *writebehind.Writer[string] {
	t.Helper()
	w, err := writebehind.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func closeNow(t *testing.T, w *writebehind.Writer[string]) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.Close(ctx)
}

func set(key, value string) writebehind.Change[string] {
	return writebehind.Change[string]{Mutation: tier.Mutation[string]{Key: key, Value: value}}
}

func del(key string) writebehind.Change[string] {
	return writebehind.Change[string]{Mutation: tier.Mutation[string]{Key: key, Delete: true}}
}

func delta(key, d string) writebehind.Change[string] {
	return writebehind.Change[string]{Mutation: tier.Mutation[string]{Key: key}, Delta: []byte(d)}
}

func enqueue(t *testing.T, w *writebehind.Writer[string], changes ...writebehind.Change[string]) *writebehind.Ack {
	t.Helper()
	ack, err := w.Enqueue(t.Context(), changes...)
	if err != nil {
		t.Fatal(err)
	}
	return ack
}

func flush(t *testing.T, w *writebehind.Writer[string]) {
	t.Helper()
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}
