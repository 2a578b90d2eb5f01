package coalesce

import (
	"context"
	"errors"
	"slices"
	"time"
)

var errExited = errors.New("coalesce: the store ended the goroutine of the call")

// run carries b out and wakes its callers. A panic of the store is raised again in each of them,
// where somebody may be prepared for it.
func (q *queue[A, R]) run(b *batch[A, R]) {
	n := len(b.args)
	b.out = slices.Grow(b.out[:0], n)[:n]
	if q.hook != nil {
		q.hook("sent")
	}
	returned := false
	defer func() {
		if p := recover(); p != nil {
			b.panicked = p
		} else if !returned {
			for i := range b.out {
				b.out[i] = q.fail(errExited, true)
			}
		}
		q.finish(b)
	}()
	if n == 1 && !q.crowd {
		b.out[0] = q.one(b.ctx, b.args[0])
	} else {
		q.together(b)
	}
	returned = true
}

// together carries b out as one request, under a context of its own.
func (q *queue[A, R]) together(b *batch[A, R]) {
	ctx, cancel := q.context(b)
	defer cancel()
	q.mu.Lock()
	b.cancel = cancel
	left := b.alive == 0
	q.mu.Unlock()
	if left {
		cancel()
	}
	if b.at == nil {
		q.many(ctx, b.args, b.out)
		return
	}
	args, out := make([]A, len(b.at)), make([]R, len(b.at))
	for j, i := range b.at {
		args[j] = b.args[i]
	}
	q.many(ctx, args, out)
	for j, i := range b.at {
		b.out[i] = out[j]
	}
}

// context has the values of the first caller's and the latest deadline of all.
func (q *queue[A, R]) context(b *batch[A, R]) (context.Context, context.CancelFunc) {
	deadline := b.deadline
	if b.forever {
		deadline = time.Now().Add(q.conf.Timeout)
		if b.deadline.After(deadline) {
			deadline = b.deadline
		}
	}
	return context.WithDeadline(context.WithoutCancel(b.ctx), deadline)
}

// finish publishes the outcome of b and takes back what nobody waits for any more.
func (q *queue[A, R]) finish(b *batch[A, R]) {
	q.mu.Lock()
	b.finished, b.cancel = true, nil
	gone := b.gone
	q.mu.Unlock()
	close(b.done)
	if q.drop != nil && gone != nil {
		var unwanted []R
		for i, r := range b.out {
			if gone[i] {
				unwanted = append(unwanted, r)
			}
		}
		go q.drop(unwanted) // others wait for the slot of this request
	}
	q.free(b)
}

// arm starts the watch over what is under way while somebody waits.
func (q *queue[A, R]) arm() {
	q.armed, q.seen = true, q.taken
	if q.watch == nil {
		q.watch = time.AfterFunc(q.conf.Patience, q.look)
		return
	}
	q.watch.Reset(q.conf.Patience)
}

// look lets a batch leave if none has since the watch was armed.
func (q *queue[A, R]) look() {
	q.mu.Lock()
	q.armed = false
	stuck := q.waiting > 0 && q.taken == q.seen && q.flying < q.conf.MaxInFlight
	if stuck {
		q.flying++
	}
	if q.waiting > 0 {
		q.arm()
	}
	q.mu.Unlock()
	if stuck {
		q.push()
	}
}

// push is work for a batch that is not due by the count of those who wait.
func (q *queue[A, R]) push() {
	q.mu.Lock()
	b := q.take()
	if b == nil {
		q.flying--
	}
	q.mu.Unlock()
	if b == nil {
		return
	}
	defer q.landed()
	q.run(b)
}
