package tier

import (
	"context"
	"errors"
	"fmt"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/fence"
)

// recognise finds the write of this call whose mark s carries.
func (u *update[V]) recognise(s seen[V]) (w write[V], ok bool) {
	if s.there {
		w, ok = u.sent[u.c.opOf(u.key, s.item)]
	}
	return w, ok
}

// outcome turns what became of a write over the version at (zero: to an absent key) into a result.
//
// When the answer was lost, the write may have been carried out, or may yet be. It is looked for
// by its mark. Should the key still hold the version at, trying again is safe: both writes depend
// on that version, which never comes back, so at most one of them is carried out, and if it is
// the first one after all, its mark tells. An absent key can come back: there a second write may
// only follow if fn is idempotent.
func (u *update[V]) outcome(ctx context.Context, w write[V], at backends.Token, err error) (V, error) {
	var zero V
	switch {
	case err == nil:
		return u.applied(ctx, w)
	case errors.Is(err, ErrUnknown) && fence.Removed(fence.Mark):
		return zero, errAgain
	case errors.Is(err, ErrUnknown):
		if u.sent == nil {
			u.sent = map[uint64]write[V]{}
		}
		if w.op != 0 {
			u.sent[w.op] = w
		}
		u.doubt, u.at = true, at
		if ctx.Err() != nil {
			return zero, u.unsure(ctx, err)
		}
		return zero, errAgain
	case errors.Is(err, backends.ErrHeldOff):
		return zero, u.unsure(ctx, u.lv.wrapAny("update", u.key, err))
	case errors.Is(err, backends.ErrConflict), errors.Is(err, backends.ErrExists),
		errors.Is(err, backends.ErrLeaseLost), errors.Is(err, ErrMiss):
		return zero, errAgain
	}
	return zero, u.unsure(ctx, err)
}

// unsure is err, or, while a write may have been carried out or may yet arrive, that nobody knows.
// Then no tier but the authority may go on with what it holds. A nil error is fn's: there is
// nothing to do, which an idempotent write that was lost does not change.
func (u *update[V]) unsure(ctx context.Context, err error) error {
	if !u.doubt && (!u.lost || err == nil) || errors.Is(err, errAgain) {
		return err
	}
	told := u.c.doubt(ctx, u.key)
	if err == nil {
		err = errors.New("nothing was left to do")
	}
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrMiss) { // would say that nothing was written
		err = errors.New(err.Error())
	}
	return errors.Join(u.lv.wrap("update", u.key, fmt.Errorf("%w: %w", ErrUnknown, err)), told)
}

// applied ends an update whose write the authority has taken: the other tiers follow.
func (u *update[V]) applied(ctx context.Context, w write[V]) (V, error) {
	var v V
	if w.e != nil {
		v = u.c.out(w.e.value)
	}
	if err := u.c.spread(ctx, w); err != nil {
		return v, fmt.Errorf("%w: %w", ErrApplied, err)
	}
	return v, nil
}

// doubt makes every tier but the authority forget key, since nobody knows what the authority holds.
// When ctx has ended that goes on behind the caller's back.
func (c *Cache[V]) doubt(ctx context.Context, key string) error {
	if ctx.Err() == nil {
		return c.spread(ctx, write[V]{key: key})
	}
	c.forgetL1([]string{key})
	if c.background(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, c.flightTime(nil))
		defer cancel()
		_ = c.spread(ctx, write[V]{key: key}) // what fails is owed, and observed as such
	}) {
		return nil
	}
	return c.spread(ctx, write[V]{key: key})
}

// spread lets the nearer levels, L1 and other processes know what the authority holds: w, or, if
// w has no entry, nothing that they could keep.
func (c *Cache[V]) spread(ctx context.Context, w write[V]) error {
	far := len(c.levels) - 1
	var errs []error
	for i := far - 1; i >= 0; i-- {
		errs = append(errs, c.levels[i].forget(ctx, []string{w.key}, DeleteOptions{})...)
	}
	switch {
	case w.e == nil || len(errs) > 0:
		c.forgetL1([]string{w.key})
	default:
		c.replaceL1(w)
		if far > 0 {
			c.promote(w.key, far)
		}
	}
	if err := c.tellOthers(ctx, []string{w.key}); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// definite takes "unknown" off an error of a call that changes nothing: it has failed, no more.
func definite(ctx context.Context, err error) error {
	switch {
	case !errors.Is(err, ErrUnknown):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("%w: %v", ErrUnavailable, err)
}
