package writebehind

import (
	"context"
	"errors"
	"sync"
)

// Ack follows operations that were accepted together to their end.
type Ack struct {
	done chan struct{}

	mu   sync.Mutex
	left int
	errs []error
}

func newAck(n int) *Ack {
	a := &Ack{done: make(chan struct{}), left: n}
	if n == 0 {
		close(a.done)
	}
	return a
}

// Done is closed when all operations have come to their end.
func (a *Ack) Done() <-chan struct{} { return a.done }

// Wait returns nil when the source has taken every operation, or a newer one in its place. It
// returns a joined error with a [*DeadError] or [ErrExpired] for each that came to another end,
// and the context's error when that ends first; the operations go on then. It may be called by
// several goroutines.
func (a *Ack) Wait(ctx context.Context) error {
	select {
	case <-a.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return errors.Join(a.errs...)
}

func (a *Ack) resolve(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.errs = append(a.errs, err)
	}
	if a.left--; a.left == 0 {
		close(a.done)
	}
}
