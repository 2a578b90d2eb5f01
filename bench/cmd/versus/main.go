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

// sections in the order in which they run.
var sections = []section{
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
	asJSON := flag.Bool("json", false, "print the rows as JSON, and nothing else, to standard output; the tables go to standard error")
	quick := flag.Bool("quick", false, "under a minute, with more noise")
	doc := flag.String("doc", "", "write the results to this file, as a page with a chart beside it")
	check := flag.Bool("check", false, "exit 1 if a row is beyond its guard, after its section was measured again up to twice")
	only := flag.String("section", "", "one of: "+strings.Join(names(), ", "))
	flag.Parse()
	if *only != "" && !slices.Contains(names(), *only) {
		return fail(fmt.Errorf("there is no section %q, only %s", *only, strings.Join(names(), ", ")))
	}
	r := &run{quick: *quick, plan: side.Plan{Rounds: 9, Round: 120 * time.Millisecond}, began: time.Now(), load: load(), out: os.Stdout}
	if *asJSON {
		r.out = os.Stderr
	}
	began := r.began
	if *quick {
		r.plan = side.Plan{Rounds: 4, Round: 30 * time.Millisecond}
	}
	servers, err := start()
	if err != nil {
		return fail(err)
	}
	defer servers.close()
	r.servers = servers
	fmt.Fprintf(r.out, "%s, %s/%s, %d processors; %s\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), processor())
	var chosen []section
	for _, s := range sections {
		if *only == "" || *only == s.name {
			chosen = append(chosen, s)
		}
	}
	r.all(chosen, *check)
	r.began = began
	table(r.out, r.rows)
	if *doc != "" {
		if err := page(*doc, r); err != nil {
			return fail(err)
		}
	}
	fmt.Fprintf(r.out, "\n%s", r.summary())
	if *asJSON {
		if err := json.NewEncoder(os.Stdout).Encode(r.report()); err != nil {
			return fail(err)
		}
	}
	failed := false
	for _, w := range r.rows {
		failed = failed || w.Failed != ""
	}
	if over := beyond(r.rows); *check && len(over) > 0 || failed {
		for _, w := range over {
			fmt.Fprintf(os.Stderr, "versus: %s, %s: %s\n", w.Section, w.Row, w.Why)
		}
		return 1
	}
	return 0
}

// report is what -json prints.
func (r *run) report() map[string]any {
	rows := r.rows
	if rows == nil {
		rows = []row{}
	}
	return map[string]any{"rows": rows, "quick": r.quick, "seconds": time.Since(r.began).Seconds(), "tables": r.done, "lowered": r.lowered}
}

// summary says how long it took, and what that cost.
func (r *run) summary() string {
	text := fmt.Sprintf("%v; %d rows", time.Since(r.began).Round(time.Second), len(r.rows))
	if r.lowered > 0 {
		text += fmt.Sprintf("; %d tables with fewer rounds than planned, to keep to the time", r.lowered)
	}
	return text + "\n"
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
