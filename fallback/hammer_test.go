package fallback

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
)

// source is the source of record for a few keys, with the exact rule of staleness: a read is
// stale if its value is older than a write that was completed before the read began.
type source struct {
	mu        sync.Mutex
	committed []int64        // newest version of each key
	completed []atomic.Int64 // newest version whose write into the cache has returned nil
}

func newSource(keys int) *source {
	return &source{committed: make([]int64, keys), completed: make([]atomic.Int64, keys)}
}

func (s *source) load(k int) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.committed[k]
}

func (s *source) commit(k int) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.committed[k]++
	return s.committed[k]
}

func (s *source) complete(k int, v int64) {
	for old := s.completed[k].Load(); v > old && !s.completed[k].CompareAndSwap(old, v); old = s.completed[k].Load() {
	}
}

func racy(seed uint64) *backendtest.Faulty {
	f := backendtest.NewFaulty(memory.New(memory.Config{}), seed)
	yield := func(backendtest.Op, string) {
		if n := rand.IntN(12); n < 3 {
			time.Sleep(time.Duration(n*n) * 10 * time.Microsecond)
		}
	}
	f.Before(yield)
	f.After(yield)
	return f
}

type hammer struct {
	t        *testing.T
	src      *source
	stores   []*Store
	stale    atomic.Int64
	reads    atomic.Int64
	hits     atomic.Int64
	setValue bool // a writer stores what it committed, instead of deleting (one writer per key)
}

func item(v int64) backends.Item {
	return backends.Item{Value: strconv.AppendInt(nil, v, 10), TTL: time.Hour}
}

func value(t testing.TB, it backends.Item) int64 {
	v, err := strconv.ParseInt(string(it.Value), 10, 64)
	if err != nil {
		t.Errorf("value %q", it.Value)
	}
	return v
}

// get reads as the tier does: Get, on a miss Acquire, load, Fill.
func (h *hammer) get(ctx context.Context, s *Store, k int) {
	key, floor := fmt.Sprint("k", k), h.src.completed[k].Load()
	h.reads.Add(1)
	check := func(it backends.Item) {
		h.hits.Add(1)
		if v := value(h.t, it); v < floor {
			h.stale.Add(1)
		}
	}
	it, err := s.Get(ctx, key)
	if rand.IntN(4) == 0 {
		r := s.GetMany(ctx, []string{key})[0]
		it, err = r.Item, r.Err
	}
	if err == nil {
		check(it)
		return
	}
	if !errors.Is(err, backends.ErrMiss) {
		return
	}
	l, it, err := s.Acquire(ctx, key, time.Second)
	switch {
	case err == nil && l == nil:
		check(it)
	case err == nil:
		v := h.src.load(k)
		if rand.IntN(3) == 0 {
			time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
		}
		_ = l.Fill(ctx, item(v))
	}
}

func (h *hammer) write(ctx context.Context, s *Store, k int) {
	key, v := fmt.Sprint("k", k), h.src.commit(k)
	var err error
	switch n := rand.IntN(4); {
	case h.setValue && n == 0:
		err = s.Set(ctx, key, item(v))
	case h.setValue && n == 1:
		err = first(s.SetMany(ctx, []backends.KeyItem{{Key: key, Item: item(v)}})...)
	case n == 2:
		err = first(s.DeleteMany(ctx, []string{key})...)
	default:
		err = s.Delete(ctx, key)
	}
	if err == nil {
		h.src.complete(k, v)
	}
}

