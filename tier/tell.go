package tier

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// maxUntold bounds what an Invalidator is owed. Whoever misses more than that has missed numbers
// too, and flushes anyway: beyond it "forget everything" is owed.
const maxUntold = 1 << 12

// maxSlow is how many publishes in a row may run into their time before callers do not wait for
// the next: one may be a pause of the server, and three cost a caller less than a second.
const maxSlow = 3

// Time for what is published behind the callers' backs: longer than a source takes to give up by
// itself, and once more when the cache is closed.
const (
	tellTimeout = 5 * time.Second
	tellLast    = time.Second
)

// errBehind is why a caller does not wait: the source has not answered for several times.
var errBehind = fmt.Errorf("cache: the invalidator does not answer (%w)", backends.ErrUnavailable)

// teller publishes through one Invalidator, and again what it could not, until it got through.
type teller struct {
	inv  backends.Invalidator
	wake chan struct{} // capacity 1
	slow atomic.Int32  // publishes in a row that ran into their time

	mu   sync.Mutex
	owed map[string]struct{} // store keys
	all  bool                // everything is to be forgotten
}

// newTellers returns one for each Invalidator that inv publishes through.
func newTellers(inv backends.Invalidator) (out []*teller) {
	if inv == nil {
		return nil
	}
	each := []backends.Invalidator{inv}
	if s, ok := inv.(backends.Several); ok {
		each = s.Publishers()
	}
	for _, inv := range each {
		out = append(out, &teller{inv: inv, wake: make(chan struct{}, 1), owed: map[string]struct{}{}})
	}
	return out
}

// tellOthers publishes that keys changed, for the L1 of other processes. Its error is [ErrUntold]:
// then that is owed to them.
func (c *Cache[V]) tellOthers(ctx context.Context, keys []string) error {
	if len(c.tellers) == 0 || len(keys) == 0 { // nil would be everything
		return nil
	}
	return c.tell(ctx, c.published(keys))
}

// tellLater publishes that keys changed, behind the caller's back.
func (c *Cache[V]) tellLater(keys []string) {
	if len(c.tellers) == 0 {
		return
	}
	full := c.published(keys)
	for _, t := range c.tellers {
		t.owe(full)
	}
}

// tellAll publishes that everything is to be forgotten, as tellOthers does.
func (c *Cache[V]) tellAll(ctx context.Context) error { return c.tell(ctx, nil) }

// published returns keys as other processes know them.
func (c *Cache[V]) published(keys []string) []string {
	ns := c.cfg.Namespace
	if ns == "" {
		return keys
	}
	full := make([]string, len(keys))
	for i, k := range keys {
		full[i] = ns + ":" + k
	}
	return full
}

// tell tells all tellers at the same time.
func (c *Cache[V]) tell(ctx context.Context, keys []string) error {
	switch len(c.tellers) {
	case 0:
		return nil
	case 1:
		return c.tellers[0].tell(ctx, keys)
	}
	errs := make([]error, len(c.tellers))
	var others sync.WaitGroup
	for i, t := range c.tellers[1:] {
		others.Go(func() { errs[i+1] = t.tell(ctx, keys) })
	}
	errs[0] = c.tellers[0].tell(ctx, keys)
	others.Wait()
	return errors.Join(errs...)
}

// startTelling runs one goroutine per Invalidator that publishes again what is owed.
func (c *Cache[V]) startTelling() {
	for _, t := range c.tellers {
		c.tasks.Go(func() { t.run(c.life) })
	}
}

// tell publishes keys (nil: everything), or owes them: when ctx has ended, since the change has been
// made all the same, when the source does not answer, and when it fails.
func (t *teller) tell(ctx context.Context, keys []string) error {
	err := ctx.Err()
	switch {
	case err != nil:
	case t.slow.Load() >= maxSlow:
		err = errBehind
	default:
		if err = t.publish(ctx, keys); err == nil {
			return nil
		}
		if timedOut(err) {
			t.slow.Add(1)
		}
	}
	t.owe(keys)
	return fmt.Errorf("%w: %w", ErrUntold, err)
}

func (t *teller) publish(ctx context.Context, keys []string) (err error) {
	if keys == nil {
		err = t.inv.PublishFlush(ctx)
	} else {
		err = t.inv.Publish(ctx, keys)
	}
	if err == nil && t.slow.Load() != 0 {
		t.slow.Store(0)
	}
	return err
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// owe notes what is to be published again.
func (t *teller) owe(keys []string) {
	t.mu.Lock()
	t.all = t.all || keys == nil
	for _, k := range keys {
		if t.all {
			break
		}
		t.owed[k] = struct{}{}
		t.all = len(t.owed) > maxUntold
	}
	if t.all {
		clear(t.owed)
	}
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// take takes out some of what is owed; ok is false if nothing is. What changes again from here on
// is owed anew.
func (t *teller) take() (keys []string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all {
		t.all = false
		return nil, true
	}
	for k := range t.owed {
		if len(keys) == drainBatch {
			break
		}
		keys = append(keys, k)
		delete(t.owed, k)
	}
	return keys, len(keys) > 0
}

// run publishes what is owed until life ends, and then once more: at once, then ever more seldom,
// as an outbox delivers.
func (t *teller) run(life context.Context) {
	for {
		select {
		case <-t.wake:
		case <-life.Done():
			_ = t.settle(context.WithoutCancel(life), tellLast)
			return
		}
		for pause := deliverFirst; life.Err() == nil && t.settle(life, tellTimeout) != nil; pause = min(2*pause, deliverLast) {
			_ = sleep(life, pause)
		}
	}
}

// settle publishes all that is owed, or as much as gets through.
func (t *teller) settle(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		keys, ok := t.take()
		if !ok {
			return nil
		}
		if err := t.publish(ctx, keys); err != nil {
			t.owe(keys)
			return err
		}
	}
}
