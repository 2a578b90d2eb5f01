// Command stale looks for stale reads: it hammers a real Redis and a real memcached through
// caches in several processes and holds every single read against an exact checker.
//
//	go -C bench run ./cmd/stale [-json] [-quick]
//
// Each scenario checks one promise, first with all fences on, when no read may be stale, and then
// without the fence that keeps it, when stale reads must show: a hammer that cannot see them
// proves nothing. A read is stale if it returns a value older than that of the newest write that
// was complete before the read began; see package internal/checker.
//
// The last line is JSON: "reads" and "stale_hits" with all fences on, "removed" with the stale
// reads seen without each fence, and the same per server and scenario under "servers". The exit
// code is 1 unless both servers are real, at least a million reads were made on each with all
// fences on (with -quick, at least one in each scenario), some of them answered by L1, none was
// stale or invented, and without each fence some were.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hearthcache/hearth/bench/internal/hammer"
	"github.com/hearthcache/hearth/internal/fence"
	"github.com/hearthcache/hearth/internal/servers"
)

func main() {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	jsonOnly := flag.Bool("json", false, "print nothing but the last line")
	quick := flag.Bool("quick", false, "fewer reads, within 50 s")
	flag.Parse()
	var out io.Writer = os.Stdout
	if *jsonOnly {
		out = os.Stderr
	}
	rep, err := measure(out, *quick)
	if err != nil {
		fmt.Fprintln(os.Stderr, "stale:", err)
		os.Exit(1)
	}
	line, err := json.Marshal(rep)
	if err != nil {
		fmt.Fprintln(os.Stderr, "stale:", err)
		os.Exit(1)
	}
	fmt.Println(string(line))
	if wrong := rep.wrong(*quick); wrong != nil {
		fmt.Fprintln(os.Stderr, "stale:", wrong)
		os.Exit(1)
	}
}

// report is the last line.
type report struct {
	Reads     uint64                  `json:"reads"`
	StaleHits uint64                  `json:"stale_hits"`
	Invented  uint64                  `json:"invented"` // values that nobody ever wrote
	Removed   map[string]uint64       `json:"removed"`
	Servers   map[string]serverReport `json:"servers"`
	Processes int                     `json:"processes"`
	Seconds   float64                 `json:"duration_s"`

	scenarios []scenario // what had to be seen
}

// serverReport is what was seen on one server.
type serverReport struct {
	Kind      string             `json:"kind"` // real or embedded
	Scenarios map[string]outcome `json:"scenarios"`
	Removed   map[string]outcome `json:"removed"`
}

// million is how many reads a full run has to make on each server.
const million = 1_000_000

// wrong says which promise was broken, or which fence was not seen to be needed, or what the run
// was too small to tell.
func (r report) wrong(quick bool) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if r.StaleHits+r.Invented > 0 {
		bad("%d stale reads with all fences on, %d values that nobody wrote", r.StaleHits, r.Invented)
	}
	for server, s := range r.Servers {
		if s.Kind != servers.Real {
			bad("%s: the server is %s, which proves nothing: install the real one", server, s.Kind)
		}
		var reads, l1 uint64
		for _, sc := range r.scenarios {
			o, ok := s.Scenarios[sc.name]
			if !ok || o.Reads == 0 {
				bad("%s: no read in scenario %q", server, sc.name)
			}
			reads, l1 = reads+o.Reads, l1+o.L1
			for _, f := range sc.without {
				if s.Removed[f.String()].Stale == 0 {
					bad("%s: no stale read without the fence %q", server, f)
				}
			}
		}
		if reads < million && !quick {
			bad("%s: %d reads with all fences on, want a million", server, reads)
		}
		if l1 == 0 {
			bad("%s: L1 answered no read", server)
		}
	}
	return errors.Join(errs...)
}

// measure runs every scenario on both servers, one after the other, the servers side by side.
func measure(out io.Writer, quick bool) (report, error) {
	began := time.Now()
	dir, err := os.MkdirTemp("", "hearth-stale-")
	if err != nil {
		return report{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	redis, err := servers.StartRedis(servers.Options{})
	if err != nil {
		return report{}, err
	}
	defer func() { _ = redis.Close() }()
	memcached, err := servers.StartMemcached(servers.Options{})
	if err != nil {
		return report{}, err
	}
	defer func() { _ = memcached.Close() }()

	rep := report{Removed: map[string]uint64{}, Servers: map[string]serverReport{}, Processes: processes, scenarios: scenarios}
	addrs := map[string]string{"redis": redis.Addr(), "memcached": memcached.Addr()}
	kinds := map[string]string{"redis": redis.Kind(), "memcached": memcached.Kind()}
	fmt.Fprintf(out, "%-10s %-9s %-8s %10s %12s %8s %8s\n", "server", "scenario", "without", "reads", "from L1", "stale", "seconds")
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	for server := range addrs {
		rep.Servers[server] = serverReport{Kind: kinds[server], Scenarios: map[string]outcome{}, Removed: map[string]outcome{}}
		wg.Go(func() {
			for _, r := range runs(quick) {
				r.Server, r.Addrs = server, addrs
				r.Path = filepath.Join(dir, fmt.Sprintf("%s-%s-%s", server, r.Scenario, r.Without))
				o, err := r.run()
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				}
				rep.add(server, r, o)
				fmt.Fprintf(out, "%-10s %-9s %-8s %10d %12d %8d %8.1f\n", server, r.Scenario, r.Without, o.Reads, o.L1, o.Stale, o.Seconds)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	rep.Seconds = time.Since(began).Seconds()
	return rep, errors.Join(errs...)
}

func (r *report) add(server string, run run, o outcome) {
	if run.Without != "" {
		r.Removed[run.Without] += o.Stale
		r.Servers[server].Removed[run.Without] = o
		return
	}
	r.Reads += o.Reads
	r.StaleHits += o.Stale
	r.Invented += o.Invented
	r.Servers[server].Scenarios[run.Scenario] = o
}

// scenario is what is run, with all fences on and then without each of its own.
type scenario struct {
	name    string
	without []fence.Fence
}

var scenarios = []scenario{
	{remote, []fence.Fence{fence.Lease}},
	{local, []fence.Fence{fence.Epoch, fence.Flight}},
	{tiers, []fence.Fence{fence.Order}},
	{undelivered, []fence.Fence{fence.Outbox}},
	{through, []fence.Fence{fence.Seize}},
}

// runs are the scenarios, each first with all fences on.
func runs(quick bool) []run {
	limit, most := 4*time.Minute, 20*time.Second
	if quick {
		limit, most = 2500*time.Millisecond, 3500*time.Millisecond
	}
	var out []run
	for _, s := range scenarios {
		out = append(out, run{Scenario: s.name, Until: hammer.Until{Goal: million, Least: time.Second, Most: limit}})
		for _, f := range s.without {
			out = append(out, run{Scenario: s.name, Without: f.String(), Until: hammer.Until{Goal: 1 << 62, Most: most}})
		}
	}
	return out
}
