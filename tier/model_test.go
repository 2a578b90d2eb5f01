package tier

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/internal/checker"
	"github.com/hearthcache/hearth/internal/fence"
)

// The model test runs random plans: two processes (caches that share stores) read and change a
// few keys while stores are slow and fail. Time is a bubble's, so that a plan with its waits
// takes a millisecond, and the exact checker judges every read.

const (
	modelProcs = 2
	modelKeys  = 2
	modelSpan  = 60 // ms in which a plan's steps begin
)

// modelPlan is one run.
type modelPlan struct {
	Tiers   int  // remote tiers
	L1      bool // each process has one
	Through bool // changes go through a Writer, else they are invalidations
	Seed    uint64
	Faults  []planFault
	Steps   []planStep
}

// planFault makes calls of one process to one tier fail for some time.
type planFault struct {
	Proc, Tier   int
	From, For    int // ms
	Percent      int // of the calls; 100: the tier is down
	Applied      bool
	OnlyDeletion bool
}

// planStep is a read or a change.
type planStep struct {
	At, Proc, Key int
	Kind          stepKind
}

type stepKind int

const (
	stepRead stepKind = iota
	stepReadMany
	stepReadBriefly // with a deadline
	stepChange
	stepEvict // from the nearest tier
	numSteps
)

var plans = rapid.Custom(func(t *rapid.T) modelPlan {
	return modelPlan{
		Tiers:   rapid.IntRange(1, 2).Draw(t, "tiers"),
		L1:      rapid.Bool().Draw(t, "L1"),
		Through: rapid.IntRange(0, 3).Draw(t, "through") == 0,
		Seed:    rapid.Uint64().Draw(t, "seed"),
		Faults: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) planFault {
			return planFault{
				Proc: rapid.IntRange(0, modelProcs-1).Draw(t, "proc"), Tier: rapid.IntRange(0, 1).Draw(t, "tier"),
				From: rapid.IntRange(0, modelSpan).Draw(t, "from"), For: rapid.IntRange(1, modelSpan/2).Draw(t, "for"),
				Percent: rapid.SampledFrom([]int{20, 50, 100}).Draw(t, "percent"), Applied: rapid.Bool().Draw(t, "applied"),
				OnlyDeletion: rapid.Bool().Draw(t, "deletions"),
			}
		}), 0, 3).Draw(t, "faults"),
		Steps: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) planStep {
			return planStep{
				At: rapid.IntRange(0, modelSpan).Draw(t, "at"), Proc: rapid.IntRange(0, modelProcs-1).Draw(t, "proc"),
				Key: rapid.IntRange(0, modelKeys-1).Draw(t, "key"), Kind: stepKind(rapid.IntRange(0, int(numSteps)-1).Draw(t, "kind")),
			}
		}), 1, 80).Draw(t, "steps"),
	}
})

// world is a plan under way.
type world struct {
	modelPlan
	caches []*Cache[string]
	stores [][]*backendtest.Faulty // by process and tier
	shared []*memory.Store         // by tier

	mu   sync.Mutex
	rand *rand.Rand
	all  *checker.History   // completes what every process is promised (C1)
	own  []*checker.History // by process: what it is promised beyond that (C2, C7)
	bad  []string

	loaded map[modelLoad]time.Time // when a load with that value last ended
}

// pause is a random time of up to n half milliseconds.
func (w *world) pause(n int) {
	w.mu.Lock()
	d := time.Duration(w.rand.IntN(n+1)) * time.Millisecond / 2
	w.mu.Unlock()
	time.Sleep(d)
}

func (w *world) violation(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bad = append(w.bad, fmt.Sprintf(format, args...))
}

// modelSource is the source as one process sees it.
type modelSource struct {
	*world
	proc int
}

// modelLoad is a value that a process was given by the source.
type modelLoad struct {
	proc, key int
	id        uint64
}

// Load implements Loader: the source answers with what it held a while ago.
func (s modelSource) Load(_ context.Context, key string) (string, error) {
	k, _ := strconv.Atoi(key)
	id := s.all.Current(k)
	s.pause(12)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loaded[modelLoad{s.proc, k, id}] = time.Now()
	return strconv.FormatUint(id, 10), nil
}

// fromLoad reports whether a read since began can have shared a load whose value no remote tier
// was told of, because a fault kept this process from it. C1 speaks of values from remote tiers.
func (w *world) fromLoad(s planStep, id uint64, began time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	faulty := slices.ContainsFunc(w.Faults, func(f planFault) bool { return f.Proc == s.Proc })
	end, ok := w.loaded[modelLoad{s.Proc, s.Key, id}]
	return faulty && ok && !end.Before(began)
}

