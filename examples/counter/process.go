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
)

// childEnv tells a child process what to do.
const childEnv = "HEARTH_EXAMPLE_COUNTER"

// order is what a child is told.
type order struct {
	Settings settings
	Way      string
}

// compete starts the processes, lets them begin together, and waits for them.
func compete(s settings, way string) error {
	text, err := json.Marshal(order{s, way})
	if err != nil {
		return err
	}
	var team []*exec.Cmd
	var gates []io.Closer
	for range s.Processes {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+string(text))
		cmd.Stderr = os.Stderr
		gate, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		ready, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		team, gates = append(team, cmd), append(gates, gate)
		if _, err := io.ReadFull(ready, make([]byte, len(isReady))); err != nil {
			return fmt.Errorf("a process did not begin: %w", err)
		}
	}
	for _, g := range gates { // all at once
		_ = g.Close()
	}
	var errs []error
	for _, cmd := range team {
		errs = append(errs, cmd.Wait())
	}
	return errors.Join(errs...)
}

// isReady is what a child says when it is.
const isReady = "ready\n"

// child counts visits once its input ends.
func child() error {
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &o); err != nil {
		return err
	}
	c, shut, err := open(o.Settings)
	if err != nil {
		return err
	}
	defer shut()
	i := slices.IndexFunc(ways, func(w way) bool { return w.name == o.Way })
	if i < 0 {
		return fmt.Errorf("no way %q", o.Way)
	}
	fmt.Print(isReady)
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	for range o.Settings.Visits {
		if err := ways[i].count(context.Background(), c, ways[i].key()); err != nil {
			return err
		}
	}
	return nil
}
