package tier

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/ristretto"
	"github.com/hearthcache/hearth/codec"
	"github.com/hearthcache/hearth/internal/wire"
)

// ErrDelete, returned by the function given to [Cache.Update], deletes the key.
var ErrDelete = backends.ErrDelete

// ErrApplied says that a change was carried out at the authority, and that not every other tier,
// or not every other process, could be told. What could not be told is retried where it can be.
var ErrApplied = errors.New("cache: applied, but not every tier could be told")

// ConflictError says that an update gave up because others changed the key each time. Nothing was
// written. It is [ErrConflict].
type ConflictError = backends.ConflictError

// UpdateOptions changes how one value is updated. The zero value is [Cache.Update].
type UpdateOptions struct {
	// TTL of the new value. 0 = the old value's lifetime goes on; a key that was not there gets
	// the configured one.
	TTL time.Duration

	// Attempts is how often the write is tried while others keep changing the key.
	// 0 = [backends.DefaultAttempts].
	Attempts int

	// Idempotent says that applying the function twice does no harm. Where the outcome of a
	// write cannot be found out, it is then applied to whatever the key holds. Only when that fails
	// as well the result is [ErrUnknown].
	Idempotent bool

	// first is the TTL of a key that was not there; 0 = as configured.
	first time.Duration
}

// Update replaces the value of key by what fn makes of it, in one step: if somebody else changes
// the key at the authority (the farthest remote tier) between the read and the write, it begins
// again with the value of now, after a pause. No update is lost, whichever process makes it.
// It returns the new value.
//
// fn gets the value that the authority holds, also a stale one, or ok == false where there is
// none. Where there is none and a Loader is configured, fn gets the loaded record, and the write
// counts only if nobody has invalidated the key since before the load. fn may modify old, may be
// called several times, and must neither call the cache for this key nor have effects other than
// its result. [ErrDelete] from fn deletes the key, and the result is the zero V; any other error
// of fn comes back as it is. The source of record is not written to.
//
// After nil, no read that starts later gets an older value, as with [Cache.Set]. Errors:
//
//   - [ErrApplied]: the write was carried out, but a nearer tier or other processes could not be
//     told. The value comes back with it.
//   - [*ConflictError], an [ErrConflict]: others were quicker each time. Nothing was written.
//   - [ErrUnknown]: a write was sent, its answer was lost, and the key has changed since, so that
//     nobody can say whether the write took part. A lost answer alone is not unknown: every write
//     carries a mark, and the key is read again to find it.
//   - [ErrUnsupported]: the authority cannot compare, or there is a Writer. A cache before a source
//     of record holds copies; to compare and swap a copy would decide nothing. Update the source,
//     with its own transactions, and Invalidate.
//   - [codec.ErrUnreadable]: the key holds what no version of this cache wrote (a plain counter,
//     another client's value) or a newer release did. It is left alone; see [backends.Update].
//   - [backends.ErrHeldOff] while a delete with hold-off runs.
//
// Anything else is a failure of the tier, and nothing was written.
//
// A cache may evict. An update of an evicted key begins as if it had never been.
func (c *Cache[V]) Update(ctx context.Context, key string, fn func(old V, ok bool) (V, error)) (V, error) {
	return c.UpdateWith(ctx, key, fn, UpdateOptions{})
}

// UpdateWith is [Cache.Update] with options.
func (c *Cache[V]) UpdateWith(ctx context.Context, key string, fn func(old V, ok bool) (V, error), o UpdateOptions) (V, error) {
	var zero V
	if err := c.check("update", key); err != nil {
		return zero, err
	}
	switch {
	case fn == nil:
		return zero, fmt.Errorf("cache: update %q with a nil function", key)
	case o.TTL < 0:
		return zero, fmt.Errorf("cache: update %q: %w", key, ErrInvalidTTL)
	case o.Attempts < 0:
		return zero, fmt.Errorf("cache: update %q: negative Attempts", key)
	case o.Attempts == 0:
		o.Attempts = backends.DefaultAttempts
	}
	if c.cfg.Writer != nil {
		return zero, fmt.Errorf("cache: update %q beside a Writer: %w", key, ErrUnsupported)
	}
	if len(c.levels) == 0 {
		return c.updateLocal(ctx, key, fn, o)
	}
	lv := c.levels[len(c.levels)-1]
	if lv.caps.CASer == nil {
		return zero, lv.wrap("update", key, ErrUnsupported)
	}
	u := &update[V]{c: c, lv: lv, key: key, fn: fn, o: o}
	return u.run(ctx)
}

// update is one call of Update.
type update[V any] struct {
	c   *Cache[V]
	lv  *level // the authority
	key string
	fn  func(old V, ok bool) (V, error)
	o   UpdateOptions

	// sent are the writes whose answers were lost, by the marks they carry.
	sent map[uint64]write[V]
	// doubt says that the newest of them was sent over the version at, and may yet arrive for
	// as long as the key holds that version. at is zero after a write to an absent key.
	doubt bool
	at    backends.Token
	// lost says that nobody will find out about an idempotent one.
	lost bool
}

// seen is what a read of the authority brought.
type seen[V any] struct {
	stamp    ristretto.Stamp
	made     made
	item     backends.Item
	there    bool      // item is, also where it is no value: the write has to replace it
	e        *entry[V] // the value; nil: none
	negative bool      // the record is known not to exist
}

// errAgain: begin again.
var errAgain = errors.New("cache: again")

