package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hearthcache/hearth/fallback"
)

// way is one of the three ways to go through the requests.
type way int

const (
	steady way = iota // no migration
	cold              // the servers are swapped
	hearth            // through package fallback
)

var wayNames = [...]string{"no migration", "cold swap", "through hearth"}

// outcome is what came of one run.
type outcome struct {
	way       way
	requests  int // sent
	series    series
	marks     []mark // of the steps, for the chart
	kind      string // of the servers
	firstName string // of the first state, for the chart
	stale     int64
	wrong     int64
	failed    int64
	firstErr  error
	took      time.Duration
	behind    bool // the machine could not keep up with the rate
	progress  fallback.Progress
	last      fallback.Progress // hits of the last phase alone
}

// mark is a step, at its place in the series.
type mark struct {
	at   float64 // 0 to 1
	name string
}

// migrate replays the requests in all three ways, showing on out what happens.
func migrate(ctx context.Context, o options, out io.Writer) (*report, error) {
	began := time.Now()
	w, err := newWorkload(o)
	if err != nil {
		return nil, err
	}
	r := &report{options: o, workload: w, requests: len(w.reads)}
	for _, how := range []way{steady, cold, hearth} {
		one := &single{options: o, work: w, way: how, n: r.requests, deadline: began.Add(o.budget), out: out}
		res, n, err := one.run(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", wayNames[how], err)
		}
		r.outcomes = append(r.outcomes, res)
		if how == steady {
			r.requests = n // in the others as well
			r.width, r.unclear = res.series.windowWidth()
		}
	}
	r.took = time.Since(began)
	return r, nil
}

// single is one run.
type single struct {
	options  options
	work     *workload
	way      way
	n        int       // requests to replay
	deadline time.Time // for this run and those after it
	out      io.Writer

	svc       *service
	site      *site
	migration *fallback.Store
	before    fallback.Progress // when the last phase began
	drain     drain
}

// run does it, on servers of its own, and returns how many requests it replayed.
func (s *single) run(ctx context.Context) (_ outcome, n int, err error) {
	began := time.Now()
	if s.site, err = openSite(s.options); err != nil {
		return outcome{}, 0, err
	}
	defer func() { err = errors.Join(err, s.site.close()) }()
	s.svc = newService(s.work, newSource(len(s.work.names), s.options.delay))
	if err = s.open(); err != nil {
		return outcome{}, 0, err
	}
	defer func() { err = errors.Join(err, s.shut()) }()

	r := newReplay(s.svc, s.options, s.n, s.site.oldName)
	r.steps = s.steps()
	v := newView(s.out, r, s.title(), s.options.rate)
	v.begin(s.work.filled)
	if s.work.filled {
		if err = s.svc.fill(ctx); err != nil {
			return outcome{}, 0, err
		}
	}
	stop := v.watch()
	sending := time.Now()
	err = r.run(ctx, func() { s.shorten(r, began, sending) })
	took := time.Since(sending)
	stop()
	if err != nil {
		return outcome{}, 0, err
	}
	n = int(r.end.Load())
	res := s.outcome(r, n)
	res.took, res.behind = took, took.Seconds() > 1.1*float64(n)/float64(s.options.rate)
	return res, n, nil
}

// open puts the cache over the old server, with or without a way to the new one.
func (s *single) open() (err error) {
	store := s.site.old
	if s.way == hearth {
		member := fallback.Member{Store: s.site.old, Name: "old", Timeout: patience}
		s.migration, err = fallback.New(fallback.Config{
			New:        fallback.Member{Store: s.site.new, Name: "new", Timeout: patience},
			Old:        []fallback.Member{member},
			Phase:      walk[0].phase,
			Both:       true, // so that the way back is as warm as the way there
			LongestTTL: lifetime,
		})
		if err != nil {
			return err
		}
		store = s.migration
	}
	if s.options.wrap != nil {
		store = s.options.wrap(store)
	}
	s.svc.cache, err = s.svc.over("cache", store)
	return err
}

// shut ends what open began.
func (s *single) shut() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.drain.stop()
	err := s.svc.cache.Close(ctx)
	if s.migration != nil {
		s.migration.Close()
	}
	return err
}

func (s *single) title() string {
	switch s.way {
	case cold:
		return fmt.Sprintf("2/3  cold swap: from %s to an empty %s at once", s.site.oldName, s.site.newName)
	case hearth:
		return fmt.Sprintf("3/3  through hearth: from %s to %s by phases, back, and there for good", s.site.oldName, s.site.newName)
	}
	return fmt.Sprintf("1/3  no migration: %s all the time", s.site.oldName)
}

// steps is what happens on the way.
func (s *single) steps() []step {
	switch s.way {
	case cold:
		return []step{{share: 1.0 / 3, name: s.site.newName, do: s.swap}}
	case hearth:
		return s.legs()
	}
	return nil
}

// swap is the cold swap.
func (s *single) swap(ctx context.Context) error {
	next, err := s.svc.over("cache", s.site.swapped)
	if err != nil {
		return err
	}
	return s.svc.swap(ctx, next)
}

// costs is how long a run takes where there is too little processor time: a swap takes longer by
// all its loads, and a migration asks two servers and copies everything.
var costs = [...]float64{steady: 1, cold: 1.3, hearth: 2.3}

// shorten lowers the number of requests where the machine is so slow that this run and those
// after it would not end in time. Half of the requests are sent in any case, fewer would show
// nothing; and what is not sent is not compared.
func (s *single) shorten(r *replay, began, sending time.Time) {
	sent, end := r.sent.Load(), r.end.Load()
	if sent < int64(s.n)/4 {
		return
	}
	later := 0.0 // runs like this one
	for _, c := range costs[s.way+1:] {
		later += c / costs[s.way]
	}
	// The time of n requests here, and of as many in every later run with its preparations:
	// each*n*(1+later) + prepared*len(later runs) = what there is.
	prepared := sending.Sub(began).Seconds() * float64(len(costs)-1-int(s.way))
	each := time.Since(sending).Seconds() / float64(sent)
	fit := int64((s.deadline.Sub(sending).Seconds() - prepared) / each / (1 + later))
	if fit < end {
		r.cut(int(sent), s.n, int(fit))
	}
}

// outcome puts together what came of it.
func (s *single) outcome(r *replay, n int) outcome {
	res := outcome{
		way: s.way, requests: n, firstName: s.site.oldName, series: r.measured(s.work.warm, n), kind: s.site.kind,
		stale: s.svc.stale.Load(), wrong: s.svc.wrong.Load(), failed: s.svc.failed.Load(),
	}
	if err := s.svc.firstErr.Load(); err != nil {
		res.firstErr = *err
	}
	if s.migration != nil {
		res.progress = s.migration.Progress()
		res.last.HitsNew, res.last.HitsOld = res.progress.HitsNew-s.before.HitsNew, res.progress.HitsOld-s.before.HitsOld
	}
	for _, st := range r.steps {
		res.marks = append(res.marks, mark{float64(st.at-r.first) / float64(max(res.series.requests(), 1)), st.name})
	}
	return res
}
