package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/hearthcache/hearth/internal/checker"
)

const (
	processes = 3
	childEnv  = "HEARTH_STALE_RUN" // the run, for a child

	// enough stale reads show that the hammer can see them.
	enough = 25
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

	Goal  uint64        // reads to make
	Least time.Duration // go on for at least so long,
	Most  time.Duration // and for no longer, goal or not
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
		if children[i], err = r.start(i); err != nil {
			h.Word(wordStop).Store(1)
			return o, err
		}
	}
	for deadline := time.Now().Add(10 * time.Second); h.Word(wordReady).Load() < processes && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	began := time.Now()
	for !r.over(h.Counts(), time.Since(began)) {
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

// over says whether the run has seen what it is for.
func (r run) over(c checker.Counts, passed time.Duration) bool {
	switch {
	case passed >= r.Most:
		return true
	case r.Without != "":
		return c.Stale >= enough
	}
	return c.Reads >= r.Goal && passed >= r.Least
}

// start starts one child: this program, told by the environment what to do. It ends with its
// parent, whose end of the pipe is then closed.
func (r run) start(i int) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r.Process = i
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return cmd, cmd.Start()
}