func (u *update[V]) run(ctx context.Context) (V, error) {
	var zero V
	for n := 1; ; n++ {
		v, err := u.attempt(ctx)
		switch {
		case !errors.Is(err, errAgain):
			return v, err
		case n >= u.o.Attempts && !u.doubt && !u.lost:
			return zero, &ConflictError{Key: u.key, Attempts: n}
		case n >= u.o.Attempts+lookAgain:
			return zero, u.unsure(ctx, errors.New("no attempts left"))
		}
		if err := pause(ctx, n); err != nil {
			return zero, u.unsure(ctx, err)
		}
	}
}

// lookAgain is how many attempts more there are to find out what became of a write.
const lookAgain = 2

// attempt is one round: read, fn, write. errAgain asks for another one.
func (u *update[V]) attempt(ctx context.Context) (V, error) {
	var zero V
	s, err := u.read(ctx)
	if u.doubt {
		if w, ok := u.recognise(s); ok {
			return u.applied(ctx, w)
		}
		switch {
		case err != nil && ctx.Err() == nil:
			return zero, errAgain // not told yet
		case err == nil && (u.at.IsZero() || s.item.Token != u.at):
			// Changed: after our write, or instead of it.
			if !u.o.Idempotent {
				return zero, u.unsure(ctx, errors.New("the key has changed since"))
			}
			u.doubt, u.lost = false, true
		}
	}
	if err != nil {
		return zero, u.unsure(ctx, err)
	}
	old := s.e
	if old == nil && !s.negative && u.c.load != nil {
		if !s.there && u.lv.caps.Leaser != nil {
			return u.load(ctx, s)
		}
		if old, err = u.loaded(ctx, s); err != nil {
			return zero, u.unsure(ctx, err)
		}
	}
	w, err := u.next(s, old)
	switch {
	case errors.Is(err, ErrDelete) && !s.there:
		return zero, u.unsure(ctx, nil)
	case errors.Is(err, ErrDelete):
		err = u.lv.compareAndDelete(ctx, u.key, s.item.Token)
		return u.outcome(ctx, w, s.item.Token, err)
	case err != nil:
		return zero, u.unsure(ctx, err)
	case s.there:
		err = u.lv.compareAndSwap(ctx, u.key, s.item.Token, u.c.writeItem(u.lv, w))
	default:
		err = u.lv.add(ctx, u.key, u.c.writeItem(u.lv, w))
	}
	return u.outcome(ctx, w, s.item.Token, err)
}

// read asks the authority. What it holds and may not be used any more (expired, cleared, negative)
// is there, but is no value.
func (u *update[V]) read(ctx context.Context) (seen[V], error) {
	c := u.c
	s := seen[V]{stamp: c.stamp(u.key), made: c.beforeLoad(ctx)}
	if !s.made.known {
		return s, u.lv.wrap("update", u.key, ErrUnavailable)
	}
	it, err := u.lv.get(ctx, u.key)
	switch {
	case errors.Is(err, backends.ErrHeldOff):
		return s, u.lv.wrapAny("update", u.key, err)
	case errors.Is(err, ErrMiss):
		return s, nil
	case err != nil:
		return s, definite(ctx, err)
	}
	s.item, s.there = it, true
	if wire.KindOf(it.Value) != wire.Frame {
		return s, u.lv.wrap("update", u.key, codec.ErrForeign)
	}
	s.e, err = c.decode(ctx, u.key, it, u.lv.index, c.clock.Wall(), nil)
	switch {
	case errors.Is(err, ErrMiss), errors.Is(err, codec.ErrCorrupt):
		return s, nil
	case err != nil:
		return s, u.lv.wrap("update", u.key, definite(ctx, err))
	case s.e.absent:
		s.e, s.negative = nil, true
	}
	return s, nil
}

// next calls fn with the old entry (nil: none) and makes its result a write, marked as this
// attempt's.
func (u *update[V]) next(s seen[V], old *entry[V]) (w write[V], err error) {
	c := u.c
	var was V
	if old != nil {
		was = c.out(old.value)
	}
	v, err := u.fn(was, old != nil)
	if err != nil {
		return write[V]{key: u.key, stamp: s.stamp}, err
	}
	w = write[V]{key: u.key, e: c.updated(v, old, s.made, u.o), stamp: s.stamp, op: newOp()}
	if w.frame, err = c.encode(u.key, w.e, w.op); err != nil {
		return w, fmt.Errorf("cache: encode %q: %w", u.key, err)
	}
	if limit := u.lv.caps.MaxValueBytes; limit > 0 && len(w.frame) > limit {
		return w, u.lv.wrap("update", u.key, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(w.frame), limit))
	}
	return w, nil
}

// updated is the entry of v, which replaces old (nil: none).
func (c *Cache[V]) updated(v V, old *entry[V], m made, o UpdateOptions) *entry[V] {
	ttl := o.TTL
	if old == nil && ttl == 0 {
		ttl = o.first
	}
	e := c.newEntry(c.out(v), false, c.lifetimeOf(false, ttl, 0), 0, 0, fromLoader)
	e.generation = m.generation
	if old != nil {
		e.version, e.generation, e.tags = old.version, old.generation, old.tags
		if ttl == 0 {
			e.fresh, e.expires = old.fresh, old.expires
		}
	}
	return e
}

// newOp returns the mark of a write. It only has to differ from those of the writes that meet it
// under one key; 0 means none.
func newOp() uint64 { return rand.Uint64() | 1 }

// pause waits before attempt n+1: about twice as long each time, from 1 ms to 50 ms, half of it
// left to chance so that two who collided do not meet again.
func pause(ctx context.Context, n int) error {
	d := min(time.Millisecond<<min(n-1, 16), 50*time.Millisecond)
	return sleep(ctx, d/2+rand.N(d/2+1))
}
