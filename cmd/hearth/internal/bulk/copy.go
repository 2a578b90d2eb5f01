package bulk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Mode says what happens to keys that the target holds.
type Mode uint8

const (
	// Add leaves them alone: what is there is newer.
	Add Mode = iota
	// Overwrite replaces them.
	Overwrite
	// Fenced leaves them alone, and takes a lease on every key before it reads the source, so
	// that a change which the service makes meanwhile is not undone. It takes two more commands
	// a key. Only for a target whose readers are hearth's: others would see the leases.
	Fenced
)

// Job is what to copy and how. From and To must be set.
type Job struct {
	From, To *Endpoint
	Filter   Filter
	Mode     Mode
	DryRun   bool // list and read, look at the target, and write nothing

	// Workers that read and write batches. 0 = 4.
	Workers int
	// Rate is the most keys per second. 0 = no limit.
	Rate float64
	// Batch is the most keys in a pipeline. 0 = 500. Large values make it smaller.
	Batch int
	// StateFile is where checkpoints are written; "" = nowhere.
	StateFile string
	// Checkpoint is the time between two of them. 0 = 1 s.
	Checkpoint time.Duration
	// Patience is how long a server may be away before the copy gives up. 0 = 30 s.
	Patience time.Duration
	// Progress is called now and then, and once at the end.
	Progress func(Progress)

	unfenced func()        // tests only: runs between reading the source and writing the target
	hold     time.Duration // of leases, shorter in tests
}

// Progress is how far a copy has come.
type Progress struct {
	Done     int64 // keys, by all runs
	Total    int64 // about; 0 = not known
	Copied   int64
	Failed   int64
	Rate     float64 // keys per second of late
	ETA      time.Duration
	Elapsed  time.Duration // in this run
	Trouble  string        // what a server was last heard to say, while it is being tried again
	Finished bool
}

// Report is what a copy came to.
type Report struct {
	Tally
	Complete  bool // the list was gone through to its end
	Resumed   bool // an earlier run began it; the tally counts both
	Seconds   float64
	PerSecond float64 // keys of this run
	Runs      int
	Remarks   []string // what is to be known of the list of keys
}

// ErrFinished is in the error of a copy whose state file says that it was done before.
var ErrFinished = errors.New("this copy is finished")

const defaultPatience = 30 * time.Second

// batchBytes bounds what a worker holds of values at a time.
const batchBytes = 4 << 20

// Copy carries out j. It returns a report even with an error, which says why the copy is not
// complete; with a state file, the same call goes on where it stopped, and one that has nothing
// left to do returns [ErrFinished] with the report of back then. Keys that failed one by one are
// in the report and are no error.
//
// Where the two share servers, keys that begin with Filter.AddPrefix are left out: they are
// copies.
func Copy(ctx context.Context, j Job) (Report, error) {
	c, err := newCopier(j)
	if err != nil {
		return Report{}, err
	}
	if c.state.Done {
		return c.report(true), fmt.Errorf("%w: %s says so since %s; remove the file to copy once more", ErrFinished, c.StateFile, c.lastSaved.Format(time.RFC3339))
	}
	err = c.run(ctx)
	for _, r := range j.From.remarks() {
		if !slices.Contains(c.state.Remarks, r) {
			c.state.Remarks = append(c.state.Remarks, r)
		}
	}
	if c.StateFile != "" {
		c.state.Open = false
		c.state.Spent += time.Since(c.began).Seconds()
		err = errors.Join(err, c.state.save(c.StateFile))
	}
	return c.report(err == nil), err
}

type copier struct {
	Job
	state     state
	resumed   bool
	began     time.Time
	before    int64     // keys done by earlier runs
	lastSaved time.Time // by the run before
	killed    bool      // the run before; it left no word of its end
	ahead     Tally     // of batches behind which there is no place to go on from yet

	done, copied, failed atomic.Int64
	trouble              atomic.Pointer[string]
	pace                 pace
}

