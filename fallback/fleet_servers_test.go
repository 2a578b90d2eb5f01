package fallback

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// Of fleets on real servers: short, but longer than a busy machine lets a process wait.
const (
	fleetBeat = 50 * time.Millisecond
	fleetDead = 4 * time.Second
)

// site is a record on a real server, and the processes that use it.
type site struct {
	t      *testing.T
	srv    *servers.Server
	record func() backends.Store
	old    *memory.Store
	fresh  *memory.Store
}

// proc is one process of a site, with connections of its own.
type proc struct {
	*pair
	fleet *Fleet
	crash func() // it stops reporting, and says nothing
	leave func() // it ends as a process does that is asked to
}

// fleetSites are the kinds of servers that a record can be kept on.
var fleetSites = map[string]func(t *testing.T) *site{
	"redis": func(t *testing.T) *site {
		srv := serverstest.Redis(t)
		return &site{t: t, srv: srv, record: func() backends.Store {
			o := redis.Options(srv.Addr())
			o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = time.Second, time.Second, time.Second, time.Second
			client := goredis.NewClient(o)
			t.Cleanup(func() { _ = client.Close() })
			s, err := redis.New(client, redis.Config{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}}
	},
	"memcached": func(t *testing.T) *site {
		srv := serverstest.Memcached(t)
		return &site{t: t, srv: srv, record: func() backends.Store {
			s, err := memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: srv.Addr()}}, Timeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return s
		}}
	},
}

// start starts a process, which has joined when it returns.
func (s *site) start(name string) *proc {
	s.t.Helper()
	p := &proc{pair: &pair{t: s.t, old: s.old, fresh: s.fresh}}
	p.s = must(s.t, Config{New: patient(s.fresh), Old: []Member{patient(s.old)}})
	s.t.Cleanup(p.s.Close)
	p.fleet = s.fleet(p.s, name)
	if err := p.fleet.Beat(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = p.fleet.Join(ctx)
	}()
	p.leave = func() { cancel(); <-ended }
	p.crash = func() { // holding its turn, it can neither report nor take itself off the record
		if p.fleet.lock(s.t.Context()) == nil {
			s.t.Cleanup(p.fleet.unlock)
		}
	}
	s.t.Cleanup(p.leave)
	return p
}

func (s *site) fleet(store *Store, name string) *Fleet {
	f, err := NewFleet(store, FleetConfig{Store: s.record(), Key: "migration", Process: name, Heartbeat: fleetBeat, DeadAfter: fleetDead})
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// now is the record; ok is false if there is none, or no server.
func (s *site) now(store backends.Store) (r Record, ok bool) {
	it, err := store.Get(s.t.Context(), "migration")
	return r, err == nil && json.Unmarshal(it.Value, &r) == nil
}

// until waits for something to be so.
func (s *site) until(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(fleetBeat / 10) {
		if time.Now().After(deadline) {
			s.t.Fatalf("never: %s", what)
		}
	}
}

// advance moves the fleet; it has a minute.
func (s *site) advance(f *Fleet, to Phase) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	return f.Advance(ctx, to)
}

