//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/hearthcache/hearth/internal/faultproxy"
	"github.com/hearthcache/hearth/internal/servers"
)

// plan is how long things take.
type plan struct {
	Phase, Hole     time.Duration // measured, in each phase; and in the black hole
	Side            time.Duration // before and after an event
	Ping, DeadAfter time.Duration
	AtOnce          bool // start all servers before anything is measured
	Deaf            bool
}

var (
	full  = plan{Phase: 15 * time.Second, Hole: 8 * time.Second, Side: 8 * time.Second, Ping: time.Second, DeadAfter: 3 * time.Second}
	quick = plan{Phase: 1200 * time.Millisecond, Hole: 2200 * time.Millisecond, Side: 800 * time.Millisecond, Ping: 300 * time.Millisecond, DeadAfter: 900 * time.Millisecond, AtOnce: true}
)

// kinds are the servers that are measured, one after the other.
var kinds = []string{"redis", "cluster", "memcached", "restart", "sentinel", "cluster-events"}

func main() {
	asJSON := flag.Bool("json", false, "print the figures as one line of JSON on standard output, and the table on standard error")
	short := flag.Bool("quick", false, "a short run, with a quicker watchdog")
	unheard := flag.Bool("deaf", false, "let the processes ignore the news, to see that it shows")
	only := flag.String("only", "", "run one kind of servers: "+strings.Join(kinds, ", "))
	child := flag.String("process", "", "used by the program itself")
	flag.Parse()
	if *child != "" {
		exitOn(asProcess(*child))
		return
	}
	logging.Disable() // servers are killed on purpose
	p := full
	if *short {
		p = quick
	}
	p.Deaf = *unheard
	all := newReport()
	if *only != "" {
		if !slices.Contains(kinds, *only) {
			exitOn(fmt.Errorf("-only %q: there is %s", *only, strings.Join(kinds, ", ")))
		}
		kinds = []string{*only}
	}
	failed := measure(p, all) // what was measured before it counts
	people := io.Writer(os.Stdout)
	if *asJSON {
		people = os.Stderr
	}
	all.print(people)
	exitOn(failed)
	if *asJSON {
		exitOn(json.NewEncoder(os.Stdout).Encode(all.figures()))
	}
	if len(all.broken()) > 0 {
		os.Exit(1)
	}
}

// measure runs all kinds. In a short run the servers are started all at once.
func measure(p plan, all *report) error {
	farms, errs := make([]*farm, len(kinds)), make([]error, len(kinds))
	defer func() {
		for _, f := range farms {
			if f != nil {
				_ = f.Close() // those of a run that was given up
			}
		}
	}()
	if p.AtOnce {
		var starting sync.WaitGroup
		for i, kind := range kinds {
			starting.Go(func() { farms[i], errs[i] = build(kind, p) })
		}
		starting.Wait()
	}
	for i, kind := range kinds {
		if farms[i] == nil {
			farms[i], errs[i] = build(kind, p)
		}
		if errs[i] != nil {
			return errs[i]
		}
		if err := run(farms[i], kind, p, all); err != nil {
			return err
		}
		if err := farms[i].Close(); err != nil {
			return err
		}
		farms[i] = nil
	}
	return nil
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "coherence:", err)
		os.Exit(2)
	}
}

// asProcess is this program as one of the four. The memory they share is its third file.
func asProcess(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	b, err := share(os.NewFile(3, "board"))
	if err != nil {
		return err
	}
	go func() { // whoever started us is gone: so are we
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	return work(o, b)
}

// worker is one of the processes, seen from outside.
type worker struct {
	cmd *exec.Cmd
	in  io.Closer
	out io.Reader
}

func start(o order, shared *os.File) (*worker, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-process", string(text))
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, []*os.File{shared}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &worker{cmd, in, out}, cmd.Start()
}

// farm are the servers of one scenario, and what can be done to them: the way to them disturbed,
// or events.
type farm struct {
	order   order
	control []string // the servers that the control goes through
	proxies []*faultproxy.Proxy
	events  []event
	closers []io.Closer
}

func (f *farm) Close() error {
	var errs []error
	for _, c := range f.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func (f *farm) set(fault faultproxy.Fault) {
	for _, p := range f.proxies {
		p.Set(fault)
	}
}

func (f *farm) reset() {
	for _, p := range f.proxies {
		p.ResetAll()
	}
}

// build starts the servers of a scenario.
func build(kind string, p plan) (f *farm, err error) {
	f = &farm{order: order{Kind: kind, Through: map[string]string{}, Control: map[string]string{}, Ping: p.Ping, DeadAfter: p.DeadAfter, Deaf: p.Deaf}}
	switch kind {
	case "restart":
		f.order.Kind, err = "redis", restart(f, p)
	case "sentinel":
		err = sentinel(f, p)
	case "cluster-events":
		f.order.Kind, err = "cluster", cluster(f, p)
	default:
		return f, undisturbed(f)
	}
	if err != nil {
		return f, err
	}
	// Nothing that is killed can carry the control.
	s, err := servers.StartRedis(servers.Options{MustBeReal: true})
	if err != nil {
		return f, err
	}
	f.closers, f.control = append(f.closers, s), []string{s.Addr()}
	f.order.Control[s.Addr()] = s.Addr()
	f.order.MayLose = true
	return f, nil
}

// undisturbed starts servers that nothing happens to, with a proxy before every Redis.
func undisturbed(f *farm) error {
	real := servers.Options{MustBeReal: true}
	if f.order.Kind == "cluster" {
		c, err := servers.StartRedisCluster(3, real)
		if err != nil {
			return err
		}
		f.closers, f.order.Redis = append(f.closers, c), c.Addrs()
	} else {
		s, err := servers.StartRedis(real)
		if err != nil {
			return err
		}
		f.closers, f.order.Redis = append(f.closers, s), []string{s.Addr()}
	}
	if f.order.Kind == "memcached" {
		s, err := servers.StartMemcached(real)
		if err != nil {
			return err
		}
		f.closers, f.order.Memcached = append(f.closers, s), s.Addr()
	}
	f.control = f.order.Redis
	for _, addr := range f.order.Redis {
		p, err := faultproxy.New(addr)
		if err != nil {
			return err
		}
		f.closers, f.proxies, f.order.Through[addr] = append(f.closers, p), append(f.proxies, p), p.Addr()
		control, err := faultproxy.New(addr)
		if err != nil {
			return err
		}
		f.closers, f.order.Control[addr] = append(f.closers, control), control.Addr()
	}
	return nil
}

// print shows the figures as a table.
func (r *report) print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "scenario\treads\tby L1\twrites\tfailed\tstale\t> 50 ms\tmean ms\tmax ms\tbound ms\tlost by Redis\tuncorrected: > 50 ms\tmax ms\t")
	for _, name := range r.names {
		t := r.tallies[name]
		mean := 0.0
		if t.Stale > 0 {
			mean = ms(t.Sum) / float64(t.Stale)
		}
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%.2f\t%.1f\t%.0f\t%d\t%d\t%.1f\t\n", name, t.Reads, t.L1, t.Writes, t.WriteErrs,
			t.Stale, t.Over, mean, ms(t.Max), ms(r.bounds[name]), t.Lost, t.OverRaw, ms(t.MaxRaw))
	}
	tw.Flush()
	for _, b := range r.broken() {
		fmt.Fprintln(w, "BROKEN:", b)
	}
}