func newCopier(j Job) (*copier, error) {
	if j.From == nil || j.To == nil {
		return nil, errors.New("a copy needs a source and a target")
	}
	if j.Workers <= 0 {
		j.Workers = 4
	}
	if j.Batch <= 0 {
		j.Batch = 500
	}
	if j.Checkpoint <= 0 {
		j.Checkpoint = time.Second
	}
	if j.Patience <= 0 {
		j.Patience = defaultPatience
	}
	if j.hold <= 0 {
		j.hold = leaseTime
	}
	c := &copier{Job: j, began: time.Now(), pace: pace{rate: j.Rate}}
	c.state = state{Version: stateVersion, From: j.From.name, To: j.To.name, Job: j.id()}
	if j.DryRun {
		c.StateFile = ""
	}
	if c.StateFile != "" {
		s, err := loadState(c.StateFile, c.state)
		if err != nil {
			return nil, err
		}
		c.resumed = s.Runs > 0
		c.lastSaved, c.killed = s.Saved, s.Open
		c.state = s
		c.before = s.Tally.Listed
		if !s.Done {
			c.state.Runs++
			c.state.Open = true
			if err := c.state.save(c.StateFile); err != nil { // better now than after an hour
				return nil, err
			}
		}
	}
	c.done.Store(c.state.Tally.Listed)
	c.copied.Store(c.state.Tally.Fates[Copied])
	c.failed.Store(c.state.Tally.Fates[Failed])
	return c, nil
}

// job numbered in the order of the list, and what became of it.
type numbered struct {
	batch
	n     int
	tally Tally
}

