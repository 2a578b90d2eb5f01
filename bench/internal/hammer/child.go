// Package hammer is what programs that look for stale reads in several processes have in common:
// children that are the program itself, reads held against the history that they share, and the
// rule when a run has seen enough.
package hammer

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/hearthcache/hearth/internal/checker"
	"github.com/hearthcache/hearth/internal/fence"
)

// Start starts this program once more, as a child that [Child] tells of run (as JSON) by the
// environment variable env. The child ends with its parent, whose end of the pipe is then closed.
func Start(env string, run any) (*exec.Cmd, error) {
	cmd, _, err := start(env, run)
	return cmd, err
}

// start also returns the parent's end of the pipe.
func start(env string, run any) (*exec.Cmd, io.Closer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	text, err := json.Marshal(run)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), env+"="+string(text))
	cmd.Stderr = os.Stderr
	ours, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	return cmd, ours, cmd.Start()
}

// Child reads into run what [Start] was given, and ends this process as soon as its parent is
// gone.
func Child(env string, run any) error {
	if err := json.Unmarshal([]byte(os.Getenv(env)), run); err != nil {
		return fmt.Errorf("%s: %w", env, err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(2)
	}()
	return nil
}

// Remove takes the fence of that name out for the life of this process; "" is none.
func Remove(name string) {
	if f, ok := fence.Parse(name); ok {
		fence.Remove(f)
	}
}

// Await waits, ten seconds at most, until so many children have counted themselves in a word of
// the history.
func Await(h *checker.History, word, children int) {
	for deadline := time.Now().Add(10 * time.Second); h.Word(word).Load() < uint64(children) && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
}

// Name is the name of key k, and [Number] its inverse. Number panics for other names.
func Name(k int) string { return "k" + strconv.Itoa(k) }

// Number returns k of Name(k).
func Number(name string) int {
	k, err := strconv.Atoi(name[1:])
	if err != nil {
		panic(err) // a name of ours
	}
	return k
}
