// Command race-writers lets 16 writers in 4 processes set one key at the same time, through a
// writer that reaches the source of record first, and looks after each round whether the cache
// holds what the source holds, or nothing. The plain way, write the source and then set the cache,
// goes through the same beside it, to show that the method can see a wrong value.
//
//	go -C bench run ./cmd/race-writers          # 10,000 rounds on each kind of server
//	go -C bench run ./cmd/race-writers -quick   # 500
//	go -C bench run ./cmd/race-writers -json    # nothing but the result
//
// The last line is the result as JSON.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/hearthcache/hearth/internal/servers"
)

// outcome is how one way of writing did on one kind of server.
type outcome struct {
	Server string  `json:"server"`
	Way    string  `json:"way"`
	Rounds int     `json:"rounds"`
	Wrong  int     `json:"wrong"`  // rounds after which the cache held another value than the source
	Empty  int     `json:"empty"`  // rounds after which it held nothing
	Share  float64 `json:"share"`  // Wrong / Rounds
	Errors int     `json:"errors"` // writes that returned an error
}

// The ways of writing.
const (
	fenced = "write-through"
	plain  = "plain set"
)

func main() {
	if os.Getenv(childEnv) != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, "race-writers: child:", err)
			os.Exit(1)
		}
		return
	}
	quick := flag.Bool("quick", false, "500 rounds instead of 10,000")
	onlyJSON := flag.Bool("json", false, "print nothing but the result")
	rounds := flag.Int("rounds", 10000, "rounds on each kind of server; the plain way gets a tenth")
	flag.Parse()
	if *quick {
		*rounds = 500
	}
	var progress io.Writer = os.Stdout
	if *onlyJSON {
		progress = io.Discard
	}
	if err := run(*rounds, progress); err != nil {
		fmt.Fprintln(os.Stderr, "race-writers:", err)
		os.Exit(1)
	}
}

func run(rounds int, progress io.Writer) error {
	source, err := servers.StartRedis(servers.Options{MustBeReal: true})
	if err != nil {
		return err
	}
	defer source.Close()
	var all []outcome
	var errs []error
	for _, kind := range []string{"redis", "memcached"} {
		for _, way := range []string{fenced, plain} {
			n := rounds
			if way == plain {
				n = max(rounds/10, 100)
			}
			o, err := race(source.Addr(), kind, way, n)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", kind, way, err)
			}
			fmt.Fprintf(progress, "%-10s %-14s %6d rounds: %5d wrong (%.1f %%), %d empty\n", kind, way, o.Rounds, o.Wrong, 100*o.Share, o.Empty)
			all = append(all, o)
			errs = append(errs, judge(o))
		}
	}
	out, err := json.Marshal(summary(all))
	if err != nil {
		return err
	}
	fmt.Println(string(out))
	return errors.Join(errs...)
}

// judge says what is not as promised.
func judge(o outcome) error {
	switch {
	case o.Way == fenced && o.Wrong > 0:
		return fmt.Errorf("%s: %d of %d rounds left a wrong value", o.Server, o.Wrong, o.Rounds)
	case o.Way == fenced && o.Errors > 0:
		return fmt.Errorf("%s: %d writes failed", o.Server, o.Errors)
	case o.Way == plain && o.Share <= 0.1:
		return fmt.Errorf("%s: the plain way was wrong in %.1f %% of the rounds only: the method could not have seen it", o.Server, 100*o.Share)
	}
	return nil
}

// total is the result as one line.
type total struct {
	Rounds     int       `json:"rounds"`
	Wrong      int       `json:"wrong"`
	PlainShare float64   `json:"plain_wrong_share"`
	Outcomes   []outcome `json:"outcomes"`
}

func summary(all []outcome) total {
	t := total{Outcomes: all}
	plainRounds, plainWrong := 0, 0
	for _, o := range all {
		if o.Way == fenced {
			t.Rounds += o.Rounds
			t.Wrong += o.Wrong
		} else {
			plainRounds += o.Rounds
			plainWrong += o.Wrong
		}
	}
	t.PlainShare = float64(plainWrong) / float64(max(plainRounds, 1))
	return t
}
