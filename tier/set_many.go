package tier

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/hearthcache/hearth/backends"
)

// SetMany stores every entry of m as [Cache.Set] does, in one round trip per remote tier. An empty
// key or a value that cannot be encoded is refused before anything is stored. Any other error is a
// [*WriteError] whose Errs are in the order of the sorted keys; what is not in it, or only with
// [ErrUntold], was stored.
func (c *Cache[V]) SetMany(ctx context.Context, m map[string]V) error {
	keys := slices.Sorted(maps.Keys(m))
	ws := make([]write[V], len(keys))
	for i, k := range keys {
		if err := c.check("set", k); err != nil {
			return err
		}
		w, err := c.newWrite(ctx, k, m[k], SetOptions{})
		if err != nil {
			return err
		}
		ws[i] = w
	}
	switch {
	case len(ws) == 0:
		return nil
	case c.cfg.Writer != nil:
		return c.writeThrough(ctx, ws)
	}
	errs := make([]error, len(ws))
	if far := len(c.levels) - 1; far >= 0 {
		c.storeMany(ctx, far, keys, ws, errs)
	}
	for i, w := range ws {
		if errs[i] != nil {
			c.forgetL1(keys[i : i+1])
			continue
		}
		if len(c.levels) == 0 {
			c.replaceLocal(w)
			continue
		}
		c.replaceL1(w)
		if len(c.levels) > 1 {
			c.promote(w.key, len(c.levels)-1)
		}
	}
	if err := c.tellOthers(ctx, keys); err != nil {
		for i := range errs {
			errs[i] = errors.Join(errs[i], err)
		}
	}
	if len(failures(errs)) == 0 {
		return nil
	}
	return &WriteError{Errs: errs}
}

// storeMany writes ws to the authority and makes the nearer levels forget them.
func (c *Cache[V]) storeMany(ctx context.Context, far int, keys []string, ws []write[V], errs []error) {
	lv := c.levels[far]
	entries := make([]backends.KeyItem, len(ws))
	for i, w := range ws {
		entries[i] = backends.KeyItem{Key: w.key, Item: c.writeItem(lv, w)}
	}
	for i, err := range lv.setMany(ctx, entries) {
		if err != nil {
			errs[i] = lv.oweWrite(ctx, keys[i], err)
		}
	}
	for i := far - 1; i >= 0; i-- {
		if bad := c.levels[i].forget(ctx, keys, DeleteOptions{}); len(bad) > 0 {
			errs[0] = errors.Join(append(bad, errs[0])...)
		}
	}
}
