package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/internal/checker"
)

const childEnv = "HEARTH_STAMPEDE_CONTEST" // the contest, for a child

// Words that the processes share in each round.
const (
	wordReady  = iota // processes whose callers stand at the line
	wordStart         // when they are to start, ns since 1970; 0 = not known yet
	wordLoads         // loads begun
	wordLoaded        // when the last load ended
	wordLast          // when the last caller had its answer
	wordDone          // processes whose callers all have theirs
	wordFailed        // callers that got an error
)

// contest is one cache in all processes, for some rounds with a cold key each.
type contest struct {
	Name   string
	Addrs  map[string]string // by server
	Path   string            // of the shared words, without the round
	Rounds int
}

// figures are what came of a contest.
type figures struct {
	Loads int     `json:"loads"` // the most of any round
	Last  float64 `json:"last_after_loader_ms"`
	Worst float64 `json:"worst_after_loader_ms"`
}

func (c contest) path(round int) string { return fmt.Sprintf("%s.%d", c.Path, round) }

// run starts the processes and the rounds. The first round makes connections and is not counted.
func (c contest) run() (f figures, err error) {
	rounds := make([]*checker.History, c.Rounds+1)
	for i := range rounds {
		if rounds[i], err = checker.Open(c.path(i), 1); err != nil {
			return f, err
		}
		defer func() { err = errors.Join(err, rounds[i].Close()) }()
	}
	for range processes {
		p, err := c.start()
		if err != nil {
			return f, err
		}
		defer func() { err = errors.Join(err, p.Wait()) }()
	}
	var late []float64
	for i, h := range rounds {
		if err := c.wait(h, wordReady); err != nil {
			return f, err
		}
		h.Word(wordStart).Store(uint64(time.Now().Add(20 * time.Millisecond).UnixNano()))
		if err := c.wait(h, wordDone); err != nil {
			return f, err
		}
		if n := h.Word(wordFailed).Load(); n > 0 {
			return f, fmt.Errorf("%d callers got an error", n)
		}
		if i == 0 {
			continue
		}
		f.Loads = max(f.Loads, int(h.Word(wordLoads).Load()))
		late = append(late, float64(int64(h.Word(wordLast).Load()-h.Word(wordLoaded).Load()))/1e6)
	}
	slices.Sort(late)
	f.Last, f.Worst = late[len(late)/2], late[len(late)-1]
	return f, nil
}

// wait waits until all processes have come to a point.
func (c contest) wait(h *checker.History, word int) error {
	for deadline := time.Now().Add(20 * time.Second); h.Word(word).Load() < processes; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("a process does not come along")
		}
	}
	return nil
}

// start starts one process: this program, told by the environment what to do. It ends with its
// parent, whose end of the pipe is then closed.
func (c contest) start() (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(c)
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

// child does the part of one process and returns the exit code.
func child() int {
	var c contest
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &c); err != nil {
		return fail(err)
	}
	go func() { // the parent is gone
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(2)
	}()
	var now atomic.Pointer[checker.History] // of the round
	get, err := open(c.Name, c.Addrs, func(context.Context, string) (string, error) {
		h := now.Load()
		h.Word(wordLoads).Add(1)
		time.Sleep(loadTime)
		raise(h.Word(wordLoaded))
		return "a value", nil
	})
	if err != nil {
		return fail(err)
	}
	for i := range c.Rounds + 1 {
		h, err := checker.Open(c.path(i), 1)
		if err != nil {
			return fail(err)
		}
		now.Store(h)
		round(h, fmt.Sprintf("cold.%d", i), get)
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "stampede:", err)
	return 1
}

// round lets the callers of this process go at the time that the parent names.
func round(h *checker.History, key string, get func(ctx context.Context, key string) error) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			<-start
			if err := get(context.Background(), key); err != nil {
				h.Word(wordFailed).Add(1)
			}
			raise(h.Word(wordLast))
		})
	}
	h.Word(wordReady).Add(1)
	for h.Word(wordStart).Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(time.Until(time.Unix(0, int64(h.Word(wordStart).Load()))))
	close(start)
	wg.Wait()
	h.Word(wordDone).Add(1)
}

// raise raises word to the time of now.
func raise(word *atomic.Uint64) {
	now := uint64(time.Now().UnixNano())
	for {
		old := word.Load()
		if old >= now || word.CompareAndSwap(old, now) {
			return
		}
	}
}
