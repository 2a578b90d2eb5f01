// Command durable measures how many writes a second the durable levels of write-behind accept,
// side by side with the plain way to keep a write on the same disk, and how many source writes a
// hot set of keys costs.
//
//	go -C bench run ./cmd/durable          # 25 rounds of 300 ms each
//	go -C bench run ./cmd/durable -quick   # 7 rounds of 200 ms
//	go -C bench run ./cmd/durable -json    # nothing but the result
//
// Journal, with 64 writers, goes against bbolt's own DB.Batch with 64 writers, once as it comes
// (it waits up to 10 ms for a batch) and once tuned so that 64 waiting writers make a batch; the
// tuned one is the peer. Stream, with 64 writers, goes against 64 loops of XADD on 64 connections
// of the same kind to the same server, with appendfsync always, and once more with everysec.
// Rounds are interleaved; a round measures accepted writes while the queue also delivers them to
// a source that takes everything at once, and the queue is emptied, unmeasured, before the next.
// The ratio is the median of the ratios of neighbours.
//
// The goals: Journal at least 0.8 times the peer or 10,000 a second, whichever is lower; Stream
// at least 0.8 times the peer with appendfsync always; 100,000 writes of 100 keys at most 1,000
// source writes at every level, the newest value of each key among them. The exit code is 1 if
// one is missed. The last line is the result as JSON; -dir says which disk.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

const (
	writers   = 64
	keySpace  = 100_000
	valueSize = 200

	share = 0.8    // of what the peer does
	plain = 10_000 // writes a second that are enough for Journal
)

// plan says how much to measure.
type plan struct {
	rounds int
	round  time.Duration
	dir    string
}

// result is the last line.
type result struct {
	Journal    contest   `json:"journal"`
	Stream     contest   `json:"stream"`
	Everysec   contest   `json:"stream_everysec"`
	Coalescing []squeeze `json:"coalescing"`
	FsyncUs    float64   `json:"fsync_us"` // of 4 KiB on this disk, median
	Met        bool      `json:"met"`
}

func main() {
	quick := flag.Bool("quick", false, "7 rounds of 200 ms instead of 25 of 300 ms")
	onlyJSON := flag.Bool("json", false, "print nothing but the result")
	dir := flag.String("dir", os.TempDir(), "a folder on the disk to measure")
	flag.Parse()
	p := plan{rounds: 25, round: 300 * time.Millisecond}
	if *quick {
		p = plan{rounds: 7, round: 200 * time.Millisecond}
	}
	var progress io.Writer = os.Stdout
	if *onlyJSON {
		progress = io.Discard
	}
	if err := run(p, *dir, progress); err != nil {
		fmt.Fprintln(os.Stderr, "durable:", err)
		os.Exit(1)
	}
}

func run(p plan, dir string, progress io.Writer) (err error) {
	if p.dir, err = os.MkdirTemp(dir, "durable"); err != nil {
		return err
	}
	defer os.RemoveAll(p.dir)
	var r result
	if r.FsyncUs, err = fsyncTime(filepath.Join(p.dir, "probe")); err != nil {
		return err
	}
	fmt.Fprintf(progress, "an fsync of 4 KiB takes %.0f us here\n", r.FsyncUs)
	if r.Journal, err = journal(p); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	r.Journal.print(progress, "Journal")
	if r.Stream, err = stream(p, "always"); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	r.Stream.print(progress, "Stream, appendfsync always")
	if r.Everysec, err = stream(p, "everysec"); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	r.Everysec.print(progress, "Stream, appendfsync everysec")
	if r.Coalescing, err = coalescing(p); err != nil {
		return fmt.Errorf("coalescing: %w", err)
	}
	for _, s := range r.Coalescing {
		fmt.Fprintf(progress, "%-8s %d writes of %d keys became %d source writes (%.2f %%) in %.1f s\n",
			s.Level, s.Writes, s.Keys, s.SourceWrites, 100*s.Share, s.Seconds)
	}
	missed := r.judge()
	r.Met = missed == nil
	out, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Println(string(out))
	return missed
}

// judge says which goal was missed.
func (r *result) judge() error {
	var errs []error
	r.Journal.Goal = "0.8 x the peer or 10,000/s, whichever is lower"
	if r.Journal.Met = r.Journal.Ratio >= share || r.Journal.Hearth >= plain; !r.Journal.Met {
		errs = append(errs, fmt.Errorf("journal: %.0f/s, %.2f x the peer", r.Journal.Hearth, r.Journal.Ratio))
	}
	r.Stream.Goal = "0.8 x the peer"
	if r.Stream.Met = r.Stream.Ratio >= share; !r.Stream.Met {
		errs = append(errs, fmt.Errorf("stream: %.0f/s, %.2f x the peer", r.Stream.Hearth, r.Stream.Ratio))
	}
	r.Everysec.Goal, r.Everysec.Met = "none: shown", true
	for i := range r.Coalescing {
		s := &r.Coalescing[i]
		if s.Met = s.Share <= 0.01 && s.WrongKeys == 0; !s.Met {
			errs = append(errs, fmt.Errorf("coalescing, %s: %d source writes, %d keys without their newest value", s.Level, s.SourceWrites, s.WrongKeys))
		}
	}
	return errors.Join(errs...)
}
