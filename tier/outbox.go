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
// processes may; when it is through their L1 are told to forget the key.
var ErrQueued = errors.New("cache: invalidation queued")

// errOwed is why a level is not read for a key.
var errOwed = fmt.Errorf("cache: an invalidation is still owed to this tier (%w)", backends.ErrUnavailable)

// maxOwed bounds an outbox: 64 Ki keys are a few megabytes. When more are owed, the namespace is
// cleared as soon as that can be done; without barriers, the level as a whole is not read until
// every value that could have been meant has expired.
const maxOwed = 1 << 16

// outbox keeps the invalidations that a level still owes, one order per key. A key enters when
// the delete fails and leaves when a later one succeeds.
type outbox struct {
	any  atomic.Bool   // something is owed: has is one load when nothing is
	wake chan struct{} // capacity 1
	life time.Duration // how long a value can live in this level

	mu   sync.Mutex
	owed map[string]order
	seq  uint64
	lost time.Time // when a key last found no room: until life has passed, no key may be read

	logging sync.Mutex // one call of log at a time; taken before mu
	log     OutboxLog  // keeps it across a crash; nil: nothing does
	name    string     // what log calls this level
}

// order is what a level owes for one key.
type order struct {
	Owed
	seq uint64 // of the newest failure
}

func newOutbox(life time.Duration) *outbox {
	return &outbox{wake: make(chan struct{}, 1), owed: map[string]order{}, life: life}
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

// add notes that a key could not be invalidated, and returns the order; one without a sequence
// number found no room.
func (o *outbox) add(w Owed) (added order) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.owed[w.Key]; !ok && len(o.owed) >= maxOwed {
		o.lost = time.Now()
		added.Owed = w
	} else {
		added = o.put(w)
	}
	o.note()
	o.alarm()
	return added
}

// restore puts in what the log kept. There may be more than fits otherwise: each was accepted
// once.
func (o *outbox) restore(w Owed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.put(w)
	o.note()
	o.alarm()
}

// put makes w the newest order for its key. A hold-off that is owed already stays, the longer of
// the two: who deletes without one says nothing about the lag that the other protects from.
func (o *outbox) put(w Owed) order {
	o.seq++
	old := o.owed[w.Key]
	w.HoldOff, w.Version = max(w.HoldOff, old.HoldOff), max(w.Version, old.Version)
	now := order{Owed: w, seq: o.seq}
	o.owed[w.Key] = now
	return now
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

// some returns up to n orders, without those that wait.
func (o *outbox) some(n int, waits func(key string) bool) (out []order) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for k, w := range o.owed {
		if len(out) == n {
			break
		}
		if !waits(k) {
			out = append(out, w)
		}
	}
	return out
}

// settle removes an order unless its key failed again since, and reports whether it did.
func (o *outbox) settle(w order) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.owed[w.Key].seq != w.seq {
		return false
	}
	delete(o.owed, w.Key)
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
	all := l.owed.some(maxOwed, l.waits)
	for lo, hi := range backends.Chunks(len(all), func(i int) int { return len(all[i].Key) }) {
		if err := l.deliverSome(ctx, all[lo:hi]); err != nil && !errors.Is(err, backends.ErrOneServer) {
			return err
		}
	}
	return nil
}

// deliverSome delivers orders, settles what got through and returns the first error of what did
// not.
func (l *level) deliverSome(ctx context.Context, orders []order) (err error) {
	errs := l.carryOut(ctx, orders)
	var done []string
	for i, w := range orders {
		switch {
		case errs[i] != nil:
			if err == nil {
				err = errs[i]
			}
		case l.owed.settle(w):
			l.count(levelDelivered)
			done = append(done, w.Key)
		}
	}
	if l.nearer != nil && len(done) > 0 {
		l.nearer.owed.alarm()
	}
	l.logSettled(done)
	if len(done) > 0 {
		l.tell(done) // until now others could read the old value here, and keep it
	}
	return err
}

// carryOut deletes the keys of orders: those without a hold-off in one call, the others one by
// one. A hold-off begins anew: how far a replica lags behind now is as unknown as it was when the
// key was deleted, and a process that was restarted meanwhile does not know when that was.
func (l *level) carryOut(ctx context.Context, orders []order) []error {
	errs := make([]error, len(orders))
	var plain []string
	var at []int // where the plain ones are among orders
	var dead error
	for i, w := range orders {
		switch {
		case w.HoldOff == 0 || l.caps.Tombstoner == nil: // the log may know of a hold-off that the store does not
			plain, at = append(plain, w.Key), append(at, i)
			continue
		case dead == nil:
			errs[i] = l.deleteHold(ctx, w.Key, w.HoldOff, w.Version)
			if errs[i] != nil && !errors.Is(errs[i], backends.ErrOneServer) {
				dead = errs[i]
			}
		default:
			errs[i] = dead // the next would only wait for its timeout too
		}
	}
	if len(plain) > 0 && dead == nil {
		for j, err := range l.deleteMany(ctx, plain) {
			errs[at[j]] = err
		}
	} else {
		for _, i := range at {
			errs[i] = dead
		}
	}
	return errs
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
	orders := l.owed.some(drainBatch, l.waits)
	switch {
	case len(orders) > 0:
	case l.owed.depth() > 0:
		return errWaits
	default:
		return nil
	}
	return l.deliverSome(ctx, orders)
}
