package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
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
			&cli.DurationFlag{Name: "dead-after", Usage: "FleetConfig.DeadAfter of the service", Value: fallback.DefaultDeadAfter, Validator: notBelowZero[time.Duration]},
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
				Description: `Watches until every process has reported once, or --watch is over, and says who has not. No
clocks are compared: a process counts as gone when the command itself has seen no report of it
for --dead-after.`,
				Flags: flags(&cli.DurationFlag{
					Name: "watch", Value: fallback.DefaultDeadAfter, Validator: notBelowZero[time.Duration],
					Usage: "watch for reports for this `TIME` at most; 0 = one look, which cannot tell who is gone",
				}),
				Action: func(ctx context.Context, c *cli.Command) error { return getPhase(ctx, c, stdout) },
			},
			{
				Name: "set", Usage: "move the fleet to a phase: old, mirror, ramp 25%, new, retire",
				UsageText: "hearth phase set --record URL --name KEY PHASE",
				Description: `Waits until every live process is in the phase, and names those it waits for when the time is
up; the fleet then stays where it is, and the same command goes on. Every phase can be gone
back from. What it waits for is said on stderr meanwhile, with --json as lines of JSON
({"to","waiting","because","error","seconds"}); the result is on stdout, with --json as one line
that has an "error" if the fleet is not there. A record without a process is not moved unless
--empty says that none is running: the name may be another fleet's, or mistyped.`,
				Flags: flags(
					&cli.DurationFlag{Name: "wait", Usage: "`TIME` to wait for the processes", Value: time.Minute, Validator: notBelowZero[time.Duration]},
					&cli.BoolFlag{Name: "empty", Usage: "move the record though no process has joined"},
				),
				Action: func(ctx context.Context, c *cli.Command) error { return setPhase(ctx, c, stdout, stderr) },
			},
			{
				Name: "init", Usage: "make the record of a new fleet, in phase old unless told otherwise",
				UsageText: "hearth phase init --record URL --name KEY [PHASE]",
				Description: `Say it before the first process starts, and only if none is running: without it the first
processes wait for --dead-after, in case there was a record that was lost.`,
				Flags:  flags(),
				Action: func(ctx context.Context, c *cli.Command) error { return initPhase(ctx, c, stdout) },
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

// connect connects to the record's server. onWait is that of [fallback.FleetConfig].
func connect(c *cli.Command, phase fallback.Phase, onWait func(error)) (*record, error) {
	rawURL, key := c.String("record"), c.String("name")
	if rawURL == "" || key == "" {
		return nil, usage("--record and --name are needed")
	}
	store, closeStore, err := bulk.OpenStore(rawURL)
	if err != nil {
		return nil, usage("--record %w", err)
	}
	r := &record{store: store, key: key, url: bulk.Redact(rawURL), close: closeStore}
	// The fleet needs a store whose phase follows; no key ever passes through this one.
	follower, err := fallback.New(fallback.Config{
		New:   fallback.Member{Store: memory.New(memory.Config{})},
		Old:   []fallback.Member{{Store: memory.New(memory.Config{})}},
		Phase: phase,
	})
	if err == nil {
		r.fleet, err = fallback.NewFleet(follower, fallback.FleetConfig{
			Store: store, Key: key, DeadAfter: c.Duration("dead-after"), OnWait: onWait,
		})
	}
	if err != nil {
		closeStore()
		return nil, usage("%w", err)
	}
	return r, nil
}

// openRecord connects to the record. Without a record it refuses: a wrong key would otherwise
// make a fleet of nobody, which is always ready.
func openRecord(ctx context.Context, c *cli.Command, onWait func(error)) (*record, fallback.Record, error) {
	r, err := connect(c, fallback.PhaseOld, onWait)
	if err != nil {
		return nil, fallback.Record{}, err
	}
	now, err := r.read(ctx)
	if err != nil {
		r.close()
		return nil, now, err
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
	late := errors.Is(err, context.DeadlineExceeded) // an attempt that got no answer; a fleet that is not ready is a WaitError
	if late || errors.Is(err, backends.ErrUnavailable) || errors.Is(err, backends.ErrUnknown) {
		return &exitError{exitConnect, fmt.Errorf("cannot reach %s: %w", r.url, err)}
	}
	return &exitError{exitFailed, err}
}

func getPhase(ctx context.Context, c *cli.Command, stdout io.Writer) error {
	if err := none(c); err != nil {
		return err
	}
	r, now, err := openRecord(ctx, c, nil)
	if err != nil {
		return err
	}
	defer r.close()
	seen, err := r.watch(ctx, now, c.Duration("watch"))
	if err != nil {
		return err
	}
	seen.goneAfter = c.Duration("dead-after")
	seen.show(c, stdout)
	return nil
}

// phaseOf reads the phase that the arguments name.
func phaseOf(c *cli.Command) (fallback.Phase, error) {
	text := strings.Join(c.Args().Slice(), " ")
	to, err := fallback.ParsePhase(text)
	if err != nil {
		var shown []string
		for _, a := range c.Args().Slice() {
			shown = append(shown, bulk.Redact(a))
		}
		return 0, usage("there is no phase %q: there are old, mirror, ramp 25%%, new and retire", strings.Join(shown, " "))
	}
	if share, ok := strings.CutPrefix(strings.ToLower(text), "ramp"); ok {
		percent, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(share, "%")), 64)
		if err != nil || to == fallback.PhaseMirror && percent != 0 || to == fallback.PhaseNew && percent != 100 {
			return 0, usage("%q rounds to %v: a ramp has steps of 0.01%%, from 0.01%% to 99.99%%", text, to)
		}
	}
	return to, nil
}

