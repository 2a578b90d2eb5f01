package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/hearthcache/hearth/cmd/hearth/internal/bulk"
)

func verifyCommand(stdout, _ io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "compare values, flags and lifetimes of a sample of keys",
		UsageText: "hearth verify --from URL --to URL [--sample N] [options]",
		Description: `Every sampled key of --from is looked up in --to under the name that a copy would give it. A
key that differs is read again before it counts, since the service may have changed it in
between. Values are never shown. Exit code 1 if anything differs.`,
		Flags: append(endpointFlags(),
			&cli.IntFlag{Name: "sample", Usage: "about `NUMBER` keys, chosen at random; 0 = all", Value: 10_000, Validator: atLeast(0)},
			&cli.IntFlag{Name: "seed", Usage: "another `NUMBER` chooses another sample"},
			&cli.DurationFlag{Name: "ttl-tolerance", Usage: "`TIME` by which lifetimes may differ", Value: 2 * time.Second},
		),
		Action: func(ctx context.Context, c *cli.Command) error { return runVerify(ctx, c, stdout) },
	}
}

// verifyReport is the report of a comparison, as --json prints it.
type verifyReport struct {
	Command     string           `json:"command"`
	From        string           `json:"from"`
	To          string           `json:"to"`
	Compared    int64            `json:"compared"`
	Equal       int64            `json:"equal"`
	Left        int64            `json:"left_out"` // not values, or gone meanwhile
	Differences map[string]int64 `json:"differences"`
	MaxDrift    float64          `json:"max_ttl_drift_seconds"`
	Seconds     float64          `json:"seconds"`
	Examples    []bulk.FoundKey  `json:"examples,omitempty"`
	Error       string           `json:"error,omitempty"`
}

func runVerify(ctx context.Context, c *cli.Command, stdout io.Writer) error {
	from, to, err := open(ctx, c, optionsOf(c))
	if err != nil {
		return err
	}
	defer from.Close()
	defer to.Close()
	found, err := bulk.Verify(ctx, bulk.Check{
		From: from, To: to, Filter: filterOf(c), Sample: int64(c.Int("sample")), Seed: uint64(c.Int("seed")),
		Tolerance: c.Duration("ttl-tolerance"), Workers: c.Int("workers"), Rate: c.Float("rate"),
	})
	r := verifyReport{
		Command: "verify", From: from.String(), To: to.String(), Compared: found.Compared, Equal: found.Equal, Left: found.Left,
		Differences: map[string]int64{}, MaxDrift: found.MaxDrift.Seconds(), Seconds: found.Seconds, Examples: found.Samples,
	}
	for d, n := range found.Diffs {
		r.Differences[bulk.Difference(d).String()] = n
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
		return &exitError{exitFailed, fmt.Errorf("the comparison is not complete: %w", err)}
	case n > 0:
		return &exitError{exitFailed, fmt.Errorf("%d of %d keys differ", n, found.Compared)}
	}
	return nil
}

func (r *verifyReport) write(w io.Writer) {
	fmt.Fprintf(w, "compared  %s keys of %s with %s in %.1f s\n", thousands(r.Compared), r.From, r.To, r.Seconds)
	fmt.Fprintf(w, "equal     %s\n", thousands(r.Equal))
	if r.Left > 0 {
		fmt.Fprintf(w, "left out  %s (not values, or gone meanwhile)\n", thousands(r.Left))
	}
	for _, name := range []string{"missing", "value", "flags", "ttl", "failed"} {
		if n := r.Differences[name]; n > 0 {
			fmt.Fprintf(w, "%-9s %s\n", name, thousands(n))
		}
	}
	fmt.Fprintf(w, "lifetimes differ by at most %.1f s\n", r.MaxDrift)
	for _, e := range r.Examples {
		fmt.Fprintf(w, "  %s: %s differs: %s, %s\n", e.Key, e.What, e.Old, e.New)
	}
}
