package writebehind

import (
	"context"
	"time"
)

// closeGrace is how long Close waits, beyond its context, for calls of Apply to notice that
// theirs has ended.
const closeGrace = 100 * time.Millisecond

// Flush returns nil when everything that was accepted before the call has come to its end: it
// was applied, has expired, or is a dead letter. Nothing lingers meanwhile; pauses after a
// failure are kept. With a shared journal it is about what this process had accepted. It
// returns the context's error when that ends first.
func (w *Writer[V]) Flush(ctx context.Context) error {
	w.start()
	w.mu.Lock()
	var ops []*op[V]
	if w.shared != nil {
		for _, p := range w.promises {
			ops = append(ops, p.op)
		}
	} else {
		for e := w.order.Front(); e != nil; e = e.Next() {
			ops = append(ops, e.Value.(*op[V]))
		}
	}
	ack := newAck(len(ops))
	for _, o := range ops {
		o.acks = append(o.acks, ack)
	}
	w.hurry++
	w.mu.Unlock()
	w.nudge()
	defer func() {
		w.mu.Lock()
		w.hurry--
		w.mu.Unlock()
	}()
	select {
	case <-ack.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close stops accepting, delivers what is queued without lingering, and closes the journal. When
// ctx ends first, it ends the calls of Apply and returns a [*DrainError]; the journal keeps what
// is left for the next start, and in a shared one another process goes on. Writes after Close
// return ErrClosed; a second Close returns nil once the first is done.
func (w *Writer[V]) Close(ctx context.Context) error {
	w.start()
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return w.awaitStopped(ctx)
	}
	w.closed = true
	w.signalRoom()
	w.mu.Unlock()
	w.nudge()

	left, err := w.drain(ctx)
	close(w.stop)
	if left > 0 {
		w.abort()
	}
	closed := make(chan error, 1)
	go func() {
		w.loops.Wait() // nobody starts another worker
		w.workers.Wait()
		if w.shared != nil {
			w.leave() // not before: until then no other process applies what is under way here
			w.consumer.Wait()
		}
		w.abort()
		close(w.commits.stop)
		w.commits.loop.Wait()
		var err error
		if w.cfg.Journal != nil {
			err = w.cfg.Journal.Close()
		}
		close(w.stopped)
		closed <- err
	}()
	if left > 0 {
		select {
		case <-closed:
		case <-time.After(closeGrace):
		}
		return &DrainError{Remaining: left, Err: err}
	}
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *Writer[V]) awaitStopped(ctx context.Context) error {
	select {
	case <-w.stopped:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// drain waits until nothing accepted here is left, or ctx ends.
func (w *Writer[V]) drain(ctx context.Context) (left int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		left = max(w.entries, len(w.promises))
		if w.shared == nil {
			left = max(left, w.order.Len())
		}
		if left == 0 || err != nil {
			return left, err
		}
		room := w.room
		w.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		w.mu.Lock()
	}
}