func setPhase(ctx context.Context, c *cli.Command, stdout, stderr io.Writer) error {
	if !c.Args().Present() {
		return usage("which phase? There are old, mirror, ramp 25%%, new and retire")
	}
	to, err := phaseOf(c)
	if err != nil {
		return err
	}
	w := &waits{w: stderr, json: c.Bool("json"), to: to, began: time.Now()}
	r, was, err := openRecord(ctx, c, w.show)
	if err != nil {
		return err
	}
	defer r.close()
	if len(was.Processes) == 0 && !c.Bool("empty") {
		return &exitError{exitFailed, fmt.Errorf("no process has joined under %q on %s, so this would move nobody; is the name that of FleetConfig.Key, with the prefix of its store? If no process is running, add --empty", r.key, r.url)}
	}
	if !w.json {
		fmt.Fprintf(stderr, "%v -> %v, %d processes\n", was.Phase, to, len(was.Processes))
	}
	within, cancel := context.WithTimeout(ctx, c.Duration("wait"))
	defer cancel()
	failed := r.fleet.Advance(within, to)
	if failed != nil {
		failed = r.failed(failed)
		if !w.json {
			return failed
		}
	}
	now, err := r.read(context.WithoutCancel(ctx))
	if failed == nil {
		failed = err
	}
	(&sight{Record: now, failed: failed}).show(c, stdout)
	if e, ok := errors.AsType[*exitError](failed); ok && w.json {
		w.last = ""
		w.show(failed)
		return &exitError{e.code, nil}
	}
	return failed
}

func initPhase(ctx context.Context, c *cli.Command, stdout io.Writer) error {
	phase := fallback.PhaseOld
	if c.Args().Present() {
		var err error
		if phase, err = phaseOf(c); err != nil {
			return err
		}
	}
	r, err := connect(c, phase, nil)
	if err != nil {
		return err
	}
	defer r.close()
	within, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := r.fleet.Found(within); err != nil {
		return r.failed(err)
	}
	(&sight{Record: r.fleet.Record()}).show(c, stdout)
	return nil
}

func forgetProcess(ctx context.Context, c *cli.Command, stdout io.Writer) error {
	name := c.Args().First()
	if name == "" {
		return usage("which process? \"hearth phase get\" names them")
	}
	if more := c.Args().Get(1); more != "" {
		return usage("unexpected argument %q", bulk.Redact(more))
	}
	r, was, err := openRecord(ctx, c, nil)
	if err != nil {
		return err
	}
	defer r.close()
	if _, ok := was.Processes[name]; !ok {
		return &exitError{exitFailed, fmt.Errorf("no process %q is in the record", bulk.Redact(name))}
	}
	if err := r.fleet.Forget(ctx, name); err != nil {
		return r.failed(err)
	}
	now, err := r.read(ctx)
	if err != nil {
		return err
	}
	(&sight{Record: now}).show(c, stdout)
	return nil
}
