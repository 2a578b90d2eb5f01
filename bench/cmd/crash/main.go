// Command crash kills processes that write behind, and counts what is missing afterwards.
//
// Each round starts a child with 16 producers, kills it with SIGKILL at a random moment, and lets
// a fresh process (for Stream: with a Redis server that was killed as well) deliver what the
// journal holds. Every write that a child reported as accepted, or a newer one of its key, must
// then be in the source. The level Memory goes through the same, to show that the method can see
// a loss.
//
//	go run ./cmd/crash          # 30 rounds
//	go run ./cmd/crash -quick   # 5 rounds
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

// result is what the last line says, per level and in sum.
type result struct {
	Rounds     int `json:"rounds"`
	Accepted   int `json:"accepted"`
	Lost       int `json:"lost"`
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
		Levels     map[string]result `json:"levels"`
	}{
		result:     result{min(j.Rounds, s.Rounds), j.Accepted + s.Accepted, j.Lost + s.Lost, j.Violations + s.Violations},
		MemoryLost: m.Lost,
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
