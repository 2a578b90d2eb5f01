package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// options are what the command line asks for.
type options struct {
	scenario string
	requests int
	seed     uint64
	trace    string
	width    int
	keys     int
	skew     float64
	rate     int
	delay    time.Duration
	workers  int
	json     bool
	embedded bool
	budget   time.Duration

	wrap func(backends.Store) backends.Store // breaks the store, in tests that must see it
}

const usage = `Moves a service from one cache server to another, under load: without hearth, and with it.

usage: migrate [flags]

The same requests are replayed three times: without a migration, over a cold swap of the
servers, and through hearth: up through all phases, down again, and up for good. The exit code
is 1 if a promise is not kept (no stale read; the source at no moment has more than 1.2 times
its usual load; the cold swap costs it 5 times that). redis-server and memcached are taken from PATH;
where they are missing, stand-ins inside this process answer. Everything that was started is
stopped at the end.

`

// parseOptions reads the command line; help goes to w.
func parseOptions(args []string, w io.Writer) (options, error) {
	o := options{}
	f := flag.NewFlagSet("migrate", flag.ContinueOnError)
	f.SetOutput(io.Discard) // errors are printed once, by the caller
	f.StringVar(&o.scenario, "scenario", "memcached-redis", "what moves where: `name` is memcached-redis, redis-memcached\nor resize (a memcached fleet of 3 servers becomes one of 5)")
	f.StringVar(&o.trace, "trace", "", "replay the keys in this `file`: gzip of big-endian unsigned integers, one\nfor each request (default: a Zipf generator)")
	f.IntVar(&o.width, "width", 0, "`bits` of a key in the trace, 32 or 64 (default: found out)")
	f.IntVar(&o.requests, "requests", 0, "replay `n` requests (default: 45000; with -trace all of it, at most 120000)")
	f.Uint64Var(&o.seed, "seed", 1, "seed `n` of the generator, and of which requests change a record")
	f.IntVar(&o.keys, "keys", 200_000, "records that the Zipf generator knows, `n`")
	f.Float64Var(&o.skew, "skew", 0.75, "exponent `s` of the Zipf generator: the k-th record is asked for 1/k^s as often\nas the first")
	f.IntVar(&o.rate, "rate", 0, "requests a second, `n` (default: 8000; with -trace 16000)")
	f.DurationVar(&o.delay, "delay", 2*time.Millisecond, "how long the source takes for a load, `d`")
	f.IntVar(&o.workers, "workers", 64, "requests under way at once, `n`")
	f.BoolVar(&o.embedded, "embedded", false, "use the stand-ins even where real servers are installed")
	f.BoolVar(&o.json, "json", false, "end with one line of JSON on standard output; all else goes to standard error")
	f.DurationVar(&o.budget, "budget", 34*time.Second, "replay fewer requests where all three runs would take longer than `d`")
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(w, usage)
		f.SetOutput(w)
		f.PrintDefaults()
		return o, err
	}
	if err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: everything is a flag, e.g. -trace %s", f.Arg(0), f.Arg(0))
	}
	if err := o.check(); err != nil {
		return o, err
	}
	if o.rate == 0 && o.trace == "" {
		o.rate = 8_000
	} else if o.rate == 0 {
		o.rate = 16_000 // traces are longer
	}
	return o, nil
}

// check says everything that is wrong with o.
func (o options) check() error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(!slices.Contains(scenarioNames, o.scenario), "-scenario %q: there is no such scenario, only %s", o.scenario, strings.Join(scenarioNames, ", "))
	refuse(o.width != 0 && o.width != 32 && o.width != 64, "-width %d: keys have 32 or 64 bits", o.width)
	refuse(o.width != 0 && o.trace == "", "-width without -trace")
	refuse(o.requests != 0 && o.requests < minRequests, "-requests %d: at least %d, or a phase has too few loads to compare", o.requests, minRequests)
	refuse(o.keys < 1, "-keys %d: at least 1", o.keys)
	refuse(!(o.skew >= 0 && o.skew <= 10), "-skew %v: between 0 and 10", o.skew)
	refuse(o.rate < 0, "-rate %d is negative", o.rate)
	refuse(o.delay < 0, "-delay %v is negative", o.delay)
	refuse(o.workers < 1 || o.workers > 10_000, "-workers %d: between 1 and 10000", o.workers)
	refuse(o.budget <= 0, "-budget %v: more than 0", o.budget)
	return errors.Join(errs...)
}

// minRequests is the least that leaves the shortest phase enough loads to compare (see
// series.windowWidth).
const minRequests = 10_000
