package writebehind

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/hearthcache/hearth/tier"
)

// outcome is what Apply made of one operation.
type outcome struct {
	err    error
	shared bool // it failed with its batch; nobody knows whether it is at fault
}

// deliver applies one batch, reports what the sink took, and only then lets go of it.
func (w *Writer[V]) deliver(batch []*op[V]) {
	defer w.nudge()
	ctx, cancel := w.ownersContext(batch)
	defer cancel()

	out := make([]outcome, len(batch))
	if err := w.beforeThrough(ctx, batch); err != nil {
		for i := range out {
			out[i] = outcome{err, true}
		}
	} else {
		w.try(ctx, batch, out, w.newTrial(len(batch)))
	}
	w.report(batch, out)

	w.mu.Lock()
	defer w.mu.Unlock()
	w.running--
	p := pause{now: time.Now(), batch: len(batch)}
	for i, o := range batch {
		w.conclude(o, out[i], &p)
	}
}

// ownersContext ends when the writer is aborted or the right to apply one of ops is lost.
func (w *Writer[V]) ownersContext(ops []*op[V]) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(w.applyCtx)
	stops := []func() bool{}
	var last Owner
	for _, o := range ops {
		if o.owner == nil || o.owner == last {
			continue
		}
		last = o.owner
		lost := last.Context()
		stops = append(stops, context.AfterFunc(lost, func() { cancel(context.Cause(lost)) }))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel(nil)
	}
}

// beforeThrough makes sure that the journal holds nothing older of a key that is about to be
// written around it: a crash must not replay that over the newer value.
func (w *Writer[V]) beforeThrough(ctx context.Context, batch []*op[V]) error {
	if w.cfg.Journal == nil {
		return nil
	}
	for _, o := range batch {
		if o.through {
			return w.commit(ctx, nil)
		}
	}
	return nil
}

// trial bounds the search for a record at fault. An outage must not cost 2n calls a batch, so
// it ends when as many calls in a row have failed as the search needs to meet, whichever record
// is at fault, at least one that works.
type trial struct {
	limit int
	calls int
	alive bool  // the sink has answered for some operation
	last  error // of the last call
}

func (w *Writer[V]) newTrial(n int) *trial { return &trial{limit: bits.Len(uint(n)) + 2} }

// try applies ops; if that fails as a whole, each half.
func (w *Writer[V]) try(ctx context.Context, ops []*op[V], out []outcome, t *trial) {
	if !t.alive && t.calls >= t.limit || ctx.Err() != nil {
		err := t.last
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		for i := range out {
			out[i] = outcome{err, true}
		}
		return
	}
	if t.calls++; t.calls > 1 { // next has charged the first
		w.mu.Lock()
		w.spend(len(ops), time.Now())
		w.mu.Unlock()
	}
	err := w.call(ctx, ops)
	var each *BatchError
	switch {
	case err == nil:
		t.alive = true
	case errors.As(err, &each) && len(each.Errs) == len(ops):
		t.alive = true
		for i := range out {
			out[i].err = each.Errs[i]
		}
	case len(ops) == 1:
		t.last = err
		t.alive = t.alive || IsPermanent(err)
		out[0].err = err
		out[0].shared = ctx.Err() != nil
	default:
		t.last = err
		t.alive = t.alive || IsPermanent(err)
		h := len(ops) / 2
		w.try(ctx, ops[:h], out[:h], t)
		w.try(ctx, ops[h:], out[h:], t)
	}
}

// call is one Apply, bounded in time.
func (w *Writer[V]) call(ctx context.Context, ops []*op[V]) (err error) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.ApplyTimeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			err = Permanent(fmt.Errorf("writebehind: sink panicked: %v", r))
		}
	}()
	arg := make([]Op[V], len(ops))
	for i, o := range ops {
		o.Attempt++
		arg[i] = o.Op
		if !o.deadline.IsZero() {
			// Past the deadline by now is possible; 1 ns says so without meaning "no limit".
			arg[i].TTL = max(time.Until(o.deadline), 1)
		}
	}
	return w.cfg.Sink.Apply(ctx, arg)
}

