package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/hearthcache/hearth/bench/internal/hammer"
	"github.com/hearthcache/hearth/internal/checker"
)

const (
	processes = 3
	childEnv  = "HEARTH_STALE_RUN" // the run, for a child
)

// Words of the shared history.
const (
	wordStop  = iota // 1: the children are to stop
	wordL1           // reads that L1 answered
	wordReady        // children that are at work
)

// run is one scenario on one server, with or without a fence.
type run struct {
	Scenario string
	Server   string
	Addrs    map[string]string // of both servers
	Without  string            // the fence that is taken out; "" = none
	Path     string            // of the history that the processes share
	Process  int               // in a child: its number

	hammer.Until
}

// outcome is what a run has seen.
type outcome struct {
	Reads    uint64  `json:"reads"`
	L1       uint64  `json:"l1_reads"`
	Stale    uint64  `json:"stale"`
	Invented uint64  `json:"invented"`
	Seconds  float64 `json:"seconds"`
}

// run starts the children, waits for the goal and stops them.
func (r run) run() (o outcome, err error) {
	h, err := checker.Open(r.Path, r.keys())
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, h.Close(), os.Remove(r.Path)) }()
	children := make([]*exec.Cmd, processes)
	for i := range children {
		r.Process = i
		if children[i], err = hammer.Start(childEnv, r); err != nil {
			h.Word(wordStop).Store(1)
			return o, err
		}
	}
	hammer.Await(h, wordReady, processes)
	began := time.Now()
	for !r.Over(h.Counts(), time.Since(began), r.Without == "") {
		time.Sleep(10 * time.Millisecond)
	}
	h.Word(wordStop).Store(1)
	for i, c := range children {
		if e := c.Wait(); e != nil {
			err = errors.Join(err, fmt.Errorf("%s/%s without %q, process %d: %w", r.Server, r.Scenario, r.Without, i, e))
		}
	}
	c := h.Counts()
	return outcome{
		Reads: c.Reads, Stale: c.Stale, Invented: c.Invented, L1: h.Word(wordL1).Load(),
		Seconds: time.Since(began).Seconds(),
	}, err
}
