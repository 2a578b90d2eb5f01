package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/hearthcache/hearth/bench/internal/side"
)

// run is one measurement: how long, on what, and what came of it.
type run struct {
	quick   bool
	plan    side.Plan
	servers *machines
	rows    []row
	began   time.Time
	load    string // of the machine, then
}

// sections in the order in which they run.
var sections = []struct {
	name string
	run  func(*run) error
}{
	{"l1", (*run).l1},
	{"redis", (*run).redis},
	{"memcached", (*run).memcached},
	{"bulk", (*run).bulk},
	{"miss", (*run).miss},
	{"burst", (*run).burst},
	{"memory", (*run).memory},
	{"codecs", (*run).codecs},
}

func main() {
	if target := os.Getenv(delayEnv); target != "" {
		os.Exit(delayed(target))
	}
	os.Exit(versus())
}

func versus() int {
	asJSON := flag.Bool("json", false, "print the rows as JSON in the last line")
	quick := flag.Bool("quick", false, "under a minute, with more noise")
	doc := flag.String("doc", "", "write the results to this file, as a page with a chart beside it")
	only := flag.String("section", "", "one of: "+strings.Join(names(), ", "))
	flag.Parse()
	if *only != "" && !slices.Contains(names(), *only) {
		return fail(fmt.Errorf("there is no section %q, only %s", *only, strings.Join(names(), ", ")))
	}
	r := &run{quick: *quick, plan: side.Plan{Rounds: 9, Round: 120 * time.Millisecond}, began: time.Now(), load: load()}
	if *quick {
		r.plan = side.Plan{Rounds: 4, Round: 30 * time.Millisecond}
	}
	servers, err := start()
	if err != nil {
		return fail(err)
	}
	defer servers.close()
	r.servers = servers
	fmt.Printf("%s, %s/%s, %d processors; %s\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), processor())
	for _, s := range sections {
		if *only != "" && *only != s.name {
			continue
		}
		if err := s.run(r); err != nil {
			return fail(fmt.Errorf("%s: %w", s.name, err))
		}
		runtime.GC()
	}
	table(os.Stdout, r.rows)
	if *doc != "" {
		if err := page(*doc, r); err != nil {
			return fail(err)
		}
	}
	if *asJSON {
		if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"rows": r.rows}); err != nil {
			return fail(err)
		}
	}
	return 0
}

func names() []string {
	var all []string
	for _, s := range sections {
		all = append(all, s.name)
	}
	return all
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "versus:", err)
	return 1
}

// processor is what this machine says it runs on.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, " \t:"))
		}
	}
	return "unknown processor"
}
