// Command stampede lets 4000 callers in four processes ask for one cold key at the same moment,
// and counts how often it is loaded and how long after the load the last of them has its answer.
//
//	go -C bench run ./cmd/stampede [-json] [-quick]
//
// It does so through hearth on a real Redis and on a real memcached, and in the same run through
// other caches, each as its makers recommend. Those without a shared lease load once per process.
// rueidisaside, the one peer with such a lease, is not among them: see missing.
//
// The last line is JSON: "loads", the most that any round took, and "last_after_loader_ms", the
// median over the rounds, both by server; "worst_after_loader_ms" the worst round;
// "warm_round_trips" what a key costs, counted on the wire, that is in the remote tier ("remote")
// or in L1 ("l1"); "peers", and "peers_missing" with the reason. The exit code is 1 unless both
// servers are real and hearth loaded exactly once in every round, took at most 10 ms in the median
// round, and needed no round trip too many. The worst round is reported and not judged: it is that
// of the machine, which has 4000 callers to wake.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hearthcache/hearth/internal/servers"
)

const (
	processes = 4
	callers   = 1000 // in each process
	loadTime  = 50 * time.Millisecond
	allowed   = 10 // ms between the end of the load and the last caller's answer
)

func main() {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	jsonOnly := flag.Bool("json", false, "print nothing but the last line")
	quick := flag.Bool("quick", false, "fewer rounds, within 50 s")
	flag.Usage = func() {
		o := flag.CommandLine.Output()
		fmt.Fprintln(o, "stampede: 4000 callers in four processes ask for one cold key; how often is it loaded?")
		flag.PrintDefaults()
		for peer, why := range missing {
			fmt.Fprintf(o, "Not compared: %s: %s.\n", peer, why)
		}
	}
	flag.Parse()
	var out io.Writer = os.Stdout
	if *jsonOnly {
		out = os.Stderr
	}
	rounds := 40
	if *quick {
		rounds = 12
	}
	rep, err := measure(out, rounds)
	if err == nil {
		var line []byte
		if line, err = json.Marshal(rep); err == nil {
			fmt.Println(string(line))
			err = rep.wrong()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stampede:", err)
		os.Exit(1)
	}
}

// report is the last line.
type report struct {
	Loads     map[string]int     `json:"loads"`
	Last      map[string]float64 `json:"last_after_loader_ms"`
	Worst     map[string]float64 `json:"worst_after_loader_ms"`
	Warm      map[string]warmth  `json:"warm_round_trips"`
	Peers     map[string]figures `json:"peers"`
	Missing   map[string]string  `json:"peers_missing"` // why a peer is not among them
	Kinds     map[string]string  `json:"servers"`       // real or embedded
	Processes int                `json:"processes"`
	Callers   int                `json:"callers"`
	Rounds    int                `json:"rounds"`
	Seconds   float64            `json:"duration_s"`
}

// wrong says what hearth promised and did not keep.
func (r report) wrong() error {
	var errs []error
	for server, kind := range r.Kinds {
		if kind != servers.Real {
			errs = append(errs, fmt.Errorf("%s: the server is %s, which proves nothing: install the real one", server, kind))
		}
	}
	for server, n := range r.Loads {
		if n != 1 {
			errs = append(errs, fmt.Errorf("%s: %d loads of one key", server, n))
		}
		if r.Last[server] > allowed {
			errs = append(errs, fmt.Errorf("%s: the last caller %.1f ms after the load", server, r.Last[server]))
		}
		if w := r.Warm[server]; w.Remote != 1 || w.L1 != 0 {
			errs = append(errs, fmt.Errorf("%s: a warm key costs %d round trips, %d from L1", server, w.Remote, w.L1))
		}
	}
	return errors.Join(errs...)
}

// measure lets every contestant run its rounds.
func measure(out io.Writer, rounds int) (report, error) {
	began := time.Now()
	rep := report{
		Loads: map[string]int{}, Last: map[string]float64{}, Worst: map[string]float64{}, Warm: map[string]warmth{},
		Peers: map[string]figures{}, Missing: missing, Kinds: map[string]string{}, Processes: processes, Callers: callers, Rounds: rounds,
	}
	dir, err := os.MkdirTemp("", "hearth-stampede-")
	if err != nil {
		return rep, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	redis, err := servers.StartRedis(servers.Options{Args: []string{"--maxclients", "20000"}})
	if err != nil {
		return rep, err
	}
	defer func() { _ = redis.Close() }()
	memcached, err := servers.StartMemcached(servers.Options{})
	if err != nil {
		return rep, err
	}
	defer func() { _ = memcached.Close() }()
	addrs := map[string]string{"redis": redis.Addr(), "memcached": memcached.Addr()}
	rep.Kinds = map[string]string{"redis": redis.Kind(), "memcached": memcached.Kind()}

	fmt.Fprintf(out, "%-18s %6s %22s %8s\n", "", "loads", "last after loader, ms", "worst")
	for _, name := range names {
		f, err := contest{Name: name, Addrs: addrs, Path: filepath.Join(dir, strings.ReplaceAll(name, "/", "-")), Rounds: rounds}.run()
		if err != nil {
			return rep, fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(out, "%-18s %6d %22.1f %8.1f\n", name, f.Loads, f.Last, f.Worst)
		if server, ok := strings.CutPrefix(name, "hearth/"); ok {
			rep.Loads[server], rep.Last[server], rep.Worst[server] = f.Loads, f.Last, f.Worst
		} else {
			rep.Peers[name] = f
		}
	}
	for server, addr := range addrs {
		if rep.Warm[server], err = warm(server, addr); err != nil {
			return rep, fmt.Errorf("%s: %w", server, err)
		}
	}
	rep.Seconds = time.Since(began).Seconds()
	return rep, nil
}
