package writebehind_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/journaltest"
)

// handed is a shared journal that hands over what it holds, once, as delivered so often before.
type handed struct {
	*journaltest.Memory
	attempts map[string]int
}

// Context implements writebehind.Owner: the right is never lost.
func (handed) Context() context.Context { return context.Background() }

// Consume implements writebehind.Shared.
func (h handed) Consume(ctx context.Context, deliver func(writebehind.Delivery)) error {
	recs := h.Records()
	for i := range recs {
		recs[i].Attempts = h.attempts[recs[i].Key]
	}
	deliver(writebehind.Delivery{Records: recs, Owner: &h})
	<-ctx.Done()
	return nil
}

// Fates implements writebehind.Shared.
func (h handed) Fates(_ context.Context, refs []writebehind.Ref) ([]writebehind.Fate, error) {
	return make([]writebehind.Fate, len(refs)), nil
}

func TestShared_DeliveriesInAnOutageParkNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := handed{journaltest.NewMemory(), map[string]int{"often": 1000}}
		tx := &writebehind.Tx{}
		for _, key := range []string{"often", "a", "b"} {
			tx.Put = append(tx.Put, writebehind.Record{Key: key, Kind: writebehind.Set, Value: []byte(`"v"`), Enqueued: time.Now()})
		}
		if err := j.Commit(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
		s := newSource()
		var down atomic.Bool
		down.Store(true)
		var calls [][]string
		s.before = func(_ context.Context, ops []writebehind.Op[string]) error {
			if down.Load() {
				return errDown
			}
			var keys []string
			for _, o := range ops {
				keys = append(keys, o.Key)
			}
			slices.Sort(keys)
			calls = append(calls, keys)
			return nil
		}
		w := newWriter(t, writebehind.Config[string]{Sink: s, Journal: j, Concurrency: 1})
		defer closeNow(t, w)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := w.Stats().Dead; n != 0 {
			t.Errorf("%d parked in an outage", n)
		}
		down.Store(false)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if st := w.Stats(); st.Applied != 3 || st.Dead != 0 {
			t.Errorf("stats %+v", st)
		}
		// It may be what killed those 1000: the others go first, and none goes with it.
		if n := len(calls); n == 0 || !slices.Equal(calls[n-1], []string{"often"}) {
			t.Errorf("calls %v", calls)
		}
	})
}

func TestRedrive_UnreadableOnceItCanBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := journaltest.NewMemory()
		good := writebehind.Record{Key: "k", Kind: writebehind.Set, Value: []byte(`"v"`), Enqueued: time.Now()}
		raw, _ := good.AppendBinary(nil)
		tx := &writebehind.Tx{Put: []writebehind.Record{
			{Key: "k", Kind: writebehind.Unreadable, Value: raw, Dead: "of a newer version", Died: time.Now()},
			{Key: "l", Kind: writebehind.Unreadable, Value: []byte("?"), Dead: "corrupt", Died: time.Now()},
		}}
		if err := j.Commit(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
		s := newSource()
		w := newWriter(t, writebehind.Config[string]{Sink: s, Journal: j})
		defer closeNow(t, w)
		if n, err := w.Redrive(t.Context()); n != 1 || err == nil {
			t.Errorf("redriven %d, %v", n, err)
		}
		flush(t, w)
		if st := w.Stats(); st.Applied != 1 || st.Letters != 1 {
			t.Errorf("stats %+v", st)
		}
	})
}
