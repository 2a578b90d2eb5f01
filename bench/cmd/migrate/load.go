package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hearthcache/hearth/fallback"
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

// Of the windows that the load is taken over. A count of 1000 varies by 3 % by chance.
const (
	windowWrites = 1000
	fewWrites    = 200              // fewer say nothing
	steadyFor    = 15 * time.Second // at most, with each server alone
	wellFor      = time.Second      // before the load counts: caches are filled again
	piece        = 100 * time.Millisecond
)

// load is what was loaded from the source while so much was written to it.
type load struct{ loads, writes uint64 }

func (l load) share() float64 { return float64(l.loads) / float64(max(l.writes, 1)) }

// window adds up what is loaded while all is well and every process has its turn, until there were
// enough writes or ctx ends. On a machine that keeps processes waiting, readers load themselves
// what another is loading, and servers are late that nobody disturbs: the load is the machine's.
func (s *site) window(ctx context.Context, enough uint64, calm func() bool) (sum load) {
	now := func() load {
		return load{s.history.Word(wordLoads).Load(), s.history.Word(wordWrites).Load()}
	}
	for ctx.Err() == nil && sum.writes < enough {
		was, before, turns, began := calm(), now(), s.beats(), time.Now()
		pause(ctx, piece)
		if after := now(); was && calm() && s.beaten(turns) > time.Since(began)/2 {
			sum.loads += after.loads - before.loads
			sum.writes += after.writes - before.writes
		}
	}
	return sum
}

// steady takes the share of loads to writes with each server alone, in PhaseOld and in PhaseRetire,
// before anything is disturbed, and returns that of the busier one: how often readers load what
// another is loading differs between servers. It is zero if there were too few writes to tell.
func (s *site) steady(ctx context.Context, operator *fallback.Fleet, calm func() bool) (most load) {
	advance := func(ps ...fallback.Phase) {
		for _, p := range ps {
			for ctx.Err() == nil && operator.Advance(ctx, p) != nil {
				pause(ctx, 10*time.Millisecond)
			}
		}
	}
	alone := func() load {
		pause(ctx, 800*time.Millisecond) // the first fill
		some, cancel := context.WithTimeout(ctx, steadyFor)
		defer cancel()
		return s.window(some, windowWrites, calm)
	}
	old := alone()
	advance(fallback.PhaseMirror, fallback.PhaseNew, fallback.PhaseRetire)
	retired := alone()
	advance(fallback.PhaseNew, fallback.PhaseMirror, fallback.PhaseOld)
	if min(old.writes, retired.writes) < fewWrites || min(old.loads, retired.loads) == 0 {
		return load{}
	}
	if old.share() > retired.share() {
		return old
	}
	return retired
}

// watchLoad takes the share of loads to writes over windows in which all was well, and notes the
// highest in proportion to steady.
func (s *site) watchLoad(ctx context.Context, calm func() bool, steady load, o *outcome) {
	if o.WindowWrites = steady.writes; steady.writes == 0 {
		return
	}
	for {
		now := s.window(ctx, steady.writes, calm)
		if now.writes < steady.writes {
			return
		}
		o.Windows++
		o.PeakLoad = max(o.PeakLoad, now.share()/steady.share())
	}
}

// calm returns whether all has been well for a while: nothing is disturbed, nothing owed, and no
// call was without an answer.
func (s *site) calm(well *state) func() bool {
	unwell, since := uint64(0), time.Time{}
	return func() bool {
		if now := s.history.Word(wordUnwell).Load(); now != unwell {
			unwell, since = now, time.Now()
		}
		return well.well(wellFor) && time.Since(since) > wellFor && s.history.Word(wordOwed).Load() == 0
	}
}

func plain(id uint64) []byte { return strconv.AppendUint(nil, id, 10) }
