package coalesce

import (
	"context"
	"sync/atomic"
	"time"
)

// batch is the keys that leave together. The queue's lock guards it until it is taken; then its
// worker owns all but alive and gone, until done is closed; then each caller reads its own place.
type batch[A, R any] struct {
	args  []A
	out   []R
	bytes int // of values, known or expected

	ctx      context.Context // of the first caller; a batch of one runs under it
	deadline time.Time       // the latest of all
	forever  bool            // somebody set none

	alive    int    // callers that have not left
	gone     []bool // who has; nil = nobody
	at       []int  // those who had not when it left; nil = everybody
	sent     bool
	finished bool
	cancel   context.CancelFunc // while it is under way

	done     chan struct{} // closed when out is complete
	panicked any           // what the store panicked with
	refs     atomic.Int32  // callers that still read, and the worker
}

// add puts a in, for a caller with ctx, and returns its place.
func (b *batch[A, R]) add(ctx context.Context, a A, bytes int) int {
	i := len(b.args)
	if i == 0 {
		b.ctx = ctx
	}
	b.args = append(b.args, a)
	b.bytes += bytes
	b.alive++
	if d, ok := ctx.Deadline(); !ok {
		b.forever = true
	} else if d.After(b.deadline) {
		b.deadline = d
	}
	return i
}

// staying returns the places of those who have not left.
func (b *batch[A, R]) staying() []int {
	at := make([]int, 0, b.alive)
	for i := range b.args {
		if !b.gone[i] {
			at = append(at, i)
		}
	}
	return at
}

// reset makes b empty and forgets all that it refers to.
func (b *batch[A, R]) reset() {
	clear(b.args)
	clear(b.out)
	*b = batch[A, R]{args: b.args[:0], out: b.out[:0]}
}
