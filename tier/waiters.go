package tier

import (
	"context"
	"sync"
	"time"
)

// waiters wakes those who wait for another process's load as soon as the Invalidator says that
// the key changed: that is the other process's fill. Without an Invalidator they poll.
type waiters struct {
	silent bool // nobody will wake anyone: there is no Invalidator

	mu   sync.Mutex
	keys map[string]*waiter
}

type waiter struct {
	n  int // how many wait
	ch chan struct{}
}

// join announces a waiter for key; leave must follow.
func (w *waiters) join(key string) <-chan struct{} {
	if w.silent {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keys == nil {
		w.keys = make(map[string]*waiter)
	}
	k := w.keys[key]
	if k == nil {
		k = &waiter{ch: make(chan struct{})}
		w.keys[key] = k
	}
	k.n++
	return k.ch
}

// leave takes one waiter back that joined with ch.
func (w *waiters) leave(key string, ch <-chan struct{}) {
	if ch == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if k := w.keys[key]; k != nil && k.ch == ch {
		if k.n--; k.n == 0 {
			delete(w.keys, key)
		}
	}
}

// wake lets everyone who waits for one of keys look again.
func (w *waiters) wake(keys []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.keys) == 0 {
		return
	}
	for _, key := range keys {
		if k := w.keys[key]; k != nil {
			close(k.ch)
			delete(w.keys, key)
		}
	}
}

// waitFor waits for d, for the end of ctx, which it returns, or for woken.
func waitFor(ctx context.Context, d time.Duration, woken <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-woken:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
