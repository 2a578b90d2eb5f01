package writebehind

import (
	"math"
	"math/rand/v2"
	"time"
)

// forever is the wait when only an event can change anything.
const forever = time.Duration(math.MaxInt64)

// farAway is beyond every linger: a century.
const farAway = 100 * 365 * 24 * time.Hour

// dispatch starts a goroutine for each batch that is due, at most Concurrency at a time.
func (w *Writer[V]) dispatch() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-w.stop:
			return
		default:
		}
		w.mu.Lock()
		batch, wait := w.next(time.Now())
		if batch != nil {
			w.running++
		}
		w.mu.Unlock()
		if batch != nil {
			w.workers.Go(func() { w.deliver(batch) })
			continue
		}
		timer.Stop()
		if wait < forever {
			timer.Reset(wait)
		}
		select {
		case <-w.wake:
		case <-timer.C:
		case <-w.stop:
			return
		}
	}
}

// next takes the batch that is to be applied now, or tells how long to wait. The caller holds mu.
func (w *Writer[V]) next(now time.Time) ([]*op[V], time.Duration) {
	if w.running >= w.cfg.Concurrency {
		return nil, forever
	}
	if !w.started && now.Before(w.startAt) {
		return nil, w.startAt.Sub(now)
	}
	if now.Before(w.nextRate) {
		return nil, w.nextRate.Sub(now)
	}
	for {
		from, until, wait := w.ripe(now)
		if from == nil {
			return nil, wait
		}
		if batch := w.take(from, until, now); len(batch) > 0 {
			w.spend(len(batch), now)
			return batch, 0
		}
	}
}

// ripe chooses between first attempts and retries, whichever is due longer, and tells up to when
// operations may be due that go along. The two never share a batch: a record that fails is to
// delay nobody.
func (w *Writer[V]) ripe(now time.Time) (from *laneHeap[V], until time.Time, wait time.Duration) {
	wait = forever
	if len(w.retries) > 0 {
		wait = w.retries[0].due.Sub(now)
	}
	if len(w.lingers) > 0 {
		due := w.lingers[0].due
		full := len(w.lingers) >= w.batchSize() || w.lingered >= int64(w.cfg.MaxBatchBytes)
		early := full || w.hurry > 0 || w.closed
		switch {
		case !early && due.After(now):
			wait = min(wait, due.Sub(now))
		case wait > 0 || due.Before(w.retries[0].due):
			if early {
				now = now.Add(farAway)
			}
			return &w.lingers, now, 0
		}
	}
	if wait <= 0 {
		return &w.retries, now, 0
	}
	return nil, now, wait
}

// batchSize is MaxBatch, or what the rate allows in a second.
func (w *Writer[V]) batchSize() int {
	if w.cfg.Rate > 0 && w.cfg.Rate < float64(w.cfg.MaxBatch) {
		return max(1, int(w.cfg.Rate))
	}
	return w.cfg.MaxBatch
}

// take removes a batch from the heap: the first operation of each lane that is due at until.
// Expired ones come to their end here.
func (w *Writer[V]) take(from *laneHeap[V], until, now time.Time) []*op[V] {
	var batch []*op[V]
	size, bytes := w.batchSize(), int64(0)
	for len(*from) > 0 && len(batch) < size {
		l := (*from)[0]
		if l.due.After(until) {
			break
		}
		o := l.ops[0]
		if o.expired(now) && !o.through {
			w.stats.expired++
			w.end(o, ErrExpired)
			continue
		}
		if o.limit > 0 {
			if len(batch) >= o.limit {
				break
			}
			size = min(size, o.limit)
		}
		if len(batch) > 0 && bytes+o.size > int64(w.cfg.MaxBatchBytes) {
			break
		}
		bytes += o.size
		batch = append(batch, o)
		l.busy = !w.cfg.faults.anyOrder
		if l.busy {
			w.place(l)
			continue
		}
		w.detach(o)
	}
	if from == &w.retries {
		// Records at fault are not to meet in front again, where they look like an outage.
		rand.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
	}
	return batch
}

// spend charges n operations to the rate. The caller holds mu.
func (w *Writer[V]) spend(n int, now time.Time) {
	if w.cfg.Rate <= 0 {
		return
	}
	if w.nextRate.Before(now) {
		w.nextRate = now
	}
	w.nextRate = w.nextRate.Add(time.Duration(float64(n) / w.cfg.Rate * float64(time.Second)))
}

// end brings o to its end: out of the queue, out of the journal, its callers told. The caller
// holds mu.
func (w *Writer[V]) end(o *op[V], err error) {
	w.unlink(o)
	w.settle(o)
	for _, a := range o.acks {
		a.resolve(err)
	}
	for _, ref := range append(o.stale, o.ref()) {
		w.keepPromise(ref, err)
	}
}

// settle lets the journal forget o and what it had replaced.
func (w *Writer[V]) settle(o *op[V]) {
	if o.through || w.cfg.Journal == nil {
		return
	}
	ref := o.ref()
	ref.State = o.state()
	w.forget(append(o.stale, ref)...)
}
