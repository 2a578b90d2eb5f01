package memcached

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// pool lends out things one caller at a time: at most cap(slots) at once, and keeps at most keep
// of them for later, the last one used first.
type pool[T any] struct {
	build   func() T
	discard func(T)
	keep    int
	wait    time.Duration // for a slot; <= 0: as long as the ctx allows
	slots   chan struct{} // nil: no cap

	mu     sync.Mutex
	idle   []T
	closed bool
}

func newPool[T any](c *Config, build func() T, discard func(T)) *pool[T] {
	p := &pool[T]{build: build, discard: discard, keep: c.MaxIdleConns, wait: c.Timeout}
	if c.MaxConns > 0 {
		p.slots = make(chan struct{}, c.MaxConns)
	}
	return p
}

// take returns a T for the caller alone, who puts it back.
func (p *pool[T]) take(ctx context.Context) (t T, err error) {
	if err := p.slot(ctx); err != nil {
		return t, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		p.free()
		return t, backends.ErrClosed
	}
	if n := len(p.idle); n > 0 {
		t, p.idle = p.idle[n-1], p.idle[:n-1]
		return t, nil
	}
	return p.build(), nil
}

func (p *pool[T]) slot(ctx context.Context) error {
	if p.slots == nil {
		return nil
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	var tooLong <-chan time.Time
	if p.wait > 0 {
		timer := time.NewTimer(p.wait)
		defer timer.Stop()
		tooLong = timer.C
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: all %d connections busy: %w", backends.ErrUnavailable, cap(p.slots), ctx.Err())
	case <-tooLong:
		return fmt.Errorf("%w: all %d connections busy", backends.ErrUnavailable, cap(p.slots))
	}
}

func (p *pool[T]) free() {
	if p.slots != nil {
		<-p.slots
	}
}

func (p *pool[T]) put(t T) {
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < p.keep
	if keep {
		p.idle = append(p.idle, t)
	}
	p.mu.Unlock()
	if !keep {
		p.discard(t)
	}
	p.free()
}

// drain discards what lies idle: after one connection was found dead, the others of its age are.
func (p *pool[T]) drain() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, t := range idle {
		p.discard(t)
	}
}

// close drains, and lets nobody take any more.
func (p *pool[T]) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.drain()
}