func (s *site) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestFleet_OnRealServers(t *testing.T) {
	for _, row := range []struct {
		name, why string
		run       func(s *site, a, b *proc)
	}{
		{
			"join and leave", "who comes is in the fleet's phase before it serves, who goes is not waited for",
			func(s *site, a, b *proc) {
				s.ok(s.advance(a.fleet, PhaseNew))
				c := s.start("c")
				inPhase(s.t, []*pair{a.pair, b.pair, c.pair}, PhaseNew)
				c.leave()
				if r, ok := s.now(s.record()); !ok || len(r.Processes) != 2 {
					s.t.Errorf("c has left: %+v", r)
				}
				s.ok(s.advance(a.fleet, PhaseRetire))
			},
		},
		{
			"an advance waits for a process that is behind", "and names it",
			func(s *site, a, b *proc) {
				s.ok(b.fleet.lock(s.t.Context())) // it lives, and does not come to report
				var once sync.Once
				a.fleet.cfg.OnWait = func(err error) {
					if w, ok := errors.AsType[*WaitError](err); ok && slices.Contains(w.Waiting, "b") {
						once.Do(b.fleet.unlock)
					}
				}
				s.ok(s.advance(a.fleet, PhaseNew))
				once.Do(func() {
					b.fleet.unlock()
					s.t.Error("it has not waited for b")
				})
				inPhase(s.t, []*pair{a.pair, b.pair}, PhaseNew)
			},
		},
		{
			"a process dies", "it is left out when its time is over",
			func(s *site, a, b *proc) {
				b.crash()
				s.ok(s.advance(a.fleet, PhaseNew))
				if r, ok := s.now(s.record()); !ok || len(r.Processes) != 1 {
					s.t.Errorf("b is gone: %+v", r)
				}
			},
		},
		{
			"going back", "from anywhere to old, and up again",
			func(s *site, a, b *proc) {
				for _, to := range []Phase{Ramp(50), PhaseOld, PhaseNew, PhaseMirror, PhaseRetire, PhaseOld, PhaseNew} {
					s.ok(s.advance(b.fleet, to))
					inPhase(s.t, []*pair{a.pair, b.pair}, to)
				}
			},
		},
		{
			"the record is lost", "those who live bring it back, in the phase they are in, and what one that died owed is not forgotten",
			func(s *site, a, b *proc) {
				s.ok(s.advance(a.fleet, PhaseNew))
				c := s.start("c")
				store := s.record()
				s.until("the others know c", func() bool {
					_, one := a.fleet.Record().Processes["c"]
					_, two := b.fleet.Record().Processes["c"]
					return one && two
				})
				c.crash()
				s.ok(store.Delete(s.t.Context(), "migration"))
				s.until("the record is back", func() bool { r, ok := s.now(store); return ok && len(r.Processes) == 3 })
				inPhase(s.t, []*pair{a.pair, b.pair}, PhaseNew)
				s.until("it is sure", func() bool { r, ok := s.now(store); return ok && !r.Unsure })
				ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
				a.fleet.cfg.OnWait = func(err error) {
					if w, ok := errors.AsType[*WaitError](err); ok && slices.Equal(w.Waiting, []string{"c"}) {
						cancel()
					}
				}
				err := a.fleet.Advance(ctx, PhaseRetire)
				if w, ok := errors.AsType[*WaitError](err); !ok || !slices.Equal(w.Waiting, []string{"c"}) {
					s.t.Errorf("advance: %v; want to wait for c, of which nobody knows what it owed", err)
				}
				cancel()
				s.ok(a.fleet.Forget(s.t.Context(), "c"))
				s.ok(s.advance(a.fleet, PhaseRetire))
				inPhase(s.t, []*pair{a.pair, b.pair}, PhaseRetire)
			},
		},
		{
			"the record's server is restarted in the middle of an advance", "it forgets everything, and the advance gets there",
			func(s *site, a, b *proc) {
				store := s.record()
				s.ok(b.fleet.lock(s.t.Context())) // so that the advance has to wait
				done := make(chan error)
				go func() { done <- s.advance(a.fleet, PhaseNew) }()
				s.until("the advance has begun", func() bool { r, ok := s.now(store); return ok && r.Target == PhaseNew })
				s.ok(s.srv.Kill())
				b.fleet.unlock()
				s.until("both know that it is away", func() bool {
					return a.fleet.Stats().LastErr != nil && b.fleet.Stats().LastErr != nil
				})
				s.ok(s.srv.Start())
				s.ok(<-done)
				inPhase(s.t, []*pair{a.pair, b.pair}, PhaseNew)
				if r, ok := s.now(store); !ok || r.From == nil || r.Unsure || len(r.unheard()) > 0 {
					s.t.Errorf("made anew, and everybody has reported: %+v", r)
				}
			},
		},
		{
			"a process starts while the record's server is away", "it is in the fleet as soon as the others have brought the record back",
			func(s *site, a, b *proc) {
				s.ok(s.advance(a.fleet, PhaseNew))
				s.ok(s.srv.Kill())
				c := &pair{t: s.t, old: s.old, fresh: s.fresh}
				c.s = must(s.t, Config{New: patient(s.fresh), Old: []Member{patient(s.old)}})
				s.t.Cleanup(c.s.Close)
				f := s.fleet(c.s, "c")
				ctx, cancel := context.WithCancel(context.Background())
				ended := make(chan error)
				go func() { ended <- f.Join(ctx) }()
				s.until("its first report has failed", func() bool { return f.Stats().LastErr != nil })
				inPhase(s.t, []*pair{c}, PhaseMirror)
				s.ok(s.srv.Start())
				s.until("it is in the fleet's phase", func() bool { return c.s.Phase() == PhaseNew })
				inPhase(s.t, []*pair{a.pair, b.pair}, PhaseNew)
				cancel()
				if err := <-ended; !errors.Is(err, context.Canceled) {
					s.t.Errorf("join: %v", err)
				}
			},
		},
		{
			"two advances at a time", "the later goes on, and the other is told",
			func(s *site, a, b *proc) {
				store := s.record()
				third := s.start("c")
				s.ok(third.fleet.lock(s.t.Context())) // so that both have to wait
				var wg sync.WaitGroup
				var up, back error
				wg.Go(func() { up = s.advance(a.fleet, PhaseNew) })
				s.until("the first has begun", func() bool { r, ok := s.now(store); return ok && r.Target == PhaseNew })
				wg.Go(func() { back = s.advance(b.fleet, PhaseMirror) })
				s.until("the second has begun", func() bool { r, ok := s.now(store); return ok && r.Target == PhaseMirror })
				third.fleet.unlock()
				wg.Wait()
				if !errors.Is(up, ErrOvertaken) || back != nil {
					s.t.Errorf("%v and %v; want the first to be overtaken", up, back)
				}
				inPhase(s.t, []*pair{a.pair, b.pair, third.pair}, PhaseMirror)
			},
		},
	} {
		for kind, open := range fleetSites {
			t.Run(row.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				s := open(t)
				s.old, s.fresh = memory.New(memory.Config{}), memory.New(memory.Config{})
				operator := must(t, Config{New: patient(s.fresh), Old: []Member{patient(s.old)}})
				t.Cleanup(operator.Close)
				s.ok(s.fleet(operator, "operator").Found(t.Context()))
				a, b := s.start("a"), s.start("b")
				row.run(s, a, b)
				if t.Failed() {
					t.Log(row.why)
				}
			})
		}
	}
}