// report tells the caches what the sink took, while it is still pending.
func (w *Writer[V]) report(batch []*op[V], out []outcome) {
	fn := w.onApplied.Load()
	if fn == nil {
		return
	}
	ms := make([]tier.Mutation[V], 0, len(batch))
	for i, o := range batch {
		switch {
		case out[i].err != nil || o.through: // the cache itself goes on after writing through
		case o.Delta != nil:
			ms = append(ms, tier.Mutation[V]{Key: o.Key, Delete: true})
		default:
			m := o.Mutation
			if !o.deadline.IsZero() {
				m.TTL = max(time.Until(o.deadline), 1)
			}
			ms = append(ms, m)
		}
	}
	if len(ms) == 0 {
		return
	}
	// Not ended by Close: what the source has taken is to reach the caches.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.applyCtx), w.cfg.ApplyTimeout)
	defer cancel()
	if err := callOnApplied(ctx, *fn, ms); err != nil {
		w.count1(&w.stats.unreported, len(ms))
	}
}

func callOnApplied[V any](ctx context.Context, fn func(context.Context, []tier.Mutation[V]) error, ms []tier.Mutation[V]) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("writebehind: OnApplied panicked: %v", r)
		}
	}()
	return fn(ctx, ms)
}

// conclude decides how o goes on. The caller holds mu.
func (w *Writer[V]) conclude(o *op[V], res outcome, p *pause) {
	l := o.lane
	if l != nil && l.busyWith(o) {
		l.busy = false
	}
	switch {
	case res.err == nil:
		w.stats.applied++
		if o.through && o.state() {
			w.voidLetters(o)
		}
		w.end(o, nil)
		if w.cfg.faults.removeByKey {
			w.endLane(o.Key)
		}
	case l == nil: // withdrawn or revoked meanwhile
	case o.through:
		err := res.err
		if !IsPermanent(err) {
			err = unknown(err)
		}
		w.end(o, err)
	case o.owner != nil && o.owner.Context().Err() != nil:
		w.unlink(o)
	case w.superseded(o):
		w.supersede(o)
	case w.exhausted(o, res):
		w.park(o, res.err, p.now)
	default:
		w.retry(o, res, p)
	}
}

// superseded reports that a newer state of the key waits behind a failed one.
func (w *Writer[V]) superseded(o *op[V]) bool {
	l := o.lane
	return o.state() && len(l.ops) > 1 && l.ops[0] == o && l.ops[1].state() && !l.ops[1].through
}

func (w *Writer[V]) supersede(o *op[V]) {
	next := o.lane.ops[1]
	w.replace(o, next)
	o.lane = next.lane
	w.unlink(o)
}

// exhausted counts a failure and tells whether it was the last that o may have.
func (w *Writer[V]) exhausted(o *op[V], res outcome) bool {
	if res.shared {
		return false
	}
	if IsPermanent(res.err) {
		return true
	}
	switch {
	case w.cfg.MaxAttempts < 0:
		return false
	case w.cfg.MaxAttempts > 0:
		o.failures++
		return o.failures >= w.cfg.MaxAttempts
	}
	if o.failures == 0 || w.stats.applied != o.seen {
		o.failures++
	}
	o.seen = w.stats.applied
	return o.failures >= defaultAttempts
}

// defaultAttempts: with the default pauses, about three minutes.
const defaultAttempts = 20

// pause is how long what failed in one batch waits. Operations that have failed equally often
// wait for the same time, so that an outage does not turn batches into single operations.
type pause struct {
	now     time.Time
	batch   int
	ceiling time.Duration
	until   time.Time
}

// retry lets o wait for a random part of its pause, which doubles each time.
func (w *Writer[V]) retry(o *op[V], res outcome, p *pause) {
	ceiling := w.cfg.RetryMax
	if d := w.cfg.RetryMin << min(o.pauses, 30); d > 0 && d>>min(o.pauses, 30) == w.cfg.RetryMin {
		ceiling = min(ceiling, d)
	}
	if ceiling != p.ceiling {
		p.ceiling, p.until = ceiling, p.now.Add(w.cfg.jitter(ceiling))
	}
	o.pauses++
	o.retryAt = p.until
	if res.shared && w.cfg.MaxAttempts > 0 {
		// Every operation is to be tried alone before its attempts are counted.
		o.limit = max(1, p.batch/2)
	}
	w.stats.retried++
	w.place(o.lane)
}
