package fallback

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/tier"
)

// hang makes every call to the record wait until its context ends.
func hang(record *backendtest.Faulty) {
	record.Inject(backendtest.Fault{Block: make(chan struct{}), Times: -1})
}

// cached is a cache without L1 over a process of a migration, with ten records that it has.
type cached struct {
	*tier.Cache[string]
	t     *testing.T
	loads int
}

func cacheOver(t *testing.T, s *Store) *cached {
	t.Helper()
	c := &cached{t: t}
	var err error
	c.Cache, err = tier.New(tier.Config[string]{
		Namespace: "records", TTL: 24 * time.Hour, Local: tier.Local[string]{Disabled: true},
		Remotes: []tier.Remote{{Name: "migration", Store: s}},
		Loader: tier.LoaderFunc[string](func(context.Context, string) (string, error) {
			c.loads++
			return "v", nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	c.read()
	c.loads = 0
	return c
}

// read reads each record, and returns how long the slowest took.
func (c *cached) read() (slowest time.Duration) {
	c.t.Helper()
	for i := range 10 {
		start := time.Now()
		if v, err := c.Get(c.t.Context(), fmt.Sprint("k", i)); err != nil || v != "v" {
			c.t.Errorf("read: %q, %v", v, err)
		}
		slowest = max(slowest, time.Since(start))
	}
	return slowest
}

func TestFleet_RecordThatHangsKeepsNoReadFromTheStores(t *testing.T) {
	for _, row := range []struct {
		name                 string
		phase                Phase
		heartbeat, deadAfter time.Duration
	}{
		{"in old", PhaseOld, 0, 0},
		{"in a ramp", Ramp(50), 0, 0},
		{"in new", PhaseNew, 0, 0},
		{"with as few heartbeats as are allowed", PhaseNew, 2 * time.Second, 6 * time.Second},
		{"with many heartbeats", PhaseOld, time.Second, time.Minute},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				record := backendtest.NewFaulty(memory.New(memory.Config{}), 1)
				p := newPair(t, row.phase)
				defer p.s.Close()
				f, err := NewFleet(p.s, FleetConfig{Store: record, Key: "migration", Heartbeat: row.heartbeat, DeadAfter: row.deadAfter})
				if err != nil {
					t.Fatal(err)
				}
				p.ok(f.Found(t.Context()))
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); _ = f.Join(ctx) }()
				synctest.Wait()
				c := cacheOver(t, p.s)
				time.Sleep(time.Minute)
				hang(record)
				for end := time.Now().Add(3 * f.cfg.DeadAfter); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
					if took := c.read(); took > 0 {
						t.Fatalf("a read waited %v for the record", took)
					}
				}
				if c.loads > 0 {
					t.Errorf("%d loads; both stores are well", c.loads)
				}
				inPhase(t, []*pair{p}, max(row.phase, PhaseMirror))
				record.Heal()
				time.Sleep(2 * f.cfg.Heartbeat)
				if c.read(); c.loads > 0 || p.s.Stats().Fleet.Cut {
					t.Errorf("%d loads, cut: %v", c.loads, p.s.Stats().Fleet.Cut)
				}
				inPhase(t, []*pair{p}, row.phase)
				cancel()
				<-done
				p.ok(c.Close(t.Context()))
			})
		})
	}
}

// Join's reports hold the turn, and so do the steps of an operator in the same process.
func TestFleet_AdvanceThatHangsKeepsNoReadFromTheStores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1)
		defer c.close()
		cache := cacheOver(t, c.pairs[0].s)
		hang(c.record)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var both sync.WaitGroup
		both.Go(func() { _ = c.fleets[0].Advance(ctx, PhaseNew) })
		both.Go(func() { _ = c.fleets[0].Join(ctx) })
		for ctx.Err() == nil {
			cache.read()
			time.Sleep(20 * time.Millisecond)
		}
		if cache.loads > 0 {
			t.Errorf("%d loads", cache.loads)
		}
		both.Wait()
		c.pairs[0].ok(cache.Close(t.Context()))
	})
}

// A program that reports by itself, and has stopped to: its calls have to ask.
func TestFleet_CallsThatAskARecordThatHangsHaveTimeLeftForTheStores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1)
		defer c.close()
		cache := cacheOver(t, c.pairs[0].s)
		c.beat(0)
		hang(c.record)
		time.Sleep(DefaultDeadAfter/2 + time.Second)
		if took := cache.read(); took > askFor {
			t.Errorf("a read took %v", took)
		}
		if took := cache.read(); took > 0 || cache.loads > 0 {
			t.Errorf("once it was not answered, a read took %v; %d loads", took, cache.loads)
		}
		inPhase(t, c.pairs, PhaseMirror)
		for range 100 {
			time.Sleep(time.Second)
			cache.read()
		}
		if cache.loads > 0 {
			t.Errorf("%d loads", cache.loads)
		}
		c.pairs[0].ok(cache.Close(t.Context()))
	})
}

// Others can have left it out only after DeadAfter. Then a record that is merely slow is waited for.
func TestFleet_ProcessThatStoodStillForLongWaitsForASlowRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2)
		defer c.close()
		if err := c.advance(PhaseNew, 2*time.Minute, 0); err != nil { // without b
			t.Fatal(err)
		}
		a, b := c.pairs[0], c.pairs[1]
		a.ok(a.s.Set(t.Context(), "k", text("new")))
		a.put(a.old, "k", "stale: what b must not read")
		slow(c.record, 200*time.Millisecond)
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if it, err := b.s.Get(short, "k"); err == nil {
			t.Errorf("without an answer: %q", it.Value)
		}
		if it, err := b.s.Get(t.Context(), "k"); err != nil || string(it.Value) != "new" {
			t.Errorf("after it stood still: %q, %v", it.Value, err)
		}
		inPhase(t, c.pairs, PhaseNew)
	})
}

