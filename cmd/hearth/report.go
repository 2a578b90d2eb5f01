package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/hearthcache/hearth/cmd/hearth/internal/bulk"
)

// copyReport is the closing report of a copy, as --json prints it. With a state file the counts
// are those of all runs together.
type copyReport struct {
	Command   string           `json:"command"`
	From      string           `json:"from"`
	To        string           `json:"to"`
	DryRun    bool             `json:"dry_run"`
	Complete  bool             `json:"complete"`
	Resumed   bool             `json:"resumed"`
	Listed    int64            `json:"listed"`
	Copied    int64            `json:"copied"`
	Skipped   map[string]int64 `json:"skipped"`
	Filtered  int64            `json:"filtered"`
	Failed    int64            `json:"failed"`
	Bytes     int64            `json:"bytes"`
	FlagsLost int64            `json:"flags_lost"`
	NoExpiry  int64            `json:"no_expiry"`
	Seconds   float64          `json:"seconds"`
	Rate      float64          `json:"keys_per_second"`
	Failures  []bulk.FailedKey `json:"failures,omitempty"`
	Remarks   []string         `json:"remarks,omitempty"`
	Error     string           `json:"error,omitempty"`
}

// unfenced is what is to be known of a copy without leases.
const unfenced = "the copy was not fenced: what a service changed meanwhile may be older in the target; if one was running, compare with \"hearth verify\""

func newCopyReport(j *bulk.Job, r bulk.Report, err error) *copyReport {
	c := &copyReport{
		Command: "copy", From: j.From.String(), To: j.To.String(), DryRun: j.DryRun, Complete: r.Complete, Resumed: r.Resumed,
		Listed: r.Listed, Copied: r.Fates[bulk.Copied], Skipped: r.Skipped(), Filtered: r.Fates[bulk.Filtered],
		Failed: r.Fates[bulk.Failed], Bytes: r.Bytes, FlagsLost: r.FlagsLost, NoExpiry: r.NoExpiry,
		Seconds: r.Seconds, Rate: r.PerSecond, Failures: r.Samples, Remarks: r.Remarks,
	}
	if j.Mode != bulk.Fenced && !j.DryRun {
		c.Remarks = append(slices.Clip(c.Remarks), unfenced)
	}
	if err != nil {
		c.Error = err.Error()
	}
	return c
}

func (c *copyReport) writeJSON(w io.Writer) { _ = json.NewEncoder(w).Encode(c) }

// reasons explains to people why a key was left alone.
var reasons = map[string]string{
	"exists":            "the target holds a value or a placeholder",
	"changed_meanwhile": "the service changed them while they were copied",
	"expired":           "gone since they were listed",
	"lease":             "placeholders of loads and deletes",
	"not_a_string":      "lists, hashes, sets and the like",
	"too_large":         "for the target",
	"key_not_holdable":  "empty, longer than 250 bytes, or with blanks; see --hash-keys",
	"key_unknown":       "memcached holds them under a hash that does not tell the key",
	"not_on_its_server": "left over on a server that is not theirs; is the router right?",
}

func (c *copyReport) write(w io.Writer) {
	verb := "copied"
	if c.DryRun {
		verb = "to copy"
	}
	state := "complete"
	if !c.Complete {
		state = "NOT COMPLETE"
	}
	if c.Resumed {
		state += ", counted over all runs"
	}
	fmt.Fprintf(w, "%s -> %s: %s\n", c.From, c.To, state)
	fmt.Fprintf(w, "%-9s %s keys, %s bytes\n", verb, thousands(c.Copied), thousands(c.Bytes))
	if c.NoExpiry > 0 {
		fmt.Fprintf(w, "          %s of them never expire\n", thousands(c.NoExpiry))
	}
	if c.FlagsLost > 0 {
		fmt.Fprintf(w, "          %s of them lost their memcached flags: Redis keeps none\n", thousands(c.FlagsLost))
	}
	var sum int64
	for _, n := range c.Skipped {
		sum += n
	}
	fmt.Fprintf(w, "%-9s %s\n", "skipped", thousands(sum))
	for _, name := range slices.Sorted(maps.Keys(c.Skipped)) {
		fmt.Fprintf(w, "          %s %s (%s)\n", thousands(c.Skipped[name]), name, reasons[name])
	}
	if c.Filtered > 0 {
		fmt.Fprintf(w, "%-9s %s not asked for\n", "filtered", thousands(c.Filtered))
	}
	fmt.Fprintf(w, "%-9s %s\n", "failed", thousands(c.Failed))
	for _, f := range c.Failures {
		fmt.Fprintf(w, "          %s: %s\n", f.Key, f.Error)
	}
	fmt.Fprintf(w, "%-9s %.1f s, %s keys/s\n", "took", c.Seconds, thousands(int64(c.Rate)))
	for _, text := range c.Remarks {
		fmt.Fprintln(w, "note:", text)
	}
}

// thousands writes n with a comma after every three digits.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
