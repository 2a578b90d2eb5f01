package main

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/bench/internal/hammer"
	"github.com/hearthcache/hearth/fallback"
	"github.com/hearthcache/hearth/internal/faultproxy"
)

// disturb does to the processes what the scenario is about, until ctx ends.
func (s *site) disturb(ctx context.Context, o *outcome) error {
	o.kind = s.servers["old"].Kind()
	switch s.run.Scenario {
	case inFleet:
		return s.migrate(ctx, o)
	case mixed:
		for i := range processes { // a copy takes longer than a write
			slow := faultproxy.Fault{Down: faultproxy.Flow{Jitter: time.Millisecond}}
			s.old[i].Set(slow)
			s.new[i].Set(slow)
		}
		<-ctx.Done()
	case cut:
		s.cutOne(ctx, o)
	case own:
		s.comeBack(ctx, o)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// fault makes one way fail for a while.
func fault(ctx context.Context, p *faultproxy.Proxy) {
	defer p.Clear()
	switch rand.IntN(4) {
	case 0: // resets in the middle of requests
		for range 5 {
			p.Set(faultproxy.Fault{Up: faultproxy.Flow{CutAfter: 1 + rand.Int64N(200)}})
			pause(ctx, 30*time.Millisecond)
		}
	case 1: // resets in the middle of answers: done, and nobody knows
		for range 5 {
			p.Set(faultproxy.Fault{Down: faultproxy.Flow{CutAfter: 1 + rand.Int64N(200)}})
			pause(ctx, 30*time.Millisecond)
		}
	case 2: // a black hole, and everything it held arrives late
		p.Set(faultproxy.Fault{Up: faultproxy.Flow{Stall: true}, Down: faultproxy.Flow{Stall: true}})
		pause(ctx, 100*time.Millisecond+rand.N(300*time.Millisecond))
	case 3: // refused
		p.Set(faultproxy.Fault{Refuse: true})
		p.ResetAll()
		pause(ctx, 100*time.Millisecond+rand.N(300*time.Millisecond))
	}
}

// cutOne is scenario cut, again and again: the stores are filled, the first process loses old,
// and then it writes.
func (s *site) cutOne(ctx context.Context, o *outcome) {
	stage := func(n uint64, d time.Duration) {
		s.history.Word(wordStage).Store(n)
		s.wait(ctx, d, nil)
	}
	for ctx.Err() == nil {
		stage(stageFill, settled)
		stage(stageRead, settled)
		s.old[0].Set(faultproxy.Fault{Refuse: true})
		s.old[0].ResetAll()
		o.Faults++
		stage(stageCut, settled)
		stage(stageRead, settled)
		s.old[0].Clear()
		s.delivered(ctx)
	}
}

// comeBack is scenario own, again and again: new is filled, every process goes back to old, loses
// new, writes, and returns to new the moment it can be reached.
func (s *site) comeBack(ctx context.Context, o *outcome) {
	stage := func(n uint64, d time.Duration) {
		s.history.Word(wordStage).Store(n)
		s.wait(ctx, d, nil)
	}
	for ctx.Err() == nil {
		stage(stageFill, settled)
		stage(stageRead, settled/2)
		for _, p := range s.new {
			p.Set(faultproxy.Fault{Refuse: true})
			p.ResetAll()
			o.Faults++
		}
		stage(stageCut, settled)
		stage(stageRead, settled)
		s.history.Word(wordStage).Store(stageFill)
		s.clear()
	}
}

// delivered waits until nothing is owed any more.
func (s *site) delivered(ctx context.Context) {
	s.wait(ctx, 10*tick, func() bool { return s.history.Word(wordOwed).Load() == 0 })
}

// wait waits until every process has had time to do something for d, during which ok holds.
// On a machine that is busy that is longer than d.
func (s *site) wait(ctx context.Context, d time.Duration, ok func() bool) {
	since := s.beats()
	for ctx.Err() == nil {
		pause(ctx, tick)
		if ok != nil && !ok() {
			since = s.beats()
			continue
		}
		if s.beaten(since) >= d {
			return
		}
	}
}

// beats are the ticks of the processes so far.
func (s *site) beats() (all [processes]uint16) {
	word := s.history.Word(wordBeats).Load()
	for i := range all {
		all[i] = uint16(word >> (16 * i))
	}
	return all
}

// beaten is how much time the ticks since then are worth, of the process that had the fewest.
func (s *site) beaten(since [processes]uint16) time.Duration {
	least := uint16(math.MaxUint16)
	for i, now := range s.beats() {
		least = min(least, now-since[i])
	}
	return time.Duration(least) * tick
}

// operator returns what moves the fleet and serves nothing.
func (s *site) operator() (*fallback.Store, *fallback.Fleet, error) {
	store, err := fallback.New(fallback.Config{
		New: fallback.Member{Store: open(s.run.New, s.servers["new"].Addr(), time.Second)},
		Old: []fallback.Member{{Store: open(s.run.Old, s.servers["old"].Addr(), time.Second)}},
	})
	if err != nil {
		return nil, nil, err
	}
	fleet, err := fallback.NewFleet(store, fleetConfig(s.servers["record"].Addr(), "operator"))
	return store, fleet, err
}

// found makes the fleet record, so that the processes need not wait to hear of others.
func (s *site) found() error {
	store, fleet, err := s.operator()
	if err != nil {
		return err
	}
	defer store.Close()
	return fleet.Found(context.Background())
}

// migrate leads the fleet up and down through the phases.
func (s *site) migrate(ctx context.Context, o *outcome) error {
	store, operator, err := s.operator()
	if err != nil {
		return err
	}
	defer store.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	well := &state{}
	if s.run.Goal > 0 { // else there is no time for it
		calm := s.calm(well)
		steady := s.steady(ctx, operator, calm)
		wg.Go(func() { s.watchLoad(ctx, calm, steady, o) })
	}
	wg.Go(func() { o.Faults, o.Kills = s.faults(ctx, well) })
	f := &foreigner{site: s, store: store, operator: operator}
	wg.Go(func() { o.Foreign = f.write(ctx) })
	route := []fallback.Phase{
		fallback.PhaseMirror, fallback.Ramp(30), fallback.Ramp(70), fallback.PhaseNew, fallback.PhaseRetire,
		fallback.PhaseNew, fallback.Ramp(50), fallback.PhaseMirror, fallback.PhaseOld,
	}
	for i := 0; ctx.Err() == nil; i++ {
		to := route[i%len(route)]
		changes := authority(operator.Record().Phase) != authority(to)
		if changes {
			f.handOver(ctx)
		}
		if operator.Advance(ctx, to) == nil {
			if changes { // old was filled again on the way, and answers while new fails
				f.handOver(ctx)
			}
			o.Changes++
			f.phase.Store(uint32(to))
		}
		pause(ctx, 300*time.Millisecond+rand.N(settled))
	}
	return nil
}

// authority is "old" or "new", or "" where it depends on the key.
func authority(p fallback.Phase) string {
	switch {
	case p <= fallback.PhaseMirror:
		return "old"
	case p >= fallback.PhaseNew:
		return "new"
	}
	return ""
}

// foreigner is another client, which knows nothing of leases and frames: it commits, and writes a
// plain value into the authority.
type foreigner struct {
	site     *site
	store    *fallback.Store
	operator *fallback.Fleet
	phase    atomic.Uint32
	mu       sync.Mutex
	dirty    bool
}

func (f *foreigner) write(ctx context.Context) (n int) {
	h := f.site.history
	clients := map[string]backends.Store{
		"old": open(f.site.run.Old, f.site.servers["old"].Addr(), 10*time.Second),
		"new": open(f.site.run.New, f.site.servers["new"].Addr(), 10*time.Second),
	}
	for ctx.Err() == nil {
		pause(ctx, rand.N(20*time.Millisecond))
		f.mu.Lock()
		at, ok := clients[authority(fallback.Phase(f.phase.Load()))]
		if !ok {
			f.mu.Unlock()
			continue
		}
		k := keysEach - 1 - rand.IntN(foreignKeys)
		id := h.Write(k)
		h.Word(wordWrites).Add(1)
		if at.Set(ctx, namespace+":"+hammer.Name(k), backends.Item{Value: plain(id), TTL: 10 * time.Minute}) == nil {
			h.Complete(k, id)
			n++
		}
		f.dirty = true
		f.mu.Unlock()
	}
	return n
}

// handOver stops the foreign client, and makes both stores forget what it wrote.
func (f *foreigner) handOver(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.phase.Store(uint32(fallback.Ramp(50))) // no authority of its own
	for k := keysEach - foreignKeys; k < keysEach; k++ {
		for ctx.Err() == nil && f.store.Delete(ctx, namespace+":"+hammer.Name(k)) != nil {
			pause(ctx, 10*time.Millisecond)
		}
	}
}