func TestFleet_ProcessThatStoodStillForLongGoesOnIfTheRecordHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1)
		defer c.close()
		b := c.pairs[0]
		b.put(b.old, "k", "v")
		hang(c.record)
		time.Sleep(time.Minute)
		start := time.Now()
		for time.Since(start) < DefaultHeartbeat {
			ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
			_, _ = b.s.Get(ctx, "k")
			cancel()
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		inPhase(t, c.pairs, PhaseMirror)
		start = time.Now()
		b.gets("k", "v")
		if took := time.Since(start); took > 0 {
			t.Errorf("all calls together ask for a heartbeat at most, and one took %v after it", took)
		}
	})
}

// To hold back is safe beside all others only as long as they wait.
func TestFleet_ProcessThatHoldsBackAndStoodStillAsksBeforeItsNextCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2)
		defer c.close()
		b := c.pairs[1]
		c.record.Down(true)
		time.Sleep(DefaultDeadAfter / 2)
		_ = c.fleets[1].Beat(t.Context())
		if !b.s.Stats().Fleet.Cut {
			t.Fatal("b does not hold back")
		}
		c.record.Down(false)
		if err := c.advance(PhaseNew, 2*time.Minute, 0); err != nil { // without b
			t.Fatal(err)
		}
		a := c.pairs[0]
		a.ok(a.s.Set(t.Context(), "k", text("new")))
		a.put(a.old, "k", "stale: what b must not read")
		b.gets("k", "new")
		inPhase(t, c.pairs, PhaseNew)
	})
}

// The answer, or that there is none, is about the time before the process stood still once more.
func TestFleet_CallThatStoodStillWhileItAskedAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 2)
		defer c.close()
		a, b := c.pairs[0], c.pairs[1]
		a.put(a.old, "k", "stale: what b must not read")
		c.while(DefaultDeadAfter*2/3, 0)
		release := make(chan struct{})
		c.record.Inject(backendtest.Fault{Op: backendtest.OpGet, Block: release, Err: backends.ErrUnavailable})
		now := c.fleets[1].cfg.Now
		var stood time.Duration
		c.fleets[1].cfg.Now = func() time.Time { return now().Add(stood) }
		done := make(chan backends.Item)
		go func() {
			it, _ := b.s.Get(t.Context(), "k")
			done <- it
		}()
		synctest.Wait()
		stood = time.Hour
		close(release)
		<-done
		if heard := c.fleets[1].silence(); heard > time.Minute {
			t.Errorf("its last report was %v ago", heard)
		}
	})
}

func TestFleet_ChangesWaitForARecordThatHangsOnceAHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1)
		defer c.close()
		p := c.pairs[0]
		p.n.Down(true)
		hang(c.record)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = c.fleets[0].Join(ctx) }() // it holds the turn
		synctest.Wait()
		waited := 0
		for start := time.Now(); time.Since(start) < time.Minute; time.Sleep(50 * time.Millisecond) {
			began := time.Now()
			call, stop := context.WithTimeout(ctx, 250*time.Millisecond)
			if err := p.s.Delete(call, "k"); err == nil {
				t.Error("neither new nor the record knows of it")
			}
			stop()
			if time.Since(began) > 0 {
				waited++
			}
		}
		if waited > 4 {
			t.Errorf("%d changes waited", waited)
		}
		cancel()
		<-done
	})
}

// queue answers one request at a time, as a server does: who tries in vain keeps the others waiting.
type queue struct {
	*memory.Store
	turn  chan struct{}
	asked atomic.Int64
}

func (q *queue) serve() {
	q.turn <- struct{}{}
	time.Sleep(200 * time.Microsecond)
	q.asked.Add(1)
	<-q.turn
}

func (q *queue) Get(ctx context.Context, key string) (backends.Item, error) {
	q.serve()
	return q.Store.Get(ctx, key)
}

func (q *queue) CompareAndSwap(ctx context.Context, key string, tok backends.Token, it backends.Item) error {
	q.serve()
	return q.Store.CompareAndSwap(ctx, key, tok, it)
}

func TestFleet_ManyThatJoinAtOnceLetEachOtherReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 60
		record := &queue{Store: memory.New(memory.Config{}), turn: make(chan struct{}, 1)}
		old, fresh := memory.New(memory.Config{}), memory.New(memory.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		var fleets []*Fleet
		for i := range many {
			s := must(t, Config{New: Member{Store: fresh}, Old: []Member{{Store: old}}})
			defer s.Close()
			f, err := NewFleet(s, FleetConfig{Store: record, Key: "migration", Process: fmt.Sprint("p", i)})
			if err != nil {
				t.Fatal(err)
			}
			if fleets = append(fleets, f); i == 0 {
				if err := f.Found(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
		record.asked.Store(0)
		for _, f := range fleets {
			all.Go(func() { _ = f.Join(ctx) })
		}
		time.Sleep(DefaultHeartbeat * 3 / 4) // before anybody reports again
		for _, f := range fleets {
			if f.heard.Load() == nil {
				t.Errorf("%s has not reported", f.cfg.Process)
			}
		}
		if n := record.asked.Load(); n > 30*many {
			t.Errorf("%d requests for %d reports", n, many)
		}
		cancel()
		all.Wait()
	})
}
