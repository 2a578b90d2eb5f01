package backends

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// ErrDelete, returned by the function given to [Update], deletes the key.
var ErrDelete = errors.New("cache: delete the key")

// ConflictError says that an update gave up, since others changed the key between every read and
// the write after it. Nothing was written. It is [ErrConflict].
type ConflictError struct {
	Key      string
	Attempts int // writes that were tried
}

// Error implements error.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("cache: update %q: changed by others in each of %d attempts", e.Key, e.Attempts)
}

// Is makes it [ErrConflict].
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// UpdateOptions changes how one value is updated. The zero value is good.
type UpdateOptions struct {
	// TTL of the new value. 0 = what remains of the old one's; a key that was not there then
	// lives until it is evicted.
	TTL time.Duration

	// Attempts is how often the write is tried while others keep changing the key.
	// 0 = [DefaultAttempts].
	Attempts int

	// Idempotent says that applying the function twice does no harm: after a write whose answer
	// was lost it is then applied to whatever the key holds, instead of giving up as unknown. Only
	// when that fails as well the result is [ErrUnknown].
	Idempotent bool
}

// DefaultAttempts is how often an update is tried. With the pauses between them that is at most a
// quarter of a second, plus the round trips.
const DefaultAttempts = 10

// Pauses between attempts: one of several round trips to begin with, and no longer than a user
// would notice.
const (
	pauseFirst = time.Millisecond
	pauseLast  = 50 * time.Millisecond
)

