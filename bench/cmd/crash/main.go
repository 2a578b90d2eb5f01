// Command crash kills processes that write behind, and counts what is missing afterwards.
//
// Each round starts a child with 16 producers, kills it with SIGKILL at a random moment, and lets
// a fresh process (for Stream: with a Redis server that was killed as well) deliver what the
// journal holds. Producers write rising numbers: four of five are states of their keys, where
// newer ones take the place of older ones, and one of five is a delta, which nothing replaces.
// The level Memory goes through the same, to show that the method can see a loss.
//
// An accepted write is one whose caller had been told so before the kill. It is lost if, once
// everything is delivered, the source holds an older state of its key (the same or a newer one
// covers it: per key the newest wins), or, for a delta, if the source has never got it. An order
// violation is an older write of a key applied after a newer one by the same process, or a
// sequence that would make the source keep the older one.
//
//	go -C bench run ./cmd/crash          # 30 rounds
//	go -C bench run ./cmd/crash -quick   # 5 rounds
//	go -C bench run ./cmd/crash -json    # nothing but the result
//
// The last line is the result as JSON.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
)

// lostMeans is part of the result and of -h.
const lostMeans = "accepted writes whose key ends with an older state in the source, and accepted deltas that never reached it"

// result is what the last line says, per level and in sum.
type result struct {
	Rounds     int `json:"rounds"`
	Accepted   int `json:"accepted"`        // writes, deltas among them
	Deltas     int `json:"accepted_deltas"` // of Accepted
	Lost       int `json:"lost"`            // writes: see lostMeans
	Violations int `json:"order_violations"`
}

func main() {
	if level := os.Getenv(childLevel); level != "" {
		fmt.Println("error", produce(level)) // it is killed, or something is wrong
		os.Exit(1)
	}
	quick := flag.Bool("quick", false, "5 rounds instead of 30")
	onlyJSON := flag.Bool("json", false, "print nothing but the result")
	rounds := flag.Int("rounds", 30, "kills per level")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "crash kills processes that write behind, and counts lost writes:\n%s.\n\n", lostMeans)
		flag.PrintDefaults()
	}
	flag.Parse()
	if *quick {
		*rounds = 5
	}
	if err := run(*rounds, *onlyJSON); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

func run(rounds int, quiet bool) error {
	levels := map[string]result{}
	for _, level := range []string{"journal", "stream", "memory"} {
		res, err := crash(level, rounds, quiet)
		if err != nil {
			return fmt.Errorf("%s: %w", level, err)
		}
		levels[level] = res
	}
	j, s, m := levels["journal"], levels["stream"], levels["memory"]
	out, err := json.Marshal(struct {
		result
		MemoryLost int               `json:"memory_lost"`
		LostMeans  string            `json:"lost_means"`
		Levels     map[string]result `json:"levels"`
	}{
		result: result{
			Rounds: min(j.Rounds, s.Rounds), Accepted: j.Accepted + s.Accepted, Deltas: j.Deltas + s.Deltas,
			Lost: j.Lost + s.Lost, Violations: j.Violations + s.Violations,
		},
		MemoryLost: m.Lost,
		LostMeans:  lostMeans,
		Levels:     levels,
	})
	if err != nil {
		return err
	}
	fmt.Println(string(out))
	if j.Lost+s.Lost+j.Violations+s.Violations > 0 {
		return errors.New("a promise was broken")
	}
	if m.Lost == 0 {
		return errors.New("the level Memory lost nothing: the method could not have seen a loss")
	}
	return nil
}
