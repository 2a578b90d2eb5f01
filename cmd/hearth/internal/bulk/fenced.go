package bulk

import (
	"context"
	"time"

	"github.com/hearthcache/hearth/backends/memcached"
)

// leaseTime is how long a lease of a fenced copy lasts: far longer than a batch takes.
const leaseTime = 10 * time.Second

// leasesGone is the time after which leases have ended on a server whose clock counts seconds, too.
func (c *copier) leasesGone() time.Duration { return c.hold + 2*time.Second }

// moveFenced copies open under leases: claim in the target, then read the source, then fill
// where the lease still is. A change that the service makes after the claim takes the lease away,
// and one that it made before was made in the source before.
func (c *copier) moveFenced(ctx context.Context, to session, open []*Record, read func([]*Record) error) error {
	var hashed []*Record
	for _, r := range open {
		r.Key = r.Listed
		if _, kind := kindOf(r.Listed, r.prefix); kind == memcached.Hashed {
			hashed = append(hashed, r) // its name is in its value
		}
	}
	if err := read(hashed); err != nil {
		return err
	}
	c.rename(open)
	if err := c.claim(ctx, to, open); err != nil {
		return err
	}
	held := pending(open)
	named := make([]Record, len(held)) // a record that is read again may have no name after it
	for i, r := range held {
		named[i] = *r
	}
	if err := read(held); err != nil {
		return err
	}
	for i, r := range held {
		r.Key, r.prefix, r.Hashed = named[i].Key, named[i].prefix, r.Hashed || named[i].Hashed
	}
	if c.unfenced != nil {
		c.unfenced()
	}
	if err := c.try(ctx, func() (bool, error) { return false, to.fill(ctx, pending(held)) }); err != nil {
		return err
	}
	var left []*Record
	for _, r := range held {
		if r.Fate != Copied && r.Fate != Changed {
			left = append(left, r)
		}
	}
	_ = to.release(ctx, left) // else they end by themselves
	return nil
}

// claim takes the leases. Where it is not known which of them were taken, it waits until all
// have ended.
func (c *copier) claim(ctx context.Context, to session, recs []*Record) error {
	again := false
	return c.try(ctx, func() (bool, error) {
		if again {
			if err := c.pause(ctx, c.leasesGone()); err != nil {
				return false, err
			}
		}
		again = true
		return false, to.claim(ctx, pending(recs), c.hold)
	})
}

// awaitLeases waits until the leases of an earlier run have ended: until then its keys look as if
// the target held something. A run that was stopped says when; one that was killed does not, since
// its last checkpoint may be as old as its last whole batch.
func (c *copier) awaitLeases(ctx context.Context) error {
	if c.Mode != Fenced || !c.resumed || c.DryRun {
		return nil
	}
	text := "waiting for the leases of the run before to end"
	c.trouble.Store(&text)
	wait := c.leasesGone()
	if !c.killed {
		wait = min(wait, time.Until(c.lastSaved.Add(wait)))
	}
	return c.pause(ctx, wait)
}

func (c *copier) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
