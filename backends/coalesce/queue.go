package coalesce

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// queue gathers calls of one kind, each with an argument A and an outcome R.
type queue[A, R any] struct {
	conf *Config
	one  func(ctx context.Context, a A) R
	many func(ctx context.Context, args []A, out []R) // both are only lent
	fail func(err error, sent bool) R
	drop func(rs []R) // takes back, in time, outcomes for callers that have left; nil = nothing to take back

	spare sync.Pool // of *batch

	mu      sync.Mutex
	flying  int            // requests under way
	waiting int            // callers in batches that have not left
	next    []*batch[A, R] // oldest first; callers join the last
	taken   uint           // batches so far
	watch   *time.Timer    // over requests that do not come back
	armed   bool
	seen    uint // taken, when the watch was armed

	hook  func(point string) // tests only: "joined", "working", "sent"
	crowd bool               // tests only: nobody goes alone
}

// do carries out one call. bytes is how much of a batch it takes up.
func (q *queue[A, R]) do(ctx context.Context, a A, bytes int) R {
	q.mu.Lock()
	if q.flying == 0 && !q.crowd {
		q.flying = 1
		q.mu.Unlock()
		return q.alone(ctx, a)
	}
	if err := ctx.Err(); err != nil {
		q.mu.Unlock()
		return q.fail(err, false)
	}
	b, i := q.join(ctx, a, bytes)
	start := q.due(q.flying)
	if start {
		q.flying++
	}
	q.mu.Unlock()
	if start {
		go q.work()
	}
	if q.hook != nil {
		q.hook("joined")
	}
	if over := ctx.Done(); over == nil {
		<-b.done
	} else {
		select {
		case <-b.done:
		case <-over:
			if r, left := q.leave(ctx, b, i); left {
				return r
			}
		}
	}
	return q.read(b, i)
}

// alone is the call of one who found nothing under way.
func (q *queue[A, R]) alone(ctx context.Context, a A) R {
	defer q.landed() // also if the store panics
	return q.one(ctx, a)
}

// landed gives the slot of a request that came back to those who wait, or frees it.
func (q *queue[A, R]) landed() {
	q.mu.Lock()
	more := q.due(q.flying - 1)
	if !more {
		q.flying--
	}
	q.mu.Unlock()
	if more {
		go q.work()
	}
}

// due reports whether a batch should leave beside n requests under way.
func (q *queue[A, R]) due(n int) bool {
	return q.waiting > 0 && n < q.conf.MaxInFlight && q.waiting >= n*q.conf.Step
}

// join puts a into the batch that leaves last.
func (q *queue[A, R]) join(ctx context.Context, a A, bytes int) (*batch[A, R], int) {
	var b *batch[A, R]
	if n := len(q.next); n > 0 {
		b = q.next[n-1]
	}
	if b == nil || len(b.args) >= q.conf.MaxKeys || b.bytes+bytes > q.conf.MaxBytes {
		b, _ = q.spare.Get().(*batch[A, R])
		if b == nil {
			b = new(batch[A, R])
		}
		b.done = make(chan struct{})
		q.next = append(q.next, b)
	}
	q.waiting++
	if !q.armed {
		q.arm()
	}
	return b, b.add(ctx, a, bytes)
}

// take removes the oldest batch in which somebody still waits; nil = there is none.
func (q *queue[A, R]) take() *batch[A, R] {
	for len(q.next) > 0 {
		b := q.next[0]
		n := copy(q.next, q.next[1:])
		q.next[n] = nil
		q.next = q.next[:n]
		if b.alive == 0 {
			continue
		}
		q.waiting -= b.alive
		q.taken++
		b.sent = true
		b.refs.Store(int32(b.alive) + 1)
		if b.gone != nil {
			b.at = b.staying()
		}
		return b
	}
	return nil
}

// work lets batches leave, one after the other, for as long as they are due. The caller has
// counted it as under way.
func (q *queue[A, R]) work() {
	orderly := false
	defer func() {
		if !orderly { // the store ended the goroutine
			q.landed()
		}
	}()
	if q.hook != nil {
		q.hook("working")
	}
	for {
		q.mu.Lock()
		if !q.due(q.flying - 1) {
			q.flying--
			q.mu.Unlock()
			orderly = true
			return
		}
		b := q.take()
		q.mu.Unlock()
		q.run(b)
		runtime.Gosched() // those who were answered come back with their next key: fewer, larger batches
	}
}

// leave takes a caller out whose ctx has ended. left is false if the outcome is there.
func (q *queue[A, R]) leave(ctx context.Context, b *batch[A, R], i int) (r R, left bool) {
	q.mu.Lock()
	if b.finished {
		q.mu.Unlock()
		return r, false
	}
	if b.gone == nil {
		b.gone = make([]bool, q.conf.MaxKeys)
	}
	b.gone[i] = true
	b.alive--
	sent := b.sent
	if !sent {
		q.waiting--
	}
	var cancel context.CancelFunc
	if b.alive == 0 {
		cancel = b.cancel
	}
	q.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if sent {
		q.free(b)
	}
	return q.fail(ctx.Err(), sent), true
}

// read returns the outcome at place i of a batch that is done.
func (q *queue[A, R]) read(b *batch[A, R], i int) R {
	r, p := b.out[i], b.panicked
	q.free(b)
	if p != nil {
		panic(p)
	}
	return r
}

// free lets one user of b go.
func (q *queue[A, R]) free(b *batch[A, R]) {
	if b.refs.Add(-1) == 0 {
		b.reset()
		q.spare.Put(b)
	}
}
