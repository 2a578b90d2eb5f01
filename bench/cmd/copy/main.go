// Command copy proves "hearth copy" with a million keys: between memcached and Redis in both
// directions and between two memcached servers it measures a copy beside a plain pipelined loop
// of the same two servers, then kills another copy with SIGKILL half-way, lets it go on, and
// looks at every key: its value, its flags where the target keeps them, and its lifetime.
//
//	go -C bench run ./cmd/copy [-json] [-quick] [-n 1000000]
//
// The last line is JSON: "keys", "missing", "wrong_value", "wrong_flags" and "ttl_off" (by more
// than two seconds) over all scenarios, "max_ttl_drift_seconds", and the smallest "ratio" of the
// copier's throughput to the loop's; "scenarios" has each. The exit code is 1 if a key is wrong, a
// killed copy did not go on where it stopped, or the ratio is below 0.6.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

const wantRatio = 0.6

// result is what one scenario came to.
type result struct {
	Keys       int     `json:"keys"`
	Missing    int     `json:"missing"`
	WrongValue int     `json:"wrong_value"`
	WrongFlags int     `json:"wrong_flags"`
	TTLOff     int     `json:"ttl_off"`
	MaxDrift   float64 `json:"max_ttl_drift_seconds"`
	PlainRate  float64 `json:"plain_keys_per_second"`
	CopyRate   float64 `json:"copy_keys_per_second"`
	Ratio      float64 `json:"ratio"`
	KilledAt   int     `json:"killed_at"`        // keys that the target had
	Repeated   int     `json:"repeated"`         // keys that the second run found copied already
	Resumed    bool    `json:"resumed"`          // the second run went on from a checkpoint
	CLI        any     `json:"report,omitempty"` // of the run that ended the killed copy
}

func (r *result) broken() error {
	switch {
	case r.Missing+r.WrongValue+r.WrongFlags+r.TTLOff > 0:
		return errors.New("keys are missing or wrong")
	case !r.Resumed || r.Repeated > r.KilledAt/2+5000:
		return errors.New("the killed copy did not go on where it stopped")
	case r.Ratio < wantRatio:
		return fmt.Errorf("the copier reached %.2f of the plain loop, want %.2f", r.Ratio, wantRatio)
	}
	return nil
}

func main() {
	jsonOnly := flag.Bool("json", false, "print nothing on stdout but the last line; progress goes to stderr")
	quick := flag.Bool("quick", false, "100 000 keys instead of a million")
	n := flag.Int("n", 1_000_000, "keys")
	flag.Parse()
	if *quick {
		*n = 100_000
	}
	var log io.Writer = os.Stdout
	if *jsonOnly {
		log = os.Stderr
	}
	if err := run(*n, log); err != nil {
		fmt.Fprintln(os.Stderr, "copy:", err)
		os.Exit(1)
	}
}

func run(n int, log io.Writer) error {
	binary, remove, err := build()
	if err != nil {
		return err
	}
	defer remove()
	all, broken := map[string]*result{}, []error(nil)
	sum := result{Ratio: 1e9, Resumed: true}
	for _, sc := range []struct{ name, from, to string }{
		{"memcached-redis", "memcached", "redis"},
		{"redis-memcached", "redis", "memcached"},
		{"memcached-memcached", "memcached", "memcached"},
	} {
		r, err := scenario(binary, sc.from, sc.to, n, log)
		if err != nil {
			return fmt.Errorf("%s: %w", sc.name, err)
		}
		fmt.Fprintf(log, "%-20s plain %8.0f keys/s, copy %8.0f keys/s (%.2f), killed at %d, wrong %d, drift %.2f s\n", sc.name,
			r.PlainRate, r.CopyRate, r.Ratio, r.KilledAt, r.Missing+r.WrongValue+r.WrongFlags+r.TTLOff, r.MaxDrift)
		if err := r.broken(); err != nil {
			broken = append(broken, fmt.Errorf("%s: %w", sc.name, err))
		}
		all[sc.name] = r
		sum.add(r)
	}
	out, err := json.Marshal(struct {
		Keys       int                `json:"keys"`
		Missing    int                `json:"missing"`
		WrongValue int                `json:"wrong_value"`
		WrongFlags int                `json:"wrong_flags"`
		TTLOff     int                `json:"ttl_off"`
		MaxDrift   float64            `json:"max_ttl_drift_seconds"`
		Ratio      float64            `json:"ratio"`
		Resumed    bool               `json:"resumed"`
		Scenarios  map[string]*result `json:"scenarios"`
	}{sum.Keys, sum.Missing, sum.WrongValue, sum.WrongFlags, sum.TTLOff, sum.MaxDrift, sum.Ratio, sum.Resumed, all})
	if err != nil {
		return err
	}
	fmt.Println(string(out))
	return errors.Join(broken...)
}

func (r *result) add(o *result) {
	r.Keys += o.Keys
	r.count(o)
	r.Ratio = min(r.Ratio, o.Ratio)
	r.Resumed = r.Resumed && o.Resumed
}

// count adds what is wrong in o.
func (r *result) count(o *result) {
	r.Missing += o.Missing
	r.WrongValue += o.WrongValue
	r.WrongFlags += o.WrongFlags
	r.TTLOff += o.TTLOff
	r.MaxDrift = max(r.MaxDrift, o.MaxDrift)
}
