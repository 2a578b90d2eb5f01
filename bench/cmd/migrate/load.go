package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hearthcache/hearth/internal/faultproxy"
)

// state says whether both servers are well, and since when.
type state struct {
	mu    sync.Mutex
	ill   int
	since time.Time
}

func (s *state) set(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ill += n
	s.since = time.Now()
}

// well reports whether everything has been well for d, so that caches are filled again.
func (s *state) well(d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ill == 0 && time.Since(s.since) > d
}

// faults makes some ways fail and lets them recover, and now and then kills a memcached.
func (s *site) faults(ctx context.Context, well *state) (faults, kills int) {
	for round := 1; ctx.Err() == nil; round++ {
		well.set(1)
		for range 1 + rand.IntN(3) {
			var wg sync.WaitGroup
			ways := slices.Concat(s.old[:], s.new[:])
			switch rand.IntN(3) { // one store only, or both
			case 0:
				ways = s.old[:]
			case 1:
				ways = s.new[:]
			}
			some := 1 + rand.IntN(len(ways))
			for _, i := range rand.Perm(len(ways))[:some] {
				wg.Go(func() { fault(ctx, ways[i]) })
				faults++
			}
			wg.Wait()
			pause(ctx, rand.N(200*time.Millisecond))
		}
		if round%2 == 0 && s.kill(ctx) {
			kills++
		}
		well.set(-1)
		pause(ctx, 2500*time.Millisecond)
	}
	return faults, kills
}

// kill kills the memcached and lets it come back, empty. Nobody writes meanwhile, and what is owed
// is delivered before.
func (s *site) kill(ctx context.Context) bool {
	name, ways := "old", s.old
	if s.run.New == "memcached" {
		name, ways = "new", s.new
	}
	s.history.Word(wordStage).Store(stagePause)
	defer s.history.Word(wordStage).Store(0)
	s.wait(ctx, settled, nil)
	s.delivered(ctx)
	if ctx.Err() != nil {
		return false
	}
	// Nobody's connection outlives it in a black hole, to be delivered to its successor.
	for _, p := range ways {
		p.Set(faultproxy.Fault{Refuse: true})
	}
	ok := s.servers[name].Kill() == nil
	pause(ctx, 50*time.Millisecond)
	ok = s.servers[name].Start() == nil && ok
	s.clear()
	return ok
}

// watchLoad returns the highest share of loads to writes of any second in which all was well, in
// proportion to that before the first phase.
func (s *site) watchLoad(ctx context.Context, well *state) (peak float64) {
	const window = time.Second
	h := s.history
	share := func(d time.Duration) (float64, bool) {
		ok := well.well(window)
		loads, writes := h.Word(wordLoads).Load(), h.Word(wordWrites).Load()
		pause(ctx, d)
		loads, writes = h.Word(wordLoads).Load()-loads, h.Word(wordWrites).Load()-writes
		return float64(loads) / float64(max(writes, 1)), ok && well.well(0) && ctx.Err() == nil && writes > 0
	}
	pause(ctx, 800*time.Millisecond) // the first fill
	steady, _ := share(1600 * time.Millisecond)
	for ctx.Err() == nil {
		if now, ok := share(window); ok && steady > 0 {
			peak = max(peak, now/steady)
		}
	}
	return peak
}

func plain(id uint64) []byte { return strconv.AppendUint(nil, id, 10) }
