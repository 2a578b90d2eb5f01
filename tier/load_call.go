package tier

import (
	"context"
	"sync"

	"github.com/hearthcache/hearth/internal/flight"
)

// loadCall is one call of a loader in a goroutine of its own. One that has returned in time is used
// again: nobody but its goroutine and the one that waits for it ever knows it.
type loadCall[V any] struct {
	ctx  context.Context
	key  string
	load loadFunc[V]
	old  Old[V]

	ended chan struct{} // gets one when l and err are there, and the slot is free again
	l     Loaded[V]
	err   error
}

// guarded calls load in a goroutine of its own, returns when it does or when ctx ends, which Close
// sees to with cancel, and turns a panic or a Goexit into an error. A loader that ignores its ctx
// keeps its slot until it ends: that is what bounds how many such goroutines there can be.
func (c *Cache[V]) guarded(ctx context.Context, cancel context.CancelFunc, key string, load loadFunc[V], old Old[V]) (Loaded[V], error) {
	r, ok := c.loadCalls.Get().(*loadCall[V])
	if !ok {
		r = &loadCall[V]{ended: make(chan struct{}, 1)}
	}
	r.ctx, r.key, r.load, r.old, r.err = ctx, key, load, old, flight.ErrGoexit
	c.running.add(r, cancel)
	go r.run(c.slots)
	select {
	case <-r.ended:
		c.running.remove(r) // before r can be another load's
	case <-ctx.Done():
		c.running.remove(r)
		return Loaded[V]{}, ctx.Err() // r is the loader's for good
	}
	l, err := r.l, r.err
	*r = loadCall[V]{ended: r.ended}
	c.loadCalls.Put(r)
	return l, err
}

func (r *loadCall[V]) run(slots <-chan struct{}) {
	defer func() {
		if p := recover(); p != nil {
			r.err = flight.NewPanicError(p)
		}
		<-slots
		r.ended <- struct{}{}
	}()
	l, err := r.load(r.ctx, r.key, r.old)
	r.l, r.err = l, err
}

// running are the loads under way, which end with the cache. (A context.AfterFunc for each would be
// three allocations.)
type running struct {
	mu    sync.Mutex
	ended bool
	all   map[any]context.CancelFunc
}

// add registers what cancels a load; remove must follow.
func (r *running) add(load any, cancel context.CancelFunc) {
	r.mu.Lock()
	ended := r.ended
	if r.all == nil {
		r.all = make(map[any]context.CancelFunc)
	}
	r.all[load] = cancel
	r.mu.Unlock()
	if ended {
		cancel()
	}
}

func (r *running) remove(load any) {
	r.mu.Lock()
	delete(r.all, load)
	r.mu.Unlock()
}

// end cancels all loads, and those to come.
func (r *running) end() {
	r.mu.Lock()
	r.ended = true
	all := make([]context.CancelFunc, 0, len(r.all))
	for _, cancel := range r.all {
		all = append(all, cancel)
	}
	r.mu.Unlock()
	for _, cancel := range all {
		cancel()
	}
}
