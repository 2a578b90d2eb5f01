package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/hearthcache/hearth/cmd/hearth/internal/bulk"
)

const defaultTimeout = 10 * time.Second // for a batch of 500 keys on a busy server

func copyCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "copy",
		Usage:     "copy keys with their values, flags and remaining lifetimes",
		UsageText: "hearth copy --from URL --to URL [--state FILE] [options]",
		Description: `Keys that the target holds are left alone unless --overwrite says otherwise, so a copy can
be repeated. With --state
it goes on where it was stopped or killed; when it is finished, the same command says so and
exits with 1 until the file is removed.

Where the two share servers, keys that begin with --add-prefix are taken for copies and left out.

While a service runs in phase Mirror or later, use --fenced: it closes the moment between
reading a value and writing it. Without it (the default, since other clients would see its
leases), a change that the service makes in that moment is undone in the target: compare
afterwards, and delete there what differs.

A source cluster must not be resharded meanwhile: keys that move to a master whose list is
done are missed. Compare with "hearth verify" if it was, and copy once more, with a new state.`,
		Flags: append(endpointFlags(),
			&cli.StringFlag{Name: "state", Usage: "`FILE` for checkpoints; a copy with the same file goes on", TakesFile: true},
			&cli.BoolFlag{Name: "overwrite", Usage: "replace what the target holds"},
			&cli.BoolFlag{Name: "fenced", Usage: "take a lease on every key first, so that no change is undone (readers of the target must be hearth's)"},
			&cli.BoolFlag{Name: "dry-run", Usage: "change nothing, count what would be copied", Aliases: []string{"n"}},
			&cli.IntFlag{Name: "batch", Usage: "at most `KEYS` in a pipeline; less with large values", Value: 500, Validator: atLeast(1)},
			patienceFlag("the copy"),
		),
		Action: func(ctx context.Context, c *cli.Command) error { return runCopy(ctx, c, stdout, stderr) },
	}
}

func runCopy(ctx context.Context, c *cli.Command, stdout, stderr io.Writer) error {
	mode := bulk.Add
	switch {
	case c.Bool("overwrite") && c.Bool("fenced"):
		return usage("--overwrite and --fenced exclude each other")
	case c.Bool("overwrite"):
		mode = bulk.Overwrite
	case c.Bool("fenced"):
		mode = bulk.Fenced
	}
	from, to, err := open(ctx, c, optionsOf(c))
	if err != nil {
		return err
	}
	defer from.Close()
	defer to.Close()
	job := bulk.Job{
		From: from, To: to, Filter: filterOf(c), Mode: mode, DryRun: c.Bool("dry-run"),
		Workers: c.Int("workers"), Rate: c.Float("rate"), Batch: c.Int("batch"),
		StateFile: c.String("state"), Patience: c.Duration("patience"),
	}
	if !c.Bool("quiet") {
		job.Progress = newProgress(stderr).show
	}
	rep, err := bulk.Copy(ctx, job)
	out := newCopyReport(&job, rep, err)
	if c.Bool("json") {
		out.writeJSON(stdout)
	} else {
		out.write(stdout)
	}
	switch {
	case ctx.Err() != nil:
		err = errors.New("interrupted")
		fallthrough
	case err != nil:
		if job.StateFile != "" && rep.Runs > 0 && !errors.Is(err, bulk.ErrFinished) {
			err = fmt.Errorf("%w; the same command goes on from here", err)
		}
		return &exitError{exitFailed, err}
	case rep.Fates[bulk.Failed] > 0:
		return &exitError{exitFailed, fmt.Errorf("%d keys could not be copied", rep.Fates[bulk.Failed])}
	}
	return nil
}