func (c *copier) run(ctx context.Context) error {
	shared, err := false, error(nil)
	if err := c.try(ctx, func() (bool, error) {
		shared, err = shares(ctx, c.From, c.To)
		return false, err
	}); err != nil {
		return err
	}
	c.Filter = c.Filter.without(shared)
	if err := c.awaitLeases(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo, finished := make(chan numbered, c.Workers), make(chan numbered, c.Workers)
	listed := make(chan error, 1)
	go func() {
		defer close(todo)
		listed <- c.list(ctx, todo)
	}()
	var workers sync.WaitGroup
	for range c.Workers {
		workers.Go(func() {
			if err := c.work(ctx, todo, finished); err != nil {
				cancel(err)
			}
		})
	}
	go func() {
		workers.Wait()
		close(finished)
	}()
	if err := c.collect(ctx, finished); err != nil {
		cancel(err)
		for range finished { // until the workers are gone
		}
		<-listed
		return err
	}
	if err := <-listed; err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	c.state.Tally.add(c.ahead)
	c.ahead = Tally{}
	c.state.Done = true
	return nil
}

// list hands out batches in order. A server that does not answer is asked again from the last
// batch on.
func (c *copier) list(ctx context.Context, todo chan<- numbered) error {
	from, n := c.state.Cursor, 0
	return c.try(ctx, func() (progressed bool, err error) {
		err = c.From.scan(ctx, from, &c.Filter, func(b batch) error {
			select {
			case todo <- numbered{batch: b, n: n}:
				n++
				progressed = true
				if b.next != "" {
					from = b.next
				}
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		return progressed, err
	})
}

// work carries out batches until there are no more.
func (c *copier) work(ctx context.Context, todo <-chan numbered, finished chan<- numbered) error {
	from, to := c.From.session(), c.To.session()
	defer from.close()
	defer to.close()
	size := 64 // until the size of values is known
	for b := range todo {
		b.tally = b.passed
		c.done.Add(b.passed.Listed)
		for len(b.keys) > 0 {
			n := min(size, len(b.keys))
			keys := b.keys[:n]
			b.keys = b.keys[n:]
			if err := c.pace.wait(ctx, n); err != nil {
				return err
			}
			recs, err := c.move(ctx, from, to, b.server, keys)
			if err != nil {
				return err
			}
			var bytes int
			for i := range recs {
				b.tally.count(&recs[i])
				bytes += len(recs[i].Value)
				switch recs[i].Fate {
				case Copied:
					c.copied.Add(1)
				case Failed:
					c.failed.Add(1)
				}
			}
			c.done.Add(int64(n))
			size = max(1, min(c.Batch, 2*size, batchBytes/(bytes/n+1)))
		}
		b.keys = nil
		select {
		case finished <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// move copies some keys of one server and settles the fate of each.
func (c *copier) move(ctx context.Context, from, to session, server int, keys []string) ([]Record, error) {
	recs, open := make([]Record, len(keys)), make([]*Record, len(keys))
	for i := range recs {
		open[i] = &recs[i]
	}
	read := func(which []*Record) error {
		return c.try(ctx, func() (bool, error) {
			for _, r := range which {
				*r = Record{Listed: r.Listed, prefix: c.Filter.StripPrefix, token: r.token, cas: r.cas}
			}
			if err := from.read(ctx, server, which); err != nil {
				return false, err
			}
			if c.From.pads(c.To) {
				unpad(which)
			}
			return false, nil
		})
	}
	for i, k := range keys {
		recs[i].Listed, recs[i].prefix = k, c.Filter.StripPrefix
	}
	if c.Mode == Fenced && !c.DryRun {
		return recs, c.moveFenced(ctx, to, open, read)
	}
	if err := read(open); err != nil {
		return nil, err
	}
	c.rename(open)
	if c.unfenced != nil {
		c.unfenced()
	}
	return recs, c.try(ctx, func() (bool, error) {
		if c.DryRun {
			return false, to.look(ctx, pending(open))
		}
		return false, to.write(ctx, pending(open), c.Mode == Overwrite)
	})
}

// rename gives records their names in the target.
func (c *copier) rename(recs []*Record) {
	for _, r := range pending(recs) {
		if !c.Filter.keeps(r.Key) {
			r.Fate = Filtered
			continue
		}
		r.Key, r.prefix = c.Filter.rename(r.Key), c.Filter.AddPrefix
	}
}

// permanent is an error that waiting does not mend.
type permanent struct{ error }

// Unwrap returns the error itself.
func (p permanent) Unwrap() error { return p.error }

// try calls f until it succeeds, for as long as the servers may be away.
func (c *copier) try(ctx context.Context, f func() (progressed bool, err error)) error {
	return try(ctx, c.Patience, func(text string) { c.trouble.Store(&text) }, f)
}

// try calls f until it succeeds or has failed for as long as patience lasts. A call that got
// anything done starts the wait anew. Each failure that is tried again is said.
func try(ctx context.Context, patience time.Duration, say func(string), f func() (progressed bool, err error)) error {
	since := time.Now()
	for delay := 50 * time.Millisecond; ; delay = min(2*delay, 2*time.Second) {
		progressed, err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.As(err, new(permanent)) {
			return err
		}
		if progressed {
			since, delay = time.Now(), 50*time.Millisecond
		}
		if time.Since(since)+delay > patience {
			return fmt.Errorf("given up after %v: %w", patience, err)
		}
		say(err.Error())
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// collect counts finished batches in the order of the list, writes checkpoints and reports
// progress.
func (c *copier) collect(ctx context.Context, finished <-chan numbered) error {
	early := map[int]numbered{} // finished before one in front of them
	next, dirty := 0, false
	save := time.NewTicker(c.Checkpoint)
	defer save.Stop()
	show := time.NewTicker(200 * time.Millisecond)
	defer show.Stop()
	meter := &meter{from: c.done.Load(), at: time.Now(), total: c.From.estimate(ctx)}
	defer func() { c.show(meter, true) }()
	for {
		select {
		case b, ok := <-finished:
			if !ok {
				return nil
			}
			for early[b.n] = b; ; next++ {
				b, ok := early[next]
				if !ok {
					break
				}
				delete(early, next)
				c.ahead.add(b.tally)
				if b.batch.next != "" {
					c.state.Cursor, dirty = b.batch.next, true
					c.state.Tally.add(c.ahead)
					c.ahead = Tally{}
				}
			}
		case <-save.C:
			if dirty && c.StateFile != "" {
				if err := c.state.save(c.StateFile); err != nil {
					return err
				}
				dirty = false
			}
		case <-show.C:
			c.show(meter, false)
		}
	}
}

func (c *copier) report(complete bool) Report {
	r := Report{Complete: complete, Resumed: c.resumed, Runs: c.state.Runs, Seconds: time.Since(c.began).Seconds(), Remarks: c.state.Remarks}
	r.add(c.state.Tally)
	r.add(c.ahead)
	r.PerSecond = float64(r.Listed-c.before) / max(r.Seconds, 1e-9)
	return r
}