// Write implements Writer.
func (w *world) Write(_ context.Context, ms []Mutation[string]) error {
	w.pause(4)
	for _, m := range ms {
		k, _ := strconv.Atoi(m.Key)
		id, _ := strconv.ParseUint(m.Value, 10, 64)
		w.histories(func(h *checker.History) { h.Commit(k, id) })
	}
	w.pause(4)
	return nil
}

// histories changes all histories at one instant, so that they agree on names and order.
func (w *world) histories(do func(h *checker.History)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range append(w.own, w.all) {
		do(h)
	}
}

// runPlan carries a plan out and returns what was wrong; "" if nothing.
func runPlan(t *testing.T, p modelPlan) string {
	w := &world{modelPlan: p, all: checker.New(modelKeys), rand: rand.New(rand.NewPCG(p.Seed, 1)), loaded: map[modelLoad]time.Time{}}
	synctest.Test(t, func(t *testing.T) {
		for range p.Tiers {
			w.shared = append(w.shared, memory.New(memory.Config{}))
		}
		for i := range modelProcs {
			w.start(t, i)
		}
		var wg sync.WaitGroup
		for _, f := range p.Faults {
			wg.Go(func() { w.inject(f) })
		}
		for _, s := range p.Steps {
			wg.Go(func() {
				time.Sleep(time.Duration(s.At) * time.Millisecond)
				w.step(s)
			})
		}
		wg.Wait()
		for _, s := range w.stores {
			for _, f := range s {
				f.Heal()
			}
		}
		time.Sleep(10 * time.Second) // every outbox is delivered, every breaker closed
		for i, c := range w.caches {
			for _, r := range c.Health().Remotes {
				if r.Owed > 0 {
					w.violation("C7: process %d still owes %d invalidations to a healthy tier", i, r.Owed)
				}
			}
			for k := range modelKeys {
				w.step(planStep{Proc: i, Key: k})
			}
		}
		for _, c := range w.caches {
			if err := c.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	return strings.Join(w.bad, "\n")
}

// start makes one process.
func (w *world) start(t *testing.T, i int) {
	cfg := Config[string]{Namespace: "m", Jitter: -1, Loader: modelSource{w, i}, Load: Load{Lease: 30 * time.Millisecond, EarlyBeta: -1}}
	cfg.Local.Disabled = !w.L1
	if w.Through {
		cfg.Writer = w
	}
	var stores []*backendtest.Faulty
	for j, s := range w.shared {
		f := backendtest.NewFaulty(s, w.Seed+uint64(i))
		f.Before(func(backendtest.Op, string) { w.pause(2) })
		f.After(func(backendtest.Op, string) { w.pause(2) })
		stores = append(stores, f)
		cfg.Remotes = append(cfg.Remotes, Remote{
			Name: strconv.Itoa(j), Store: f, Timeout: 20 * time.Millisecond,
			Breaker: Breaker{OpenFor: 10 * time.Millisecond, MaxOpenFor: 20 * time.Millisecond},
		})
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.caches, w.stores, w.own = append(w.caches, c), append(w.stores, stores), append(w.own, checker.New(modelKeys))
}

// inject makes one fault happen and ends all of its store's.
func (w *world) inject(f planFault) {
	time.Sleep(time.Duration(f.From) * time.Millisecond)
	s := w.stores[f.Proc][f.Tier%w.Tiers]
	ops := []backendtest.Op{""}
	if f.OnlyDeletion {
		ops = []backendtest.Op{backendtest.OpDelete, backendtest.OpDeleteMany}
	}
	for _, op := range ops {
		s.Inject(backendtest.Fault{Op: op, Rate: float64(f.Percent) / 100, Applied: f.Applied, Times: -1})
	}
	time.Sleep(time.Duration(f.For) * time.Millisecond)
	s.Heal()
}

func (w *world) step(s planStep) {
	c, ctx, key := w.caches[s.Proc], context.Background(), strconv.Itoa(s.Key)
	switch s.Kind {
	case stepRead:
		w.read(s, func() (string, error) { return c.Get(ctx, key) })
	case stepReadMany:
		w.read(s, func() (string, error) {
			m, err := c.GetMany(ctx, []string{"0", "1"})
			return m[key], err
		})
	case stepReadBriefly:
		const brief = 3 * time.Millisecond
		began := time.Now()
		ctx, cancel := context.WithTimeout(ctx, brief)
		defer cancel()
		_, err := c.Get(ctx, key)
		if took := time.Since(began); took > brief {
			w.violation("C6: a read with a deadline of %v took %v: %v", brief, took, err)
		}
	case stepChange:
		w.change(s)
	case stepEvict:
		_ = w.shared[0].Delete(ctx, "m:"+key)
	}
}

// read makes one read and judges it.
func (w *world) read(s planStep, get func() (string, error)) {
	own, all, began := w.own[s.Proc].Begin(s.Key), w.all.Begin(s.Key), time.Now()
	v, err := get()
	if took := time.Since(began); took > time.Second {
		w.violation("C5: a read took %v", took)
	}
	if err != nil {
		w.violation("C5: a read failed although the source answers: %v", err)
		return
	}
	id, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		w.violation("a read returned %q", v)
		return
	}
	if got := own.Judge(id); got != checker.Fine {
		w.violation("C2, C7: process %d read value %d of key %d at %v: %v", s.Proc, id, s.Key, time.Now().UnixMilli()%1e5, got)
	}
	if got := all.Judge(id); got != checker.Fine && !w.L1 && !w.fromLoad(s, id, began) {
		w.violation("C1: process %d read value %d of key %d: %v", s.Proc, id, s.Key, got)
	}
}

// change makes one change; it is complete for all if it was delivered, else for its process.
func (w *world) change(s planStep) {
	c, ctx, key := w.caches[s.Proc], context.Background(), strconv.Itoa(s.Key)
	var id uint64
	w.histories(func(h *checker.History) { id = h.Name(s.Key) })
	var err error
	if w.Through {
		err = c.Set(ctx, key, strconv.FormatUint(id, 10))
	} else {
		w.histories(func(h *checker.History) { h.Commit(s.Key, id) })
		err = c.Invalidate(ctx, key)
	}
	switch {
	case err == nil:
		w.histories(func(h *checker.History) {
			if h == w.all || h == w.own[s.Proc] {
				h.Complete(s.Key, id)
			}
		})
	case errors.Is(err, ErrQueued):
		w.own[s.Proc].Complete(s.Key, id)
	case !errors.Is(err, backends.ErrUnknown):
		w.violation("a change failed otherwise than by being queued: %v", err)
	}
}

func TestModel_RandomPlansKeepThePromises(t *testing.T) {
	if long := os.Getenv("HEARTH_MODEL"); long != "" {
		limit, err := time.ParseDuration(long)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for began := time.Now(); time.Since(began) < limit; n++ {
			p := plans.Example(n)
			if bad := runPlan(t, p); bad != "" {
				t.Fatalf("plan %d: %s\n%+v", n, bad, p)
			}
		}
		t.Logf("%d plans in %v", n, limit)
		return
	}
	rapid.Check(t, func(rt *rapid.T) {
		if bad := runPlan(t, plans.Draw(rt, "plan")); bad != "" {
			rt.Fatal(bad)
		}
	})
}

// Without a fence, the same plans find stale values. They are bent towards what the fence is for,
// so that hundreds of plans are enough where it would be thousands.
func TestModel_EveryRemovedFenceIsFound(t *testing.T) {
	const most = 20000
	for _, row := range []struct {
		fence fence.Fence
		bend  func(p *modelPlan)
	}{
		{fence.Lease, func(*modelPlan) {}},
		{fence.Epoch, func(p *modelPlan) { p.L1 = true }},
		{fence.Order, func(p *modelPlan) { p.Tiers, p.L1, p.Through, p.Faults = 2, false, false, nil }},
		{fence.Outbox, func(p *modelPlan) {
			p.Tiers, p.L1, p.Through = 1, false, false
			p.Faults = []planFault{{For: modelSpan, Percent: 50, OnlyDeletion: true}}
		}},
		{fence.Flight, func(p *modelPlan) { p.Through, p.Faults = false, nil }},
		{fence.Seize, func(p *modelPlan) { p.Tiers, p.L1, p.Through, p.Faults = 1, false, true, nil }},
	} {
		t.Run(row.fence.String(), func(t *testing.T) {
			defer fence.Remove(row.fence)()
			for n := range most {
				p := plans.Example(n)
				row.bend(&p)
				for i := range p.Steps {
					p.Steps[i].Key = 0
				}
				if bad := runPlan(t, p); strings.Contains(bad, "stale") {
					t.Logf("found by plan %d", n)
					return
				}
			}
			t.Errorf("%d plans have found nothing", most)
		})
	}
}
