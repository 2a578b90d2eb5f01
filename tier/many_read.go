package tier

import (
	"context"
	"errors"

	"github.com/hearthcache/hearth/backends/ristretto"
	"github.com/hearthcache/hearth/internal/flight"
)

// lead is a key whose flight the batch leads. The flight's goroutine alone writes to it.
type lead[V any] struct {
	key   string
	call  *flight.Call[*entry[V]]
	stamp ristretto.Stamp

	failed error    // of the levels that could not be asked
	read   entry[V] // what a level had; zero until then
}

// follow is a key that is in flight already.
type follow[V any] struct {
	key  string
	call *flight.Call[*entry[V]]
}

// atHand answers from L1 and from the Writer's pending mutations what they can answer, and
// returns the other keys.
func (b *batch[V]) atHand(ctx context.Context, keys []string) (rest []string) {
	c := b.c
	if c.l1 == nil && c.pending == nil {
		return keys
	}
	for i, key := range keys {
		if k, s := c.fromL1(key); s == ristretto.Fresh {
			if !k.absent() {
				b.out[key] = c.out(k.value)
			}
		} else if s == ristretto.Stale {
			b.give(ctx, key, k.entry(), true)
		} else if p := c.fromPending(key); p != nil {
			b.give(ctx, key, p, false)
		} else {
			if rest == nil {
				rest = make([]string, 0, len(keys)-i)
			}
			rest = append(rest, key)
		}
	}
	return rest
}

// fly joins the flights of keys, starts those that are not under way as one, and takes the
// results in. Unless last, it leaves out the keys that have to be looked at again, as
// [Cache.mustLookAgain] has it, and returns them.
func (b *batch[V]) fly(ctx context.Context, keys []string, last bool) (again []string) {
	c := b.c
	if err := ctx.Err(); err != nil {
		for _, key := range keys {
			b.fail(key, err)
		}
		return nil
	}
	group := &c.lookups
	if b.load != nil {
		group = &c.loads
	}
	s := c.scratch(len(keys))
	var follows []follow[V]
	for _, key := range keys {
		stamp := c.stamp(key)
		switch call, role := group.JoinBatch(key, s.flights); role {
		case flight.Leads:
			s.leads = append(s.leads, lead[V]{key: key, call: call, stamp: stamp})
		case flight.Follows:
			follows = append(follows, follow[V]{key: key, call: call})
		}
	}
	waiting, hard := c.patience(ctx, b.load)
	defer hard()
	over := b.lead(ctx, waiting, s)
	for i := range s.leads {
		l := &s.leads[i]
		e, err := l.call.Wait(waiting)
		b.take(ctx, waiting, l.key, e, err)
	}
	if over && !b.kept {
		c.recycle(s)
	}
	for _, f := range follows {
		e, err := f.call.Wait(waiting)
		if err == nil && !last && c.mustLookAgain(e) {
			again = append(again, f.key)
			continue
		}
		b.take(ctx, waiting, f.key, e, err)
	}
	return again
}

// lead brings the flights of s to their ends, and returns then, or when the caller's patience ends:
// it works beside the caller if the caller can leave early, else in place. over: the work has ended.
func (b *batch[V]) lead(ctx, waiting context.Context, s *scratch[V]) (over bool) {
	if len(s.leads) == 0 {
		return true
	}
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.c.flightTime(b.load))
	if waiting.Done() == nil {
		defer cancel()
		b.run(nobodys{work}, s)
		return true
	}
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		defer cancel()
		b.run(nobodys{work}, s)
	}()
	select {
	case <-ran:
		return true
	case <-waiting.Done():
		return false
	}
}

// take takes the result of one flight in. waiting is what its reader waited in.
func (b *batch[V]) take(ctx, waiting context.Context, key string, e *entry[V], err error) {
	switch {
	case err == nil:
		b.give(ctx, key, e, e.due)
	case context.Cause(waiting) == ErrLoadTimeout:
		b.fail(key, ErrLoadTimeout)
	case !errors.Is(err, ErrMiss):
		b.fail(key, err)
	}
}

// run brings the flights of s to their ends, come what may: the remote tiers near to far, one round
// trip each, then the loader for the rest.
func (b *batch[V]) run(ctx context.Context, s *scratch[V]) {
	c := b.c
	err := flight.ErrGoexit
	defer func() {
		if p := recover(); p != nil {
			err = flight.NewPanicError(p)
		}
		for i := range s.leads {
			s.leads[i].call.Settle(nil, err)
		}
	}()
	if !c.begin() {
		err = ErrClosed
		return
	}
	defer c.tasks.Done()
	rest := b.stillMissing(s)
	for _, lv := range c.levels {
		if len(rest) == 0 {
			return
		}
		rest = b.readLevel(ctx, lv, rest, s)
	}
	if b.load != nil {
		b.loadRest(ctx, rest)
		return
	}
	for _, l := range rest {
		if l.failed == nil {
			l.failed = ErrMiss
		}
		l.call.Finish(nil, l.failed)
	}
}

// stillMissing looks into L1 once more where a second load is at stake: somebody may have filled
// it between this caller's look and its flights.
func (b *batch[V]) stillMissing(s *scratch[V]) []*lead[V] {
	c := b.c
	rest := s.rest
	for i := range s.leads {
		l := &s.leads[i]
		if c.l1 != nil && b.load != nil {
			if k, s := c.l1.Get(l.key); s == ristretto.Fresh {
				l.call.Finish(k.entry(), nil)
				continue
			}
		}
		rest = append(rest, l)
	}
	return rest
}

// readLevel asks lv for the keys of rest and returns those it could not answer, in rest's memory.
func (b *batch[V]) readLevel(ctx context.Context, lv *level, rest []*lead[V], s *scratch[V]) (left []*lead[V]) {
	c := b.c
	left = rest[:0]
	results := lv.getMany(ctx, s.keysFor(lv, rest))
	now := c.clock.Wall()
	for i := range results {
		r := &results[i]
		l, err := rest[i], r.Err
		if err == nil {
			var e *entry[V]
			if e, err = c.accept(ctx, lv, l.key, r.Item, now, &l.read); err == nil {
				lv.count(levelHits)
				e.due = b.load != nil && c.isDue(e, now)
				c.keep(l.key, l.stamp, found[V]{e: e, item: r.Item, at: lv.index})
				l.call.Finish(e, nil)
				continue
			}
			l.read = entry[V]{}
		}
		if errors.Is(err, ErrMiss) {
			lv.count(levelMisses)
		} else {
			l.failed = errors.Join(l.failed, err)
		}
		left = append(left, l)
	}
	return left
}

// keysOf returns the keys of leads.
func keysOf[V any](leads []*lead[V]) []string {
	return appendKeys(make([]string, 0, len(leads)), leads)
}

func appendKeys[V any](keys []string, leads []*lead[V]) []string {
	for _, l := range leads {
		keys = append(keys, l.key)
	}
	return keys
}
