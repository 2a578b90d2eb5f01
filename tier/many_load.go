package tier

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/flight"
)

// loading is a key of a batch that this process loads.
type loading[V any] struct {
	*lead[V]
	right right
	e     *entry[V] // what was loaded
	frame []byte    // its encoding
	err   error     // or how the load ended
}

// loadRest loads what no tier has, under leases. Those that other processes hold it asks for
// again and again, all in one round trip, as [Cache.win] does for one key; what it gets meanwhile
// is loaded beside the wait.
func (b *batch[V]) loadRest(ctx context.Context, rest []*lead[V]) {
	c := b.c
	var wg sync.WaitGroup
	defer wg.Wait()
	began := c.clock.Precise()
	for {
		if rest = b.loadWon(ctx, rest, &wg); len(rest) == 0 {
			return
		}
		for range rest {
			c.count.Inc(int(countLeaseWaits))
		}
		waited := time.Duration(c.clock.Precise() - began)
		if waited >= c.waitTime() {
			mine := make([]*loading[V], len(rest))
			for i, l := range rest {
				c.count.Inc(int(countLeaseGiveUps))
				mine[i] = &loading[V]{lead: l, right: right{leases: make([]backends.Lease, len(c.levels))}}
			}
			b.loadMine(ctx, mine)
			return
		}
		// Another process's batch is filled at once: the push for one key speaks for the others.
		woken := c.waiters.join(rest[0].key)
		err := waitFor(ctx, pollPause(waited), woken)
		c.waiters.leave(rest[0].key, woken)
		if err != nil {
			for _, l := range rest {
				l.call.Finish(nil, err)
			}
			return
		}
	}
}

// loadWon asks for the leases of rest, loads what it gets, and returns the keys that other
// processes are loading, in rest's memory. With some of those it does not wait for its own load,
// which wg then counts.
func (b *batch[V]) loadWon(ctx context.Context, rest []*lead[V], wg *sync.WaitGroup) (busy []*lead[V]) {
	c := b.c
	var mine []*loading[V]
	busy = rest[:0]
	for i, got := range c.acquireMany(ctx, keysOf(rest)) {
		l := rest[i]
		switch {
		case got.found != nil:
			c.keep(l.key, l.stamp, *got.found)
			l.call.Finish(got.found.e, nil)
		case got.busy:
			busy = append(busy, l)
		default:
			mine = append(mine, &loading[V]{lead: l, right: got.right})
		}
	}
	switch {
	case len(mine) == 0:
	case len(busy) == 0:
		b.loadMine(ctx, mine)
	default:
		wg.Go(func() { b.loadMine(ctx, mine) })
	}
	return busy
}

// loadMine loads many keys, at once if the loader can, and fills each under its right.
func (b *batch[V]) loadMine(ctx context.Context, mine []*loading[V]) {
	if b.many != nil {
		b.loadAtOnce(ctx, mine)
		return
	}
	var wg sync.WaitGroup
	for _, l := range mine {
		wg.Go(func() {
			var e *entry[V]
			err := flight.ErrGoexit
			defer func() { l.settle(e, err, recover()) }()
			e, err = b.c.loadUnder(ctx, l.key, l.stamp, l.right, b.load, nil)
		})
	}
	wg.Wait()
}

// settle ends the flight, if that has not happened, with what its work came to, or its panic.
func (l *lead[V]) settle(e *entry[V], err error, panicked any) {
	if panicked != nil {
		e, err = nil, flight.NewPanicError(panicked)
	}
	l.call.Settle(e, err)
}

// loadAtOnce is [Cache.loadUnder] for many keys.
func (b *batch[V]) loadAtOnce(ctx context.Context, mine []*loading[V]) {
	c := b.c
	defer func() {
		p := recover()
		for _, l := range mine {
			l.settle(nil, flight.ErrGoexit, p)
		}
	}()
	var ask, back, fill []*loading[V] // to load; whose rights go back; to store
	for _, l := range mine {
		if l.err = c.failed.recall(l.key); l.err != nil {
			back = append(back, l)
		} else {
			ask = append(ask, l)
		}
	}
	if len(ask) > 0 {
		m := c.beforeLoad(ctx)
		keys := make([]string, len(ask))
		for i, l := range ask {
			keys[i] = l.key
		}
		values, took, err := c.callManyLoader(ctx, keys, b.many)
		for _, l := range ask {
			v, ok := values[l.key]
			switch {
			case err != nil:
				if l.err = err; !errors.Is(err, ErrMiss) {
					c.failed.remember(l.key, err)
				}
			case !ok && c.cfg.NegativeTTL == 0:
				l.err = ErrMiss
			default:
				l.e = c.newEntry(v, !ok, c.lifetimeOf(!ok, 0, 0), 0, took, fromLoader)
				l.e.generation = m.generation
			}
			if l.err != nil || !m.known { // it cannot be told whether this was cleared meanwhile
				back = append(back, l)
			} else if l.frame, l.err = c.encodeFor(ctx, l.key, l.e, l.right); l.err == nil {
				fill = append(fill, l)
			}
		}
	}
	c.releaseMany(ctx, back)
	c.fillMany(ctx, fill)
	for _, l := range mine {
		if l.err != nil {
			l.e = nil
		}
		l.call.Finish(l.e, l.err)
	}
}

// callManyLoader is callLoader for many keys.
func (c *Cache[V]) callManyLoader(ctx context.Context, keys []string, many manyFunc[V]) (values map[string]V, took time.Duration, err error) {
	var m map[string]V
	load := func(ctx context.Context, _ string, _ Old[V]) (l Loaded[V], err error) {
		m, err = many(ctx, keys)
		return l, err
	}
	_, took, err = c.callLoader(ctx, keys[0], load, nil)
	if p, ok := errors.AsType[*PanicError](err); ok && len(keys) > 1 {
		err = fmt.Errorf("cache: load of %d keys, the first %q: %w", len(keys), keys[0], p)
	}
	if err != nil {
		return nil, took, err // m may still be written by a loader that was given up on
	}
	return m, took, nil
}

// fillMany stores what was loaded, one round trip per level where the level can.
func (c *Cache[V]) fillMany(ctx context.Context, loaded []*loading[V]) {
	if len(loaded) == 0 {
		return
	}
	for i := len(c.levels) - 1; i >= 0; i-- {
		c.fillLevel(ctx, c.levels[i], loaded)
	}
	for _, l := range loaded {
		l.e.offered = l.right.fill
		c.putLoaded(l.key, l.stamp, l.right, l.e, int64(len(l.frame)))
	}
}

func (c *Cache[V]) fillLevel(ctx context.Context, lv *level, loaded []*loading[V]) {
	var leases []backends.Lease
	var items []backends.Item
	var plain []backends.KeyItem
	for _, l := range loaded {
		it, ok := c.item(lv, l.frame, l.e)
		switch lease := l.right.leases[lv.index]; {
		case !ok:
		case lease != nil:
			leases, items = append(leases, lease), append(items, it)
		case l.right.fill && lv.caps.Leaser == nil:
			plain = append(plain, backends.KeyItem{Key: l.key, Item: it})
		}
	}
	lv.fillMany(ctx, leases, items)
	if len(plain) > 0 {
		lv.setMany(ctx, plain)
	}
}
