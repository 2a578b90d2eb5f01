package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/bench/internal/hammer"
	"github.com/hearthcache/hearth/fallback"
	"github.com/hearthcache/hearth/internal/checker"
)

// The scenarios; doc.go says what they are.
const (
	inFleet = "fleet"
	mixed   = "mixed"
	cut     = "cut"
	own     = "own"
)

// keysEach are few, so that readers, writers, copies and phases meet. The last foreignKeys of
// them are written by a foreign client in scenario fleet.
const (
	keysEach    = 40
	foreignKeys = 8
	namespace   = "m"
	recordKey   = "migrate:fleet"
)

// Of the fleet record and the deadlines: short, so that many phases fit into a run.
const (
	heartbeat     = callTimeout
	deadAfter     = 20 * time.Second
	memberTimeout = 250 * time.Millisecond
	callTimeout   = 500 * time.Millisecond
	settled       = 600 * time.Millisecond // longer than any call takes
	tick          = 5 * time.Millisecond
)

// stagePause, in scenario fleet: nobody writes.
const stagePause = 1

// Stages of scenarios cut and own.
const (
	stageFill = iota // all in PhaseMirror; own: in PhaseNew
	stageRead        // all in PhaseNew, then the first is cut from old; own: in PhaseOld, then cut from new
	stageCut         // the first writes; own: all do
)

func (r run) keys() int {
	if r.Scenario == own {
		return keysEach * processes
	}
	return keysEach
}

// first is the number of this process's first key.
func (r run) first() int {
	if r.Scenario == own {
		return keysEach * r.Process
	}
	return 0
}

func (r run) some() int { return r.first() + rand.IntN(keysEach) }

// writes picks a key to write; ok is false while this process is not to write.
func (r run) writes(h *checker.History) (k int, ok bool) {
	u := rand.Float64() // writes concentrate on some keys, where they meet loads and copies
	switch k := r.first() + int(u*u*keysEach); {
	case r.Scenario == inFleet && (k >= keysEach-foreignKeys || h.Word(wordStage).Load() == stagePause):
		return 0, false
	case r.Scenario == own && h.Word(wordStage).Load() != stageCut:
		return 0, false
	case r.Scenario == cut && (r.Process != 0 || h.Word(wordStage).Load() != stageCut):
		return 0, false
	default:
		return k, true
	}
}

// store is the migration as this process sees it.
func (r run) store() (*fallback.Store, error) {
	member := func(kind, addr string) fallback.Member {
		return fallback.Member{
			Store: open(kind, addr, time.Second), Timeout: memberTimeout,
			OpenFor: 20 * time.Millisecond, MaxOpenFor: 150 * time.Millisecond,
		}
	}
	cfg := fallback.Config{
		New: member(r.New, r.NewAddr), Old: []fallback.Member{member(r.Old, r.OldAddr)},
		CopyHold: 500 * time.Millisecond, CompareEvery: 1000,
	}
	if r.Scenario == mixed {
		cfg.Phase = []fallback.Phase{fallback.PhaseMirror, fallback.Ramp(50), fallback.PhaseNew, fallback.PhaseNew}[r.Process]
	}
	if r.Scenario == cut { // new is never taken for dead, however busy the machine is
		cfg.Phase, cfg.New.Timeout, cfg.New.Store = fallback.PhaseMirror, 10*time.Second, open(r.New, r.NewAddr, 10*time.Second)
	}
	return fallback.New(cfg)
}

// lead starts what changes this process's phase.
func (r run) lead(ctx context.Context, wg *sync.WaitGroup, s *fallback.Store, h *checker.History) error {
	switch r.Scenario {
	case inFleet:
		f, err := fallback.NewFleet(s, fleetConfig(r.Record, hammer.Name(r.Process)))
		if err != nil {
			return err
		}
		if err := f.Beat(ctx); err != nil {
			return err
		}
		wg.Go(func() { _ = f.Join(ctx) })
	case cut:
		wg.Go(func() {
			for ctx.Err() == nil {
				p := fallback.PhaseMirror
				if h.Word(wordStage).Load() != stageFill {
					p = fallback.PhaseNew
				}
				_ = s.SetPhase(p)
				time.Sleep(time.Millisecond)
			}
		})
	case own:
		wg.Go(func() {
			for ctx.Err() == nil {
				p := fallback.PhaseOld
				if h.Word(wordStage).Load() == stageFill {
					p = fallback.PhaseNew
				}
				_ = s.SetPhase(p)
				time.Sleep(time.Millisecond)
			}
		})
	}
	return nil
}

func fleetConfig(addr, process string) fallback.FleetConfig {
	return fallback.FleetConfig{
		Store: open("redis", addr, 10*time.Second), Key: recordKey, Process: process, Heartbeat: heartbeat, DeadAfter: deadAfter,
	}
}

// open opens a store on a server of a kind. The clients' own timeouts are beyond those of the
// members.
func open(kind, addr string, timeout time.Duration) backends.Store {
	var s backends.Store
	var err error
	if kind == "redis" {
		o := redis.Options(addr)
		o.PoolSize = 64
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = timeout, timeout, timeout, timeout
		s, err = redis.New(goredis.NewClient(o), redis.Config{})
	} else {
		s, err = memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: addr}}, Timeout: timeout})
	}
	if err != nil {
		panic(err) // an address we made ourselves
	}
	return s
}
