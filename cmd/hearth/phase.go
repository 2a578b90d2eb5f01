package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/cmd/hearth/internal/bulk"
	"github.com/hearthcache/hearth/fallback"
)

func phaseCommand(stdout, stderr io.Writer) *cli.Command {
	flags := func(more ...cli.Flag) []cli.Flag {
		return append([]cli.Flag{
			&cli.StringFlag{Name: "record", Usage: "`URL` of the server that keeps the fleet record", Sources: cli.EnvVars("HEARTH_RECORD")},
			&cli.StringFlag{Name: "name", Usage: "`KEY` of the record, FleetConfig.Key of the service"},
			&cli.DurationFlag{Name: "dead-after", Usage: "FleetConfig.DeadAfter of the service", Value: fallback.DefaultDeadAfter},
			&cli.BoolFlag{Name: "json", Usage: "print the record as one line of JSON"},
		}, more...)
	}
	return &cli.Command{
		Name:   "phase",
		Usage:  "read or move the phase of a fleet's migration",
		Action: unknown,
		Commands: []*cli.Command{
			{
				Name: "get", Usage: "show the phase and where every process is",
				UsageText: "hearth phase get --record URL --name KEY",
				Flags:     flags(),
				Action:    func(ctx context.Context, c *cli.Command) error { return getPhase(ctx, c, stdout) },
			},
			{
				Name: "set", Usage: "move the fleet to a phase: old, mirror, ramp 25%, new, retire",
				UsageText: "hearth phase set --record URL --name KEY PHASE",
				Description: `Waits until every live process is in the phase, and names those it waits for when the time is
up; the fleet then stays where it is, and the same command goes on. Every phase can be gone
back from.`,
				Flags:  flags(&cli.DurationFlag{Name: "wait", Usage: "`TIME` to wait for the processes", Value: time.Minute}),
				Action: func(ctx context.Context, c *cli.Command) error { return setPhase(ctx, c, stdout, stderr) },
			},
			{
				Name: "forget", Usage: "take a process off the record that crashed and still owes invalidations",
				UsageText: "hearth phase forget --record URL --name KEY PROCESS",
				Flags:     flags(),
				Action:    func(ctx context.Context, c *cli.Command) error { return forgetProcess(ctx, c, stdout) },
			},
		},
	}
}

// record is the fleet record that a command works on.
type record struct {
	store backends.Store
	fleet *fallback.Fleet
	key   string
	url   string
	close func() error
}

const answerTime = 5 * time.Second // for a server to answer about the record

// openRecord connects to the record. Without a record it refuses: a wrong key would otherwise
// make a fleet of nobody, which is always ready.
func openRecord(ctx context.Context, c *cli.Command) (*record, fallback.Record, error) {
	rawURL, key := c.String("record"), c.String("name")
	if rawURL == "" || key == "" {
		return nil, fallback.Record{}, usage("--record and --name are needed")
	}
	store, closeStore, err := bulk.OpenStore(rawURL)
	if err != nil {
		return nil, fallback.Record{}, usage("--record %w", err)
	}
	r := &record{store: store, key: key, url: bulk.Redact(rawURL), close: closeStore}
	now, err := r.read(ctx)
	if err != nil {
		closeStore()
		return nil, now, err
	}
	// The fleet needs a store whose phase follows; no key ever passes through this one.
	follower, err := fallback.New(fallback.Config{
		New: fallback.Member{Store: memory.New(memory.Config{})},
		Old: []fallback.Member{{Store: memory.New(memory.Config{})}},
	})
	if err == nil {
		r.fleet, err = fallback.NewFleet(follower, fallback.FleetConfig{Store: store, Key: key, DeadAfter: c.Duration("dead-after")})
	}
	if err != nil {
		closeStore()
		return nil, now, usage("%w", err)
	}
	return r, now, nil
}

