package talktest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
)

// hammer is two processes that change keys of one record, tell each other, and read them through
// their L1s.
type hammer struct {
	kind      Kind
	processes [2]process
	record    [hammered]keyState
	stop      context.CancelFunc
	writers   sync.WaitGroup
	wrote     atomic.Int64 // changes that the others were told of
}

// process is a service with an L1.
type process struct {
	source backends.Invalidator
	l1     *sinktest.L1
}

// keyState is a key in the source of record.
type keyState struct {
	latest atomic.Int64 // version
	told   atomic.Int64 // the newest version of which the others were told
}

const (
	hammered = 16                   // keys
	pace     = 2 * time.Millisecond // between two changes of one process
)

// swing starts processes of a kind, with a client each, and waits until their links are up. The test
// ends them.
func swing(t *testing.T, k Kind, connect func() goredis.UniversalClient) *hammer {
	t.Helper()
	h := &hammer{kind: k}
	for i := range h.processes {
		s := k.source(t, connect(), namespace)
		h.processes[i] = process{s, sinktest.Watch(t, s)}
	}
	ctx, cancel := context.WithCancel(t.Context())
	h.stop = cancel
	for i := range h.processes {
		h.writers.Go(func() { h.run(ctx, i) })
	}
	t.Cleanup(func() {
		cancel()
		h.writers.Wait()
	})
	return h
}

// run is what one process does: it changes its half of the keys, and reads all.
func (h *hammer) run(ctx context.Context, i int) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	p := h.processes[i]
	for n := i; ctx.Err() == nil; n += len(h.processes) {
		for k := range h.record {
			p.l1.Fill(keyName(k), h.record[k].latest.Load)
		}
		k := n % hammered
		version := h.record[k].latest.Add(1)
		p.l1.Drop(keyName(k)) // at once, not by way of the network
		if p.source.Publish(ctx, []string{keyName(k)}) == nil {
			h.record[k].told.Store(version)
			h.wrote.Add(1)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func keyName(k int) string { return fmt.Sprintf("%s:%d", namespace, k) }

// goesOn waits until the others are told of changes again.
func (h *hammer) goesOn(t testing.TB) {
	t.Helper()
	n := h.wrote.Load()
	within(t, h.kind.Name+": changes are told again", func() bool { return h.wrote.Load() > n+hammered })
}

// everywhere runs do for each process's L1.
func (h *hammer) everywhere(do func(l *sinktest.L1)) {
	for _, p := range h.processes {
		do(p.l1)
	}
}

// down waits until every link is, and then lets the L1s hold keys that have changed since.
func (h *hammer) down(t testing.TB) {
	t.Helper()
	h.everywhere(func(l *sinktest.L1) {
		l.Await(t, h.kind.Name+": the link is down", func(s sinktest.State) bool { return !s.Up })
		l.PutOld(old)
	})
}

// up waits until every link is, and has forgotten what changed while it was down.
func (h *hammer) up(t testing.TB) {
	t.Helper()
	h.everywhere(func(l *sinktest.L1) {
		l.Await(t, h.kind.Name+": the link is up", func(s sinktest.State) bool { return s.Up })
		l.Gone(t, old)
	})
	h.goesOn(t)
}

// old is a key that nobody speaks of when the link is up.
const old = namespace + ":old"

// flushed waits until every L1 has been flushed because of what act does.
func (h *hammer) flushed(t testing.TB, act func()) {
	t.Helper()
	var before [2]int
	for i, p := range h.processes {
		before[i] = len(p.l1.State().Flushes)
		p.l1.Put(old)
	}
	act()
	for i, p := range h.processes {
		p.l1.Await(t, h.kind.Name+": a flush", func(s sinktest.State) bool { return len(s.Flushes) > before[i] })
		p.l1.Gone(t, old)
	}
}

// settle stops the hammer. No L1 may be left with what is not the latest, of what it was told.
func (h *hammer) settle(t testing.TB) {
	t.Helper()
	h.goesOn(t)
	h.stop()
	h.writers.Wait()
	for k := range h.record {
		told := h.record[k].told.Load()
		h.everywhere(func(l *sinktest.L1) {
			l.Await(t, fmt.Sprintf("%s: version %d of %s or none is held", h.kind.Name, told, keyName(k)), func(s sinktest.State) bool {
				return !s.Keys[keyName(k)] || s.Version[keyName(k)] >= told
			})
		})
	}
	t.Logf("%s: %d changes", h.kind.Name, h.wrote.Load())
}
