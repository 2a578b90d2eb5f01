package tier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/fence"
)

// DeleteOptions changes how one key is deleted. The zero value is [Cache.Delete].
type DeleteOptions struct {
	// HoldOff keeps the key from being filled for a while, so that a loader that reads a
	// replica which has not seen the delete yet cannot bring the record back: readers load and
	// nothing is stored. At least replication lag plus the longest load. 0 = none. It needs
	// remote stores that have tombstones, and no Writer that defers: [ErrUnsupported]. Where the
	// delete is queued, the time begins with its delivery.
	HoldOff time.Duration

	// Version of the record from which on fills are welcome again during HoldOff. 0 = none.
	Version uint64
}

// Delete removes the record: from the Writer's source of record if there is a Writer, then from
// every tier, the farthest first, then from this process's L1 and, through the Invalidator, from
// others'.
//
// After nil, no read that starts later in any process using these remote tiers gets an older
// value from a remote tier, and none in this process from L1 either. Absent is fine. An error
// that [errors.Is] [ErrQueued] names the tiers that could not be reached: the delete is kept and
// retried there. One that [errors.Is] [ErrUntold] says that the L1 of other processes are told
// later. Any other error comes from the Writer, and no cache has changed, unless it is
// [ErrUnknown].
func (c *Cache[V]) Delete(ctx context.Context, key string) error {
	return c.DeleteWith(ctx, key, DeleteOptions{})
}

// DeleteWith is [Cache.Delete] with options.
func (c *Cache[V]) DeleteWith(ctx context.Context, key string, o DeleteOptions) error {
	if err := c.check("delete", key); err != nil {
		return err
	}
	if err := c.checkHoldOff(key, o.HoldOff); err != nil {
		return err
	}
	if c.cfg.Writer != nil {
		err := c.cfg.Writer.Write(ctx, []Mutation[V]{{Key: key, Delete: true, Version: o.Version}})
		if err != nil && !errors.Is(err, ErrUnknown) {
			return err
		}
		if err != nil || c.pending != nil {
			return errors.Join(err, c.forget(ctx, []string{key}, o, err != nil))
		}
	}
	return c.forget(ctx, []string{key}, o, true)
}

// checkHoldOff refuses a hold-off that some remote tier could not keep.
func (c *Cache[V]) checkHoldOff(key string, hold time.Duration) error {
	if hold < 0 {
		return fmt.Errorf("cache: DeleteOptions.HoldOff: %w", ErrInvalidTTL)
	}
	if hold > 0 && c.pending != nil { // it reports keys when they are applied, and no more
		return fmt.Errorf("cache: DeleteOptions.HoldOff of %q with a Writer that defers: %w", key, ErrUnsupported)
	}
	for _, lv := range c.levels {
		if hold > 0 && lv.caps.Tombstoner == nil {
			return &backends.Error{Op: "delete with hold-off", Store: lv.name, Key: key, Err: ErrUnsupported}
		}
	}
	return nil
}

// Invalidate makes every tier forget key, without touching the source of record: call it after
// the source has committed a change (the other order serves stale values). It promises what
// [Cache.Delete] does. More than one key costs no more round trips than one.
func (c *Cache[V]) Invalidate(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := c.check("invalidate", key); err != nil {
			return err
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return c.forget(ctx, keys, DeleteOptions{}, true)
}

// forget invalidates keys from the source outwards: far to near, this L1, other L1s. The tier
// that is read first is changed last; any other order lets a reader copy the old value back.
// Without remote only this process forgets (the Writer will bring the rest when it has applied).
//
// When ctx ends on the way, the levels that were not reached are owed the rest.
func (c *Cache[V]) forget(ctx context.Context, keys []string, o DeleteOptions, remote bool) error {
	var errs []error
	if remote && fence.Removed(fence.Order) {
		for _, lv := range c.levels {
			errs = append(errs, lv.forget(ctx, keys, o)...)
		}
	} else if remote {
		for _, lv := range slices.Backward(c.levels) {
			errs = append(errs, lv.forget(ctx, keys, o)...)
		}
	}
	if len(c.levels) == 0 {
		c.forgetLocal(keys)
	} else {
		c.forgetL1(keys)
	}
	if remote {
		if err := c.tellOthers(ctx, keys); err != nil {
			errs = append(errs, err)
		}
	}
	c.observe(ctx, Event{Kind: EventInvalidate, Key: keys[0], Keys: len(keys), Err: errors.Join(errs...)})
	return errors.Join(errs...)
}

// forgetL1 drops keys from L1 and parts later readers from flights that began before.
func (c *Cache[V]) forgetL1(keys []string) {
	if c.l1 != nil {
		c.l1.InvalidateMany(keys)
	}
	c.failed.forget(keys)
	c.delayed.forget(keys)
	c.forgetFlights(keys)
}

// forgetFlights parts readers that start from now on from flights that began before.
func (c *Cache[V]) forgetFlights(keys []string) {
	if fence.Removed(fence.Flight) {
		return
	}
	for _, k := range keys {
		c.loads.Forget(k)
		c.lookups.Forget(k)
	}
}

// forget removes keys from the level, or puts them into its outbox.
func (l *level) forget(ctx context.Context, keys []string, o DeleteOptions) []error {
	var errs []error
	if len(keys) == 1 {
		errs = []error{l.forgetOne(ctx, keys[0], o)}
	} else {
		errs = l.deleteMany(ctx, keys)
	}
	var out []error
	var owed []string
	for i, err := range errs {
		if err != nil {
			owed = append(owed, keys[i])
			out = append(out, fmt.Errorf("%w: %w", ErrQueued, err))
		}
	}
	if len(owed) > 0 {
		l.owe(ctx, o, owed...)
	}
	return out
}

func (l *level) forgetOne(ctx context.Context, key string, o DeleteOptions) error {
	if o.HoldOff == 0 {
		return l.delete(ctx, key)
	}
	return l.deleteHold(ctx, key, o.HoldOff, o.Version)
}
