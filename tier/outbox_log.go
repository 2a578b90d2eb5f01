package tier

import (
	"context"
	"fmt"
	"time"

	"github.com/hearthcache/hearth/internal/fence"
)

// Owed is an invalidation of one key that a tier owes.
type Owed struct {
	Key     string
	HoldOff time.Duration // DeleteOptions.HoldOff, from the delivery on; 0 = none
	Version uint64        // DeleteOptions.Version
}

// OutboxLog keeps what the tiers owe across a restart of the process, so that a crash does not
// lose an invalidation that could not be delivered. Package boltoutbox is one in a file.
//
// tier is the namespace and the name of the remote tier. Calls come only when a tier fails and
// when it has recovered, for one tier one at a time, for different tiers side by side.
type OutboxLog interface {
	// Owe notes that tier owes invalidations, each in place of what was noted for its key
	// before; durable when it returns nil.
	Owe(tier string, owed []Owed) error
	// Settle notes that tier has forgotten keys. Keys that are not noted are fine.
	Settle(tier string, keys []string) error
	// Owed returns what tier owes, in any order.
	Owed(tier string) ([]Owed, error)
}

// restoreOutboxes reads what was owed when the process ended.
func (c *Cache[V]) restoreOutboxes() error {
	if c.cfg.Outbox == nil {
		return nil
	}
	for _, lv := range c.levels {
		lv.owed.log, lv.owed.name = c.cfg.Outbox, c.cfg.Namespace+"/"+lv.name
		owed, err := c.cfg.Outbox.Owed(lv.owed.name)
		if err != nil {
			return fmt.Errorf("tier: Config.Outbox: %w", err)
		}
		for _, w := range owed {
			lv.owed.restore(w)
		}
	}
	return nil
}

// owe puts the invalidation of keys into the level's outbox, and into the log if there is one.
// The nearer levels owe them too, whatever became of their own invalidation: until this level's
// is delivered, another process may copy the old value from here to there.
func (l *level) owe(ctx context.Context, o DeleteOptions, keys ...string) {
	if l.nearer != nil && !fence.Removed(fence.Outbox) {
		l.nearer.owe(ctx, o, keys...)
	}
	added := make([]order, len(keys))
	for i, k := range keys {
		added[i] = l.owed.add(Owed{Key: k, HoldOff: o.HoldOff, Version: o.Version})
		l.count(levelQueued)
	}
	if l.owed.log == nil {
		return
	}
	l.owed.logging.Lock()
	var err error
	if owed := l.owed.still(added); len(owed) > 0 {
		err = l.owed.log.Owe(l.owed.name, owed)
	}
	l.owed.logging.Unlock()
	l.logFailed(ctx, keys, err)
}

// still returns what is owed by now for the keys of orders: others may have been at the log
// first, with a newer order or with its delivery. What found no room is owed until the namespace
// is cleared.
func (o *outbox) still(orders []order) (owed []Owed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, w := range orders {
		if now, ok := o.owed[w.Key]; ok {
			owed = append(owed, now.Owed)
		} else if w.seq == 0 {
			owed = append(owed, w.Owed)
		}
	}
	return owed
}

// logSettled takes keys out of the log that were delivered and have not failed again since.
func (l *level) logSettled(keys []string) {
	if l.owed.log == nil || len(keys) == 0 {
		return
	}
	l.owed.logging.Lock()
	var err error
	if keys = l.owed.settled(keys); len(keys) > 0 {
		err = l.owed.log.Settle(l.owed.name, keys)
	}
	l.owed.logging.Unlock()
	l.logFailed(context.Background(), keys, err)
}

// settled returns those of keys that are not owed.
func (o *outbox) settled(keys []string) (out []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, k := range keys {
		if _, ok := o.owed[k]; !ok {
			out = append(out, k)
		}
	}
	return out
}

func (l *level) logFailed(ctx context.Context, keys []string, err error) {
	if err != nil {
		l.report(ctx, Event{Kind: EventOutboxLog, Tier: l.name, Key: keys[0], Keys: len(keys), Err: err})
	}
}
