package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/hearthcache/hearth/bench/internal/hammer"
	"github.com/hearthcache/hearth/internal/checker"
	"github.com/hearthcache/hearth/internal/faultproxy"
	"github.com/hearthcache/hearth/internal/servers"
)

const (
	processes = 4
	childEnv  = "HEARTH_MIGRATE_RUN" // the run, for a child
)

// Words of the shared history.
const (
	wordStop   = iota // 1: the children are to stop
	wordReady         // children that are at work
	wordLoads         // loads from the source
	wordWrites        // writes to it
	wordOwed          // invalidations that are owed, in all processes
	wordUnwell        // calls that a server did not answer in time, as the processes saw it
	wordHits          // reads that did not load
	wordStage         // what the children of scenario cut are to do
	wordBeats         // ticks of the children, 16 bits each
)

// run is one scenario in one direction, with or without a rule.
type run struct {
	Scenario string
	Old, New string // "redis" or "memcached"
	Without  string // the fence that is taken out; "" = none
	Path     string // of the history that the processes share

	Process int    // in a child: its number
	OldAddr string // its own way to the old server,
	NewAddr string // and to the new one
	Record  string // the Redis that keeps the fleet record

	hammer.Until
}

func (r run) direction() string { return r.Old + " to " + r.New }

// outcome is what a run has seen.
type outcome struct {
	Reads    uint64  `json:"reads"`
	Hits     uint64  `json:"hits"`
	Loads    uint64  `json:"loads"`
	Writes   uint64  `json:"writes"`
	Stale    uint64  `json:"stale"`
	Invented uint64  `json:"invented"`
	Foreign  int     `json:"foreign_writes,omitempty"`
	Changes  int     `json:"phase_changes,omitempty"`
	Faults   int     `json:"faults,omitempty"`
	Kills    int     `json:"kills,omitempty"`
	PeakLoad float64 `json:"peak_source_load_ratio,omitempty"`
	Windows  int     `json:"load_windows,omitempty"` // that it is the highest of

	WindowWrites uint64  `json:"load_window_writes,omitempty"` // in each of them
	Seconds      float64 `json:"seconds"`
	kind         string
}

// site is what a run takes place on.
type site struct {
	run     run
	history *checker.History
	servers map[string]*servers.Server // old, new, record
	old     [processes]*faultproxy.Proxy
	new     [processes]*faultproxy.Proxy
}

// run starts servers and children, disturbs them until the goal is reached, and stops them.
// It says every so often how far it is.
func (r run) run(progress func(reads uint64, passed time.Duration)) (o outcome, err error) {
	s := &site{run: r, servers: map[string]*servers.Server{}}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.open(); err != nil {
		return o, err
	}
	children := make([]*exec.Cmd, processes)
	for i := range children {
		if children[i], err = s.start(i); err != nil {
			s.history.Word(wordStop).Store(1)
			return o, err
		}
	}
	hammer.Await(s.history, wordReady, processes)
	began := time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	disturbed := make(chan error, 1)
	wg.Go(func() { disturbed <- s.disturb(ctx, &o) })
	const often = 15 * time.Second
	for next := often; !r.Over(s.history.Counts(), time.Since(began), r.Without == ""); time.Sleep(10 * time.Millisecond) {
		if passed := time.Since(began); passed > next {
			next += often
			progress(s.history.Counts().Reads, passed)
		}
	}
	cancel()
	wg.Wait()
	err = <-disturbed
	s.history.Word(wordStop).Store(1)
	s.clear()
	for i, c := range children {
		if e := c.Wait(); e != nil {
			err = errors.Join(err, fmt.Errorf("process %d: %w", i, e))
		}
	}
	c := s.history.Counts()
	o.Reads, o.Stale, o.Invented = c.Reads, c.Stale, c.Invented
	o.Hits, o.Loads, o.Writes = s.history.Word(wordHits).Load(), s.history.Word(wordLoads).Load(), s.history.Word(wordWrites).Load()
	o.Seconds = time.Since(began).Seconds()
	return o, err
}

func (s *site) open() (err error) {
	if s.history, err = checker.Open(s.run.Path, s.run.keys()); err != nil {
		return err
	}
	start := func(name, kind string) error {
		launch := servers.StartRedis
		if kind == "memcached" {
			launch = servers.StartMemcached
		}
		srv, err := launch(servers.Options{})
		if err == nil {
			s.servers[name] = srv
		}
		return err
	}
	if err := errors.Join(start("old", s.run.Old), start("new", s.run.New), start("record", "redis")); err != nil {
		return err
	}
	if err := s.found(); err != nil {
		return err
	}
	for i := range processes {
		if s.old[i], err = faultproxy.New(s.servers["old"].Addr()); err != nil {
			return err
		}
		if s.new[i], err = faultproxy.New(s.servers["new"].Addr()); err != nil {
			return err
		}
	}
	return nil
}

// clear makes every way good again.
func (s *site) clear() {
	for i := range processes {
		s.old[i].Clear()
		s.new[i].Clear()
	}
}

func (s *site) close() error {
	var errs []error
	for i := range processes {
		for _, p := range []*faultproxy.Proxy{s.old[i], s.new[i]} {
			if p != nil {
				errs = append(errs, p.Close())
			}
		}
	}
	for _, srv := range s.servers {
		errs = append(errs, srv.Close())
	}
	if s.history != nil {
		errs = append(errs, s.history.Close(), os.Remove(s.run.Path))
	}
	return errors.Join(errs...)
}

// start starts one child, with ways of its own to the servers.
func (s *site) start(i int) (*exec.Cmd, error) {
	r := s.run
	r.Process, r.OldAddr, r.NewAddr, r.Record = i, s.old[i].Addr(), s.new[i].Addr(), s.servers["record"].Addr()
	return hammer.Start(childEnv, r)
}
