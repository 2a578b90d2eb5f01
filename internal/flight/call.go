package flight

import (
	"context"
	"sync/atomic"
)

// Call is one piece of work in progress, or its result. Safe for concurrent use.
type Call[T any] struct {
	key       string
	hash      uint64
	shard     *shard[T]
	batch     *Batch[T] // that it belongs to; nil for a call of its own
	keepGoing bool

	finished atomic.Bool // set after v and err

	// The shard's lock guards these.
	next      *Call[T]
	v         T
	err       error
	waiting   int           // joined and not left
	followed  bool          // somebody has joined who does not lead it
	done      chan struct{} // closed by Finish; made by the first who has to wait
	abandoned bool
	onAbandon func()
}

// Finish gives everybody the result and ends the call: who joins the key from now on starts a
// new one. The leader calls it, once; a second time panics.
func (c *Call[T]) Finish(v T, err error) {
	if !c.Settle(v, err) {
		panic("flight: Finish called twice for one call")
	}
}

// Settle is Finish for a leader that may have finished already; it reports whether it had not.
func (c *Call[T]) Settle(v T, err error) bool {
	if c.finished.Load() {
		return false
	}
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	if c.finished.Load() {
		return false
	}
	c.v, c.err = v, err
	c.finished.Store(true)
	c.onAbandon = nil
	c.shard.unlist(c)
	if c.done != nil {
		close(c.done)
	}
	return true
}

// Wait returns the result, or ctx's error if that ends first; the caller has then left. A result
// that is there is returned even if ctx has ended. Leaders may wait too, before or after Finish.
func (c *Call[T]) Wait(ctx context.Context) (T, error) {
	if c.finished.Load() {
		return c.v, c.err
	}
	done := c.doneChan()
	select {
	case <-done:
		return c.v, c.err
	case <-ctx.Done():
	}
	if c.leave() {
		return c.v, c.err
	}
	var zero T
	return zero, ctx.Err()
}

// Done is closed when the result is there.
func (c *Call[T]) Done() <-chan struct{} { return c.doneChan() }

// Leave says that the caller, who joined, waits no longer.
func (c *Call[T]) Leave() { c.leave() }

// OnAbandon registers what to do when the last of those who joined has left before Finish: stop
// the work, usually. The call can then no longer be joined, since its result would be a
// cancellation; the leader still has to Finish it. fn is called at most once, at once if that
// has happened already, never after Finish, and never if the group says KeepGoing. A leader that
// works without ever waiting has not left. A later OnAbandon replaces an earlier one.
func (c *Call[T]) OnAbandon(fn func()) {
	c.shard.mu.Lock()
	now := c.abandoned && !c.finished.Load()
	if !now && !c.finished.Load() {
		c.onAbandon = fn
	}
	c.shard.mu.Unlock()
	if now {
		fn()
	}
}

// leave takes one of those who wait off and reports whether the result is there after all.
func (c *Call[T]) leave() (finished bool) {
	c.shard.mu.Lock()
	if c.finished.Load() {
		c.shard.mu.Unlock()
		return true
	}
	c.waiting--
	var fn func()
	if c.waiting == 0 && !c.keepGoing {
		c.abandoned = true
		c.shard.unlist(c)
		fn, c.onAbandon = c.onAbandon, nil
	}
	c.shard.mu.Unlock()
	if fn != nil {
		fn()
	}
	return false
}

func (c *Call[T]) doneChan() chan struct{} {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.finished.Load() {
			close(c.done)
		}
	}
	return c.done
}
