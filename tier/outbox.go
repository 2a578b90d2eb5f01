package tier

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// ErrQueued says that an invalidation could not be delivered to a tier now. It is kept and
// retried; until it is through, this process does not read that tier for that key. Other
// processes may.
var ErrQueued = errors.New("cache: invalidation queued")

// errOwed is why a level is not read for a key.
var errOwed = fmt.Errorf("cache: an invalidation is still owed to this tier (%w)", backends.ErrUnavailable)

// maxOwed bounds an outbox: 64 Ki keys are a few megabytes. When more are owed, the namespace is
// cleared as soon as that can be done; without barriers, the level as a whole is not read until
// every value that could have been meant has expired.
const maxOwed = 1 << 16

// outbox keeps the keys whose invalidation a level still owes, the newest order per key. A key
// enters when the delete fails and leaves when a later one succeeds.
type outbox struct {
	any  atomic.Bool   // something is owed: has is one load when nothing is
	wake chan struct{} // capacity 1
	life time.Duration // how long a value can live in this level
	log  OutboxLog     // keeps it across a crash; nil: nothing does
	name string        // what log calls this level

	mu   sync.Mutex
	owed map[string]uint64 // key to the sequence number of the newest failure
	seq  uint64
	lost time.Time // when a key last found no room: until life has passed, no key may be read
}

func newOutbox(life time.Duration) *outbox {
	return &outbox{wake: make(chan struct{}, 1), owed: map[string]uint64{}, life: life}
}

// has reports whether key is owed an invalidation.
func (o *outbox) has(key string) bool {
	if !o.any.Load() {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.lost.IsZero() {
		if time.Since(o.lost) < o.life {
			return true
		}
		o.lost = time.Time{} // whatever was lost has expired by now
		o.note()
	}
	_, ok := o.owed[key]
	return ok
}

// note keeps any true while something is owed.
func (o *outbox) note() { o.any.Store(len(o.owed) > 0 || !o.lost.IsZero()) }

// add notes that key could not be invalidated.
func (o *outbox) add(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.owed[key]; !ok && len(o.owed) >= maxOwed {
		o.lost = time.Now()
	} else {
		o.put(key)
	}
	o.note()
	o.alarm()
}

// restore puts in a key from the log. There may be more of them than fit otherwise: each was
// accepted once.
func (o *outbox) restore(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.put(key)
	o.note()
	o.alarm()
}

func (o *outbox) put(key string) {
	o.seq++
	o.owed[key] = o.seq
}

// alarm wakes whoever delivers.
func (o *outbox) alarm() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// overflowed returns when a key last found no room; zero if all did.
func (o *outbox) overflowed() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lost
}

// forgive says that everything that was lost up to then is invalid by other means.
func (o *outbox) forgive(then time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lost.Equal(then) {
		o.lost = time.Time{}
		o.note()
	}
}

// some returns up to n owed keys with their sequence numbers, without those that wait.
func (o *outbox) some(n int, waits func(key string) bool) (keys []string, seqs []uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for k, s := range o.owed {
		if len(keys) == n {
			break
		}
		if waits(k) {
			continue
		}
		keys, seqs = append(keys, k), append(seqs, s)
	}
	return keys, seqs
}

// settle removes key unless it failed again since seq, and reports whether it did.
func (o *outbox) settle(key string, seq uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.owed[key] != seq {
		return false
	}
	delete(o.owed, key)
	o.note()
	return true
}

func (o *outbox) depth() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.owed)
}

// drainBatch is how many keys a level is sent at a time, as many as the drivers put into one
// round trip.
const drainBatch = 500

// drainFor empties the outbox before the breaker closes; the guard lets calls with ctx pass. What
// one dead server of several is owed stays owed and does not keep the breaker open.
func (l *level) drainFor(ctx context.Context) error {
	keys, seqs := l.owed.some(maxOwed, l.waits)
	for lo, hi := range backends.Chunks(len(keys), func(i int) int { return len(keys[i]) }) {
		err := l.settleMany(keys[lo:hi], seqs[lo:hi], l.deleteMany(ctx, keys[lo:hi]))
		if err != nil && !errors.Is(err, backends.ErrOneServer) {
			return err
		}
	}
	return nil
}

// settleMany settles what got through and returns the first error of what did not.
func (l *level) settleMany(keys []string, seqs []uint64, errs []error) (err error) {
	var done []string
	for i, k := range keys {
		switch {
		case errs != nil && errs[i] != nil:
			if err == nil {
				err = errs[i]
			}
		case l.owed.settle(k, seqs[i]):
			l.count(levelDelivered)
			done = append(done, k)
		}
	}
	if l.nearer != nil && len(done) > 0 {
		l.nearer.owed.alarm()
	}
	if l.owed.log != nil && len(done) > 0 {
		if lerr := l.owed.log.Settle(l.owed.name, done); lerr != nil {
			l.report(context.Background(), Event{Kind: EventOutboxLog, Tier: l.name, Key: done[0], Keys: len(done), Err: lerr})
		}
	}
	return err
}

// startOutboxes runs one deliverer per level, so that a dead level holds up no other.
func (c *Cache[V]) startOutboxes() {
	for _, lv := range c.levels {
		c.tasks.Go(func() { lv.deliver(c.life) })
	}
}

// Pauses between attempts to deliver: quick at first, since most outages are blinks, then as
// seldom as the breaker probes.
const (
	deliverFirst = 50 * time.Millisecond
	deliverLast  = 2 * time.Second
)

// clearable reports whether keys were lost that a cleared namespace would make good.
func (l *level) clearable() bool { return l.clear != nil && !l.owed.overflowed().IsZero() }

// deliver retries what the level is owed until ctx ends.
func (l *level) deliver(ctx context.Context) {
	pause := deliverFirst
	for {
		select {
		case <-l.owed.wake:
		case <-ctx.Done():
			return
		}
		for l.owed.depth() > 0 || l.clearable() {
			err := l.attempt(ctx)
			switch {
			case err == nil:
				pause = deliverFirst
				continue
			case errors.Is(err, errWaits): // the farther level's deliverer wakes this one
				err = waitFor(ctx, deliverLast, l.owed.wake)
			default:
				err = sleep(ctx, pause)
				pause = min(pause*2, deliverLast)
			}
			if err != nil {
				return
			}
		}
	}
}

// errWaits: what is owed here is owed farther away first.
var errWaits = errors.New("cache: a farther tier comes first")

// waits reports whether key has to be invalidated at the farther level first: what is owed keeps
// the order of invalidations, the level that is read first last.
func (l *level) waits(key string) bool { return l.farther != nil && l.farther.owed.has(key) }

// attempt clears the namespace if keys were lost, and delivers one batch.
func (l *level) attempt(ctx context.Context) error {
	if l.clearable() {
		lost := l.owed.overflowed()
		if err := l.clear(ctx); err != nil {
			return err
		}
		l.owed.forgive(lost)
	}
	keys, seqs := l.owed.some(drainBatch, l.waits)
	switch {
	case len(keys) > 0:
	case l.owed.depth() > 0:
		return errWaits
	default:
		return nil
	}
	return l.settleMany(keys, seqs, l.deleteMany(ctx, keys))
}