// rest waits before attempt n (1 = the second) of something that collided with others: about twice
// as long each time, with half of it left to chance, so that two who collided do not meet again.
func rest(ctx context.Context, n int) error {
	d := min(pauseFirst<<min(n-1, 16), pauseLast)
	t := time.NewTimer(d/2 + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Update replaces the value under key by what fn makes of it, if nobody changes it in between;
// else it begins again with the value of now, after a pause. It works on plain values, without
// hearth's frame, so other clients in any language may update them too: memcached's gets and cas,
// a comparing script on Redis. It returns the value it wrote.
//
// fn gets the old value, or ok == false where there is none; it must not modify old, may be called
// several times, and decides by its result alone. [ErrDelete] from fn deletes the key (the result
// is nil); any other error comes back as it is, and nothing has been written.
//
// [ConflictError]: others were quicker each time. [ErrUnknown]: a write was sent and its answer
// lost, and whether it was carried out cannot be told any more. A plain value has no room for a
// mark by which a write could be recognised later, so that is the honest answer more often than
// with the Update of package tier: only where the store counts versions (memcached), and the
// version is still the old one, the write is tried again. [ErrHeldOff] while a delete with
// hold-off runs, [ErrUnsupported] if s cannot compare, or if TTL is 0 and s does not know what
// remains.
//
// On Redis a version is the value: if others change it and change it back in between, the write
// goes through, as if nothing had happened.
func Update(ctx context.Context, s Store, key string, fn func(old []byte, ok bool) ([]byte, error), o UpdateOptions) ([]byte, error) {
	switch {
	case o.TTL < 0:
		return nil, ErrInvalidTTL
	case o.Attempts < 0:
		return nil, fmt.Errorf("cache: update %q: negative Attempts", key)
	}
	u := update{store: s, caps: CapsOf(s), key: key, o: o}
	if u.caps.CASer == nil {
		return nil, fmt.Errorf("cache: update %q: %w", key, ErrUnsupported)
	}
	if u.o.Attempts == 0 {
		u.o.Attempts = DefaultAttempts
	}
	for n := 1; ; n++ {
		v, err := u.attempt(ctx, fn)
		if !errors.Is(err, errAgain) {
			return v, err
		}
		if n == u.o.Attempts {
			return nil, u.unsure(&ConflictError{Key: key, Attempts: n})
		}
		if err := rest(ctx, n); err != nil {
			return nil, u.unsure(err)
		}
	}
}

// errAgain: begin again.
var errAgain = errors.New("cache: again")

// update is one call of Update.
type update struct {
	store Store
	caps  Caps
	key   string
	o     UpdateOptions

	// doubt is the version over which a write was sent whose answer was lost; zero if none.
	// While the key still holds it, that write may yet arrive.
	doubt Token

	// lost says that an idempotent write was sent whose answer was lost.
	lost bool
}

// unsure is err, or, while a write may have been carried out or may yet arrive, that nobody knows.
func (u *update) unsure(err error) error {
	switch {
	case u.doubt.IsZero() && !u.lost:
		return err
	case errors.Is(err, ErrConflict), errors.Is(err, ErrMiss): // would say that nothing was written
		return fmt.Errorf("cache: update %q: %w (%v)", u.key, ErrUnknown, err)
	}
	return fmt.Errorf("cache: update %q: %w: %w", u.key, ErrUnknown, err)
}

// attempt is one round: read, fn, write.
func (u *update) attempt(ctx context.Context, fn func([]byte, bool) ([]byte, error)) ([]byte, error) {
	old, err := u.read(ctx)
	found := err == nil
	switch {
	case errors.Is(err, ErrHeldOff), err != nil && !errors.Is(err, ErrMiss):
		return nil, u.unsure(err)
	case !u.doubt.IsZero() && old.Token != u.doubt:
		// Somebody changed it: after our write or instead of it.
		if !u.o.Idempotent {
			return nil, u.unsure(ErrConflict)
		}
		u.doubt = Token{}
	}
	if found && u.o.TTL == 0 && old.TTL == TTLUnknown {
		return nil, u.unsure(fmt.Errorf("cache: update %q: the store does not say how long the value lives: %w", u.key, ErrUnsupported))
	}
	v, err := fn(old.Value, found)
	if err != nil && !errors.Is(err, ErrDelete) {
		return nil, u.unsure(err)
	}
	switch {
	case err != nil && !found:
		return nil, u.unsureNil()
	case err != nil:
		v, err = nil, u.caps.CASer.CompareAndDelete(ctx, u.key, old.Token)
	case found:
		it := Item{Value: v, TTL: old.TTL, Flags: old.Flags}
		if u.o.TTL > 0 {
			it.TTL = u.o.TTL
		}
		err = u.caps.CASer.CompareAndSwap(ctx, u.key, old.Token, it)
	default:
		err = u.caps.CASer.Add(ctx, u.key, Item{Value: v, TTL: u.o.TTL})
	}
	return u.outcome(v, err, old.Token)
}

// unsureNil is success without a write.
func (u *update) unsureNil() error {
	if u.doubt.IsZero() {
		return nil
	}
	return u.unsure(ErrMiss)
}

// read reads the key with its lifetime where that is to be kept.
func (u *update) read(ctx context.Context) (Item, error) {
	if u.o.TTL == 0 && u.caps.TTLer != nil {
		return u.caps.TTLer.GetTTL(ctx, u.key)
	}
	return u.store.Get(ctx, u.key)
}

// outcome turns what became of the write over the version tok (zero: of an Add) into a result.
//
// After a lost answer it is safe to try again only if no two of our writes can both be carried
// out. Two compare-and-swaps over one counted version cannot: the first one changes it for good.
// Two over one value can, since the value may come back; two Adds can, if the key is deleted in
// between.
func (u *update) outcome(v []byte, err error, tok Token) ([]byte, error) {
	switch {
	case err == nil:
		return v, nil
	case errors.Is(err, ErrHeldOff):
		return nil, u.unsure(err)
	case errors.Is(err, ErrConflict), errors.Is(err, ErrExists), errors.Is(err, ErrMiss):
		return nil, errAgain
	case !errors.Is(err, ErrUnknown):
		return nil, u.unsure(err)
	case u.o.Idempotent:
		u.lost = true
		return nil, errAgain
	}
	if _, counted := tok.ID(); !counted {
		return nil, err
	}
	u.doubt = tok
	return nil, errAgain
}
