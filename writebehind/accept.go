package writebehind

import (
	"context"
	"fmt"
	"time"

	"github.com/hearthcache/hearth/tier"
)

// accept takes changes in portions that fit into the queue, which is nearly always one.
func (w *Writer[V]) accept(ctx context.Context, changes []Change[V], ack *Ack) error {
	ops, err := w.newOps(changes, ack)
	if err != nil {
		return err
	}
	w.start()
	for done := 0; done < len(ops); {
		n, err := w.portion(ops[done:])
		if err == nil {
			err = w.acceptPortion(ctx, ops[done:done+n])
		}
		if err != nil {
			return partial(len(ops), done, err)
		}
		done += n
	}
	return nil
}

// partial is the error of a call that was accepted up to done.
func partial(n, done int, err error) error {
	w := &tier.WriteError{Errs: make([]error, n)}
	for i := done; i < n; i++ {
		w.Errs[i] = err
	}
	if done == 0 {
		return err
	}
	return w
}

func (w *Writer[V]) newOps(changes []Change[V], ack *Ack) ([]*op[V], error) {
	now := time.Now()
	all := make([]op[V], len(changes))
	ops := make([]*op[V], len(changes))
	for i := range changes {
		c, o := &changes[i], &all[i]
		ops[i] = o
		if err := checkChange(c); err != nil {
			return nil, err
		}
		o.Op = Op[V]{Mutation: c.Mutation, Delta: c.Delta, ID: w.newID(), Enqueued: now}
		o.last = now
		if c.TTL > 0 && !c.Delete {
			o.deadline = now.Add(c.TTL)
		}
		if ack != nil {
			o.acks = []*Ack{ack}
		}
		if err := w.encode(o); err != nil {
			return nil, err
		}
	}
	return ops, nil
}

// encode fills in the record for the journal, if there is one, and the size.
func (w *Writer[V]) encode(o *op[V]) error {
	switch {
	case o.Delta != nil:
		o.payload = o.Delta
		o.size = int64(len(o.Key) + len(o.Delta))
	case o.Mutation.Delete:
		o.size = int64(len(o.Key))
	case w.cfg.Journal == nil:
		o.size = int64(len(o.Key) + w.cfg.Size(o.Value))
	default:
		b, err := w.cfg.Codec.Append(nil, o.Value)
		if err != nil {
			return fmt.Errorf("writebehind: encode %q: %w", o.Key, err)
		}
		o.payload = b
		o.size = int64(len(o.Key) + len(b))
	}
	return nil
}

// portion returns how many of ops can go into the queue together when it is empty.
func (w *Writer[V]) portion(ops []*op[V]) (int, error) {
	bytes := int64(0)
	for i, o := range ops {
		bytes += o.size
		if i == w.cfg.MaxEntries || bytes > w.cfg.MaxBytes {
			if i == 0 {
				return 0, fmt.Errorf("%w: %q has %d bytes, the queue %d", ErrFull, o.Key, o.size, w.cfg.MaxBytes)
			}
			return i, nil
		}
	}
	return len(ops), nil
}

func (w *Writer[V]) acceptPortion(ctx context.Context, ops []*op[V]) error {
	for {
		full, err := w.reserve(ctx, ops)
		if err != nil {
			return err
		}
		if full {
			return w.writeThrough(ctx, ops)
		}
		if w.cfg.Journal == nil {
			w.mu.Lock()
			w.stats.accepted += uint64(len(ops))
			w.linkAll(ops)
			w.mu.Unlock()
			w.nudge()
			return nil
		}
		freed := w.freedChan()
		if err = w.commit(ctx, ops); err == nil {
			return nil
		}
		if !isFull(err) || w.cfg.Overflow == Reject {
			w.count1(&w.stats.rejected, len(ops))
			return err
		}
		if w.cfg.Overflow == WriteThrough {
			return w.writeThrough(ctx, ops)
		}
		// The journal has no room: wait until something has been settled, or a while, since
		// with a shared journal somebody else may settle it.
		t := time.NewTimer(fullPoll)
		select {
		case <-freed:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			w.count1(&w.stats.rejected, len(ops))
			return fmt.Errorf("%w: %w", ErrFull, context.Cause(ctx))
		}
		t.Stop()
	}
}

// fullPoll is the pause before a full journal is asked again: a tenth of the shortest wait that
// a person notices.
const fullPoll = 10 * time.Millisecond

// reserve makes room for ops in the queue, waiting if so configured; full tells the caller to
// write through.
func (w *Writer[V]) reserve(ctx context.Context, ops []*op[V]) (full bool, err error) {
	bytes := int64(0)
	for _, o := range ops {
		bytes += o.size
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if w.closed {
			w.stats.rejected += uint64(len(ops))
			return false, ErrClosed
		}
		if w.entries+len(ops) <= w.cfg.MaxEntries && w.bytes+bytes <= w.cfg.MaxBytes || w.replaces(ops) {
			break
		}
		switch w.cfg.Overflow {
		case WriteThrough:
			return true, nil
		case Reject:
			w.stats.rejected += uint64(len(ops))
			return false, ErrFull
		}
		room := w.room
		w.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			err = fmt.Errorf("%w: %w", ErrFull, context.Cause(ctx))
		}
		w.mu.Lock()
		if err != nil {
			w.stats.rejected += uint64(len(ops))
			return false, err
		}
	}
	for _, o := range ops {
		o.reserved = true
	}
	w.entries += len(ops)
	w.bytes += bytes
	return false, nil
}

// replaces reports that ops is one write that takes the place of a waiting one and is not
// larger, so that it needs no room.
func (w *Writer[V]) replaces(ops []*op[V]) bool {
	if len(ops) != 1 {
		return false
	}
	l := w.lanes[ops[0].Key]
	return l != nil && l.coalesces(ops[0]) && ops[0].size <= l.tail().size
}

func (w *Writer[V]) unreserve(ops []*op[V]) {
	w.mu.Lock()
	for _, o := range ops {
		w.release(o)
	}
	w.mu.Unlock()
}

// release gives back the room of o. The caller holds mu.
func (w *Writer[V]) release(o *op[V]) {
	if !o.reserved {
		return
	}
	o.reserved = false
	w.entries--
	w.bytes -= o.size
	w.signalRoom()
}

func (w *Writer[V]) signalRoom() {
	close(w.room)
	w.room = make(chan struct{})
}

func (w *Writer[V]) freedChan() chan struct{} {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.freed
}

// writeThrough applies ops now, each after what waits for its key. The callers themselves bound
// how many there are.
func (w *Writer[V]) writeThrough(ctx context.Context, ops []*op[V]) error {
	errs := make([]error, len(ops))
	acks := make([]*Ack, len(ops))
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	for i, o := range ops {
		acks[i] = newAck(1)
		o.acks = append(o.acks, acks[i])
		o.through = true
	}
	w.linkAll(ops)
	w.stats.through += uint64(len(ops))
	w.mu.Unlock()
	w.nudge()

	failed := 0
	for i, a := range acks {
		errs[i] = a.Wait(ctx)
		if ctx.Err() != nil && errs[i] != nil && !w.withdraw(ops[i]) {
			errs[i] = unknown(errs[i])
		}
		if errs[i] != nil {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return &tier.WriteError{Errs: errs}
}

// withdraw takes back an operation that is not being applied.
func (w *Writer[V]) withdraw(o *op[V]) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := o.lane
	if l == nil || l.busyWith(o) {
		return false
	}
	w.unlink(o)
	return true
}

func unknown(err error) error { return fmt.Errorf("%w: %w", tier.ErrUnknown, err) }