// run lets readers and writers of every process loose for d, and longer if there were fewer than
// some hundred hits because the machine is busy.
func (h *hammer) run(d time.Duration, keys, readers int, during func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	time.AfterFunc(d, func() {
		for start := time.Now(); h.hits.Load() < 500 && time.Since(start) < time.Minute; {
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	})
	var wg sync.WaitGroup
	for i, s := range h.stores {
		for range readers {
			wg.Go(func() {
				for ctx.Err() == nil {
					h.get(h.t.Context(), s, rand.IntN(keys))
				}
			})
		}
		wg.Go(func() { // each process writes keys of its own, so that commits are written in order
			for ctx.Err() == nil {
				h.write(h.t.Context(), s, rand.IntN(keys/len(h.stores))*len(h.stores)+i)
				time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
			}
		})
	}
	if during != nil {
		during(ctx)
	}
	wg.Wait()
}

func processes(t *testing.T, n int, cfg func(i int) Config, off switches) []*Store {
	stores := make([]*Store, n)
	for i := range stores {
		stores[i] = must(t, cfg(i))
		stores[i].off = off
		stores[i].patience = time.Duration(i) * copyPatience // the first waits for no copy
	}
	return stores
}

func TestHammer_NoStaleReadBetweenNeighbouringPhases(t *testing.T) {
	pairs := [][2]Phase{
		{PhaseOld, PhaseOld}, {PhaseOld, PhaseMirror}, {PhaseMirror, PhaseMirror}, {PhaseMirror, Ramp(50)}, {Ramp(30), Ramp(70)},
		{Ramp(50), PhaseNew}, {PhaseMirror, PhaseNew}, {PhaseNew, PhaseNew}, {PhaseNew, PhaseRetire}, {PhaseMirror, PhaseRetire},
	}
	for _, both := range []bool{false, true} {
		for _, pair := range pairs {
			t.Run(fmt.Sprintf("%v|%v/%v", pair[0], pair[1], both), func(t *testing.T) {
				t.Parallel()
				old, fresh := racy(1), racy(2)
				h := &hammer{t: t, src: newSource(8), setValue: true}
				h.stores = processes(t, 2, func(i int) Config {
					return Config{New: Member{Store: fresh, Timeout: -1}, Old: []Member{{Store: old, Timeout: -1}}, Phase: pair[i], Both: both}
				}, switches{})
				h.run(300*time.Millisecond, 8, 3, nil)
				if n := h.stale.Load(); n > 0 {
					t.Errorf("%d stale reads of %d", n, h.reads.Load())
				}
				if h.hits.Load() < 100 {
					t.Errorf("only %d hits of %d reads: nothing was tested", h.hits.Load(), h.reads.Load())
				}
			})
		}
	}
}

func TestHammer_NoStaleReadWhilePhasesChange(t *testing.T) {
	t.Parallel()
	old, fresh := racy(3), racy(4)
	h := &hammer{t: t, src: newSource(9), setValue: true}
	h.stores = processes(t, 3, func(int) Config {
		return Config{New: Member{Store: fresh, Timeout: -1}, Old: []Member{{Store: old, Timeout: -1}}}
	}, switches{})
	h.run(2*time.Second, 9, 3, func(ctx context.Context) {
		up := []Phase{PhaseOld, PhaseMirror, Ramp(20), Ramp(60), PhaseNew, PhaseRetire, PhaseNew, Ramp(40), PhaseMirror}
		for i := 0; ctx.Err() == nil; i++ {
			for _, s := range h.stores { // one after the other: neighbours side by side
				_ = s.SetPhase(up[i%len(up)])
				time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond)
			}
		}
	})
	if n := h.stale.Load(); n > 0 {
		t.Errorf("%d stale reads of %d", n, h.reads.Load())
	}
	t.Logf("%d reads, %d hits", h.reads.Load(), h.hits.Load())
}

// A rule that is taken out must be seen to be missing.
func TestHammer_SeesStaleReadsWithoutARule(t *testing.T) {
	for name, off := range map[string]switches{"order": {order: true}, "lease": {lease: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stale := int64(0)
			for try := 0; try < 20 && stale == 0; try++ {
				old, fresh := racy(5), racy(6)
				h := &hammer{t: t, src: newSource(4)}
				h.stores = processes(t, 2, func(int) Config {
					return Config{New: Member{Store: fresh, Timeout: -1}, Old: []Member{{Store: old, Timeout: -1}}, Phase: PhaseNew}
				}, off)
				h.run(300*time.Millisecond, 4, 3, func(ctx context.Context) {
					for ctx.Err() == nil { // old is filled again and again, as by processes in an earlier phase
						k := rand.IntN(4)
						l, _, err := old.Caps().Leaser.Acquire(ctx, fmt.Sprint("k", k), time.Second)
						if err == nil && l != nil {
							_ = l.Fill(ctx, item(h.src.load(k)))
						}
					}
				})
				stale = h.stale.Load()
			}
			if stale == 0 {
				t.Error("no stale read was seen")
			}
		})
	}
}