func (r *record) read(ctx context.Context) (now fallback.Record, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	it, err := r.store.Get(ctx, r.key)
	switch {
	case errors.Is(err, backends.ErrMiss):
		return now, &exitError{exitFailed, fmt.Errorf("no process has joined under %q on %s; is the name that of FleetConfig.Key, with the prefix of its store?", r.key, r.url)}
	case err != nil:
		return now, &exitError{exitConnect, fmt.Errorf("cannot reach %s: %w", r.url, err)}
	}
	if err := json.Unmarshal(it.Value, &now); err != nil {
		return now, &exitError{exitFailed, fmt.Errorf("%q on %s is no fleet record: %w", r.key, r.url, err)}
	}
	return now, nil
}

// failed tells a record that does not answer any more from a fleet that is not ready.
func (r *record) failed(err error) error {
	if errors.Is(err, backends.ErrUnavailable) || errors.Is(err, backends.ErrUnknown) {
		return &exitError{exitConnect, fmt.Errorf("cannot reach %s: %w", r.url, err)}
	}
	return &exitError{exitFailed, err}
}

func getPhase(ctx context.Context, c *cli.Command, stdout io.Writer) error {
	if err := none(c); err != nil {
		return err
	}
	r, now, err := openRecord(ctx, c)
	if err != nil {
		return err
	}
	defer r.close()
	return show(c, stdout, now)
}

func setPhase(ctx context.Context, c *cli.Command, stdout, stderr io.Writer) error {
	if !c.Args().Present() {
		return usage("which phase? There are old, mirror, ramp 25%%, new and retire")
	}
	words := c.Args().Slice()
	text := words[0]
	for _, w := range words[1:] {
		text += " " + w
	}
	to, err := fallback.ParsePhase(text)
	if err != nil {
		return usage("there is no phase %q: there are old, mirror, ramp 25%%, new and retire", text)
	}
	r, was, err := openRecord(ctx, c)
	if err != nil {
		return err
	}
	defer r.close()
	if !c.Bool("json") {
		fmt.Fprintf(stderr, "%v -> %v, %d processes\n", was.Phase, to, len(was.Processes))
	}
	ctx, cancel := context.WithTimeout(ctx, c.Duration("wait"))
	defer cancel()
	if err := r.fleet.Advance(ctx, to); err != nil {
		return r.failed(err)
	}
	now, err := r.read(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	return show(c, stdout, now)
}

func forgetProcess(ctx context.Context, c *cli.Command, stdout io.Writer) error {
	name := c.Args().First()
	if name == "" {
		return usage("which process? \"hearth phase get\" names them")
	}
	r, was, err := openRecord(ctx, c)
	if err != nil {
		return err
	}
	defer r.close()
	if _, ok := was.Processes[name]; !ok {
		return usage("no process %q is in the record", name)
	}
	if err := r.fleet.Forget(ctx, name); err != nil {
		return r.failed(err)
	}
	now, err := r.read(ctx)
	if err != nil {
		return err
	}
	return show(c, stdout, now)
}

func show(c *cli.Command, w io.Writer, r fallback.Record) error {
	if c.Bool("json") {
		return json.NewEncoder(w).Encode(r)
	}
	fmt.Fprintf(w, "phase   %v\n", r.Phase)
	if r.Target != r.Phase {
		fmt.Fprintf(w, "target  %v (the fleet waits for processes that are not ready)\n", r.Target)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Processes)) {
		p := r.Processes[name]
		fmt.Fprintf(w, "  %s  %v, seen %s ago", name, p.Phase, time.Since(p.Seen).Round(time.Second))
		if p.Busy > 0 {
			fmt.Fprintf(w, ", %d calls that began before are running", p.Busy)
		}
		if p.Owed > 0 {
			fmt.Fprintf(w, ", owes %d invalidations", p.Owed)
		}
		if time.Since(p.Seen) > c.Duration("dead-after") {
			fmt.Fprint(w, ", gone")
		}
		fmt.Fprintln(w)
	}
	return nil
}
