package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/hearthcache/hearth/cmd/hearth/internal/bulk"
)

func deleteCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "delete",
		Usage:     "delete the values whose keys begin with a prefix",
		UsageText: "hearth delete --at URL --prefix TEXT [--dry-run] [options]",
		Description: `This clears one of two stores that share servers, where a flush would take away the other's
values too. Placeholders of loads and deletes stay, those too that come meanwhile: they end by
themselves. Services may go on
meanwhile; what they write may be deleted or not. With --except alone, everything else on the
servers is deleted.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "at", Usage: "`URL` of the server", Sources: cli.EnvVars("HEARTH_AT")},
			&cli.StringFlag{Name: "prefix", Usage: "keys that begin with `TEXT`"},
			&cli.StringFlag{Name: "match", Usage: "only keys that match a `PATTERN` as of Redis: * ? [a-z] \\"},
			&cli.StringFlag{Name: "except", Usage: "no keys that begin with `TEXT`"},
			&cli.BoolFlag{Name: "dry-run", Usage: "change nothing, count what would be deleted", Aliases: []string{"n"}},
			&cli.IntFlag{Name: "workers", Usage: "`NUMBER` of workers", Value: 4, Validator: atLeast(1)},
			&cli.FloatFlag{Name: "rate", Usage: "at most `KEYS` per second; 0 = as fast as it goes", Validator: notBelowZero[float64]},
			&cli.DurationFlag{Name: "timeout", Usage: "`TIME` a server may take for a batch", Value: defaultTimeout, Validator: notBelowZero[time.Duration]},
			patienceFlag("the command"),
			&cli.BoolFlag{Name: "json", Usage: "print the report as one line of JSON"},
			&cli.BoolFlag{Name: "quiet", Usage: "say nothing of servers that are asked again", Aliases: []string{"q"}},
		},
		Action: func(ctx context.Context, c *cli.Command) error { return runDelete(ctx, c, stdout, stderr) },
	}
}

// deleteReport is the report of a removal, as --json prints it.
type deleteReport struct {
	Command string   `json:"command"`
	At      string   `json:"at"`
	DryRun  bool     `json:"dry_run"`
	Deleted int64    `json:"deleted"`  // in a dry run: would be
	Left    int64    `json:"left_out"` // placeholders, lists, hashes, or changed meanwhile
	Seconds float64  `json:"seconds"`
	Remarks []string `json:"remarks,omitempty"`
	Error   string   `json:"error,omitempty"`
}

func runDelete(ctx context.Context, c *cli.Command, stdout, stderr io.Writer) error {
	if err := none(c); err != nil {
		return err
	}
	switch {
	case c.String("at") == "":
		return usage("--at is needed (or HEARTH_AT), for instance --at memcached://localhost:11211")
	case c.String("prefix") == "" && c.String("except") == "":
		return usage("--prefix is needed, or --except; to delete everything, flush the server by its own means")
	}
	at, err := bulk.Open(c.String("at"), optionsOf(c))
	if err != nil {
		return usage("--at %w", err)
	}
	defer at.Close()
	if err := at.Ping(ctx); err != nil {
		return &exitError{exitConnect, fmt.Errorf("cannot reach %w", err)}
	}
	d := bulk.Removal{
		At: at, Filter: filterOf(c), DryRun: c.Bool("dry-run"), Workers: c.Int("workers"), Rate: c.Float("rate"),
		Patience: c.Duration("patience"),
	}
	if !c.Bool("quiet") {
		d.Trouble = troubleTo(stderr)
	}
	removed, err := bulk.Delete(ctx, d)
	r := deleteReport{
		Command: "delete", At: at.String(), DryRun: d.DryRun, Deleted: removed.Deleted, Left: removed.Left,
		Seconds: removed.Seconds, Remarks: removed.Remarks,
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if err != nil {
		r.Error = err.Error()
	}
	if c.Bool("json") {
		_ = json.NewEncoder(stdout).Encode(r)
	} else {
		r.write(stdout)
	}
	if err != nil {
		return &exitError{exitFailed, fmt.Errorf("not everything is deleted: %w", err)}
	}
	return nil
}

func (r *deleteReport) write(w io.Writer) {
	verb := "deleted"
	if r.DryRun {
		verb = "to delete"
	}
	fmt.Fprintf(w, "%-9s %s keys of %s in %.1f s\n", verb, thousands(r.Deleted), r.At, r.Seconds)
	if r.Left > 0 {
		fmt.Fprintf(w, "left      %s (placeholders, which end by themselves, lists, hashes and the like, or changed meanwhile)\n", thousands(r.Left))
	}
	for _, text := range r.Remarks {
		fmt.Fprintln(w, "note:", text)
	}
}
