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

func verifyCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "compare values, flags and lifetimes of a sample of keys",
		UsageText: "hearth verify --from URL --to URL [--sample N] [options]",
		Description: `Every sampled key of --from is looked up in --to under the name that a copy would give it. A
key that differs is read again before it counts, since the service may have changed it in
between. With --both-ways a sample of the keys of --to is looked up in --from too, which finds
what was written to --to alone. Values are never shown. Exit code 1 if anything differs, or no
key was compared: a prefix may be mistyped.

A value of another client in --from that --to has in a frame of hearth's is counted as reframed:
fallback's Config.Legacy makes such values, and nobody here can tell whether the two mean the
same. With --strict it differs.`,
		Flags: append(endpointFlags(),
			&cli.IntFlag{Name: "sample", Usage: "`NUMBER` of keys, chosen at random among those wanted; 0 = all", Value: 10_000, Validator: atLeast(0)},
			&cli.IntFlag{Name: "seed", Usage: "another `NUMBER` chooses another sample"},
			&cli.DurationFlag{Name: "ttl-tolerance", Usage: "`TIME` by which lifetimes may differ", Value: 2 * time.Second, Validator: notBelowZero[time.Duration]},
			&cli.BoolFlag{Name: "both-ways", Usage: "also look for keys that only --to has"},
			&cli.BoolFlag{Name: "strict", Usage: "values that were reframed differ"},
			patienceFlag("the comparison"),
		),
		Action: func(ctx context.Context, c *cli.Command) error { return runVerify(ctx, c, stdout, stderr) },
	}
}

// verifyReport is the report of a comparison, as --json prints it.
type verifyReport struct {
	Command     string           `json:"command"`
	From        string           `json:"from"`
	To          string           `json:"to"`
	Compared    int64            `json:"compared"`
	Equal       int64            `json:"equal"`
	Reframed    int64            `json:"reframed"` // not among the differences
	Left        int64            `json:"left_out"` // not values, or gone meanwhile
	Back        int64            `json:"looked_back"`
	Differences map[string]int64 `json:"differences"`
	MaxDrift    float64          `json:"max_ttl_drift_seconds"`
	Seconds     float64          `json:"seconds"`
	Examples    []bulk.FoundKey  `json:"examples,omitempty"`
	Remarks     []string         `json:"remarks,omitempty"`
	Error       string           `json:"error,omitempty"`
}

var errNothingCompared = errors.New("no key was compared: are --from, --prefix, --match and --except what they should be?")

func runVerify(ctx context.Context, c *cli.Command, stdout, stderr io.Writer) error {
	from, to, err := open(ctx, c, optionsOf(c))
	if err != nil {
		return err
	}
	defer from.Close()
	defer to.Close()
	check := bulk.Check{
		From: from, To: to, Filter: filterOf(c), Sample: int64(c.Int("sample")), Seed: uint64(c.Int("seed")),
		Tolerance: c.Duration("ttl-tolerance"), Workers: c.Int("workers"), Rate: c.Float("rate"),
		BothWays: c.Bool("both-ways"), Strict: c.Bool("strict"), Patience: c.Duration("patience"),
	}
	if !c.Bool("quiet") {
		check.Trouble = troubleTo(stderr)
	}
	found, err := bulk.Verify(ctx, check)
	r := verifyReport{
		Command: "verify", From: from.String(), To: to.String(), Compared: found.Compared, Equal: found.Equal, Left: found.Left,
		Differences: map[string]int64{}, MaxDrift: found.MaxDrift.Seconds(), Seconds: found.Seconds, Examples: found.Samples,
		Reframed: found.Reframed, Back: found.Back, Remarks: found.Remarks,
	}
	for d, n := range found.Diffs {
		r.Differences[bulk.Difference(d).String()] = n
	}
	switch {
	case err != nil:
		err = fmt.Errorf("the comparison is not complete: %w", err)
	case found.Compared == 0 && found.Different() == 0:
		err = errNothingCompared
	}
	if err != nil {
		r.Error = err.Error()
	}
	if c.Bool("json") {
		_ = json.NewEncoder(stdout).Encode(r)
	} else {
		r.write(stdout)
	}
	switch n := found.Different(); {
	case err != nil:
		return &exitError{exitFailed, err}
	case n > 0:
		return &exitError{exitFailed, fmt.Errorf("%d of %d keys differ", n, found.Compared+found.Back)}
	}
	return nil
}

func (r *verifyReport) write(w io.Writer) {
	fmt.Fprintf(w, "compared  %s keys of %s with %s in %.1f s\n", thousands(r.Compared), r.From, r.To, r.Seconds)
	fmt.Fprintf(w, "equal     %s\n", thousands(r.Equal))
	if r.Reframed > 0 {
		fmt.Fprintf(w, "reframed  %s (values of other clients that hearth keeps in frames of its own; not compared)\n", thousands(r.Reframed))
	}
	if r.Left > 0 {
		fmt.Fprintf(w, "left out  %s (not values, or gone meanwhile)\n", thousands(r.Left))
	}
	for _, name := range []string{"missing", "value", "flags", "ttl", "failed"} {
		if n := r.Differences[name]; n > 0 {
			fmt.Fprintf(w, "%-9s %s\n", name, thousands(n))
		}
	}
	if r.Back > 0 {
		fmt.Fprintf(w, "only in   %s of %s keys of %s\n", thousands(r.Differences["only_in_target"]), thousands(r.Back), r.To)
	}
	fmt.Fprintf(w, "lifetimes differ by at most %.1f s\n", r.MaxDrift)
	for _, e := range r.Examples {
		fmt.Fprintf(w, "  %s: %s: %s, %s\n", e.Key, e.What, e.Old, e.New)
	}
	for _, text := range r.Remarks {
		fmt.Fprintln(w, "note:", text)
	}
}
