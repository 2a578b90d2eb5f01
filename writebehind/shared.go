package writebehind

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hearthcache/hearth/tier"
)

const (
	// promisePoll is how often the journal is asked about writes that another process is to
	// deliver, and how old they are before it is asked.
	promisePoll = 100 * time.Millisecond
	// promiseBatch bounds one such question.
	promiseBatch = 1000
	// maxDeliveries is how often a record may be handed to processes that die, or lose their
	// right, before they settle it, and still be tried together with others. It may be the one
	// that kills them; but an outage looks the same, and is to park nothing.
	maxDeliveries = 20
)

// promise is a write that this process had accepted by a shared journal, until some process has
// applied it.
type promise[V any] struct {
	op       *op[V]
	mutation tier.Mutation[V]
	deadline time.Time
	since    time.Time
}

// promise notes ops, which the journal has taken. The caller holds mu.
func (w *Writer[V]) promise(ops []*op[V], early map[Ref]error) {
	now := time.Now()
	for _, o := range ops {
		ref := o.ref()
		w.promises[ref] = &promise[V]{op: o, mutation: o.Mutation, deadline: o.deadline, since: now}
		w.waiting.Add(1)
		if newest, ok := w.overlay[o.Key]; o.state() && (!ok || newest.Seq < ref.Seq) {
			w.overlay[o.Key] = ref
		}
		if err, ok := early[ref]; ok {
			w.keepPromise(ref, err)
		}
	}
}

// keepPromise tells the callers of a record that it has come to its end. The caller holds mu.
func (w *Writer[V]) keepPromise(ref Ref, err error) {
	if w.shared == nil {
		return
	}
	ref.State = false
	p := w.promises[ref]
	if p == nil {
		if w.early != nil {
			w.early[ref] = err
		}
		return
	}
	delete(w.promises, ref)
	w.waiting.Add(-1)
	if w.overlay[ref.Key] == ref {
		delete(w.overlay, ref.Key)
	}
	for _, a := range p.op.acks {
		a.resolve(err)
	}
	p.op.acks = nil
	w.release(p.op)
}

// watchPromises learns what other processes have made of this one's writes.
func (w *Writer[V]) watchPromises() {
	tick := time.NewTicker(promisePoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-w.stop:
			return
		}
		w.askFates(time.Now().Add(-promisePoll))
	}
}

func (w *Writer[V]) askFates(before time.Time) {
	var refs []Ref
	w.mu.RLock()
	for ref, p := range w.promises {
		if len(refs) == promiseBatch {
			break
		}
		if p.since.Before(before) && w.lanes[ref.Key] == nil {
			refs = append(refs, ref)
		}
	}
	w.mu.RUnlock()
	if len(refs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(w.applyCtx, commitTimeout)
	defer cancel()
	fates, err := w.shared.Fates(ctx, refs)
	if err != nil || len(fates) != len(refs) {
		return // asked again
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, ref := range refs {
		switch fates[i] {
		case Settled:
			w.keepPromise(ref, nil)
		case Parked:
			w.keepPromise(ref, &DeadError{Key: ref.Key, Reason: "parked by another process"})
		}
	}
}

// consume queues what this process owns of a shared journal.
func (w *Writer[V]) consume(ctx context.Context) {
	var mu sync.Mutex // partitions deliver beside each other
	owners := map[Owner]bool{}
	watch := func(owner Owner) {
		mu.Lock()
		defer mu.Unlock()
		for o := range owners {
			if o.Context().Err() != nil {
				delete(owners, o)
			}
		}
		if !owners[owner] {
			owners[owner] = true
			context.AfterFunc(owner.Context(), func() { w.revoke(owner) })
		}
	}
	for ctx.Err() == nil {
		w.shared.Consume(ctx, func(d Delivery) {
			watch(d.Owner)
			w.takeOver(ctx, d)
		})
		select {
		case <-ctx.Done():
		case <-time.After(w.cfg.RetryMin):
		}
	}
}

// takeOver queues a delivery, holding it back while the queue is full.
func (w *Writer[V]) takeOver(ctx context.Context, d Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.order.Len() >= w.cfg.MaxEntries {
		room := w.room
		w.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
		case <-d.Owner.Context().Done():
		}
		w.mu.Lock()
		if ctx.Err() != nil || d.Owner.Context().Err() != nil {
			return
		}
	}
	now := time.Now()
	for _, rec := range d.Records {
		o, err := w.fromRecord(rec)
		o.owner = d.Owner
		switch {
		case err != nil:
			err = fmt.Errorf("not decodable: %w", err)
		case rec.Attempts >= maxDeliveries:
			// Alone, and after all others have had their turn.
			o.limit, o.retryAt = 1, now.Add(w.cfg.RetryMax)
		}
		if d.Owner.Context().Err() != nil {
			return // revoke has run or will find nothing to do
		}
		if err != nil {
			w.buryUnlinked(o, err, now)
			continue
		}
		w.link(o)
	}
	w.nudge()
}

func (w *Writer[V]) buryUnlinked(o *op[V], err error, now time.Time) {
	w.stats.dead++
	w.bury(w.deadRecord(o, err.Error(), now))
	w.keepPromise(o.ref(), &DeadError{Key: o.Key, Reason: err.Error()})
}

// revoke takes out of the queue what somebody else will deliver. What is being applied now is
// let go of by conclude.
func (w *Writer[V]) revoke(owner Owner) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for e := w.order.Front(); e != nil; {
		o := e.Value.(*op[V])
		e = e.Next()
		if o.owner == owner && !o.lane.busyWith(o) {
			w.unlink(o)
		}
	}
}

func isFull(err error) bool { return errors.Is(err, ErrFull) }
