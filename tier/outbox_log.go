package tier

import (
	"context"
	"fmt"

	"github.com/hearthcache/hearth/internal/fence"
)

// OutboxLog keeps what the tiers owe across a restart of the process, so that a crash does not
// lose an invalidation that could not be delivered. Package boltoutbox is one in a file.
//
// tier is the namespace and the name of the remote tier. Calls come only when a tier fails and
// when it has recovered. Safe for concurrent use.
type OutboxLog interface {
	// Owe notes that tier owes an invalidation of keys; durable when it returns nil.
	Owe(tier string, keys []string) error
	// Settle notes that tier has forgotten keys.
	Settle(tier string, keys []string) error
	// Owed returns what tier owes.
	Owed(tier string) ([]string, error)
}

// restoreOutboxes reads what was owed when the process ended.
func (c *Cache[V]) restoreOutboxes() error {
	if c.cfg.Outbox == nil {
		return nil
	}
	for _, lv := range c.levels {
		lv.owed.log, lv.owed.name = c.cfg.Outbox, c.cfg.Namespace+"/"+lv.name
		keys, err := c.cfg.Outbox.Owed(lv.owed.name)
		if err != nil {
			return fmt.Errorf("tier: Config.Outbox: %w", err)
		}
		for _, k := range keys {
			lv.owed.restore(k)
		}
	}
	return nil
}

// owe puts keys into the level's outbox, and into the log if there is one. The nearer levels owe
// them too, whatever became of their own invalidation: until this level's is delivered, another
// process may copy the old value from here to there.
func (l *level) owe(ctx context.Context, keys ...string) {
	if l.nearer != nil && !fence.Removed(fence.Outbox) {
		l.nearer.owe(ctx, keys...)
	}
	for _, k := range keys {
		l.owed.add(k)
		l.count(levelQueued)
	}
	if l.owed.log == nil {
		return
	}
	if err := l.owed.log.Owe(l.owed.name, keys); err != nil {
		l.report(ctx, Event{Kind: EventOutboxLog, Tier: l.name, Key: keys[0], Keys: len(keys), Err: err})
	}
}
