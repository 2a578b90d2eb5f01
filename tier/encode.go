package tier

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/codec"
)

// This file is the boundary between typed values and bytes: the only one that calls the framer.

// lifetime is how long a value lives and counts as fresh.
type lifetime struct {
	ttl, fresh time.Duration
}

// lifetimeOf takes the configured lifetimes, a loader's wishes, and the jitter off them.
func (c *Cache[V]) lifetimeOf(absent bool, ttl, fresh time.Duration) lifetime {
	l := lifetime{ttl: c.cfg.TTL, fresh: c.cfg.Fresh}
	if absent {
		l = lifetime{ttl: c.cfg.NegativeTTL, fresh: c.cfg.NegativeTTL}
	}
	if ttl > 0 {
		l.ttl = min(ttl, maxTTL)
		l.fresh = min(l.fresh, l.ttl)
		if c.cfg.Fresh == c.cfg.TTL { // no stale window configured: none for this one either
			l.fresh = l.ttl
		}
	}
	if fresh > 0 {
		l.fresh = min(fresh, l.ttl)
	}
	if c.cfg.Jitter > 0 {
		keep := 1 - c.cfg.Jitter*rand.Float64()
		l.ttl = max(time.Duration(float64(l.ttl)*keep), time.Millisecond)
		l.fresh = max(time.Duration(float64(l.fresh)*keep), time.Millisecond)
	}
	return l
}

// newEntry makes the entry of a value that was just loaded or written.
func (c *Cache[V]) newEntry(v V, absent bool, l lifetime, version uint64, load time.Duration, source int) *entry[V] {
	now := c.clock.Wall()
	e := &entry[V]{value: v, absent: absent, created: now, expires: now + ceilMs(l.ttl), load: load, version: version, source: source}
	if l.fresh < l.ttl {
		e.fresh = now + ceilMs(l.fresh)
	}
	return e
}

// encode writes e as a frame. op identifies the write; 0 where nobody will ask.
func (c *Cache[V]) encode(key string, e *entry[V], op uint64) ([]byte, error) {
	h := codec.Header{
		Version:    e.version,
		Created:    e.created,
		FreshUntil: e.fresh,
		Expires:    e.expires,
		Load:       e.load,
		Op:         op,
		Generation: e.generation,
		Tags:       e.tags,
	}
	if e.absent {
		h.Negative = true
		return c.framer.AppendNegative(nil, key, h)
	}
	return c.framer.Append(nil, key, h, e.value)
}

// decode reads the frame that level i returned. A frame that is past its own lifetime, or was
// cleared, is a miss, whatever the server thinks: ErrMiss. Anything unreadable is one of codec's
// errors; any other error is that the barriers could not be asked. now is when it was returned, in
// Unix ms; into, which is zero, is where the entry is made; nil = an allocation of its own.
func (c *Cache[V]) decode(ctx context.Context, key string, it backends.Item, i int, now int64, into *entry[V]) (*entry[V], error) {
	e := into
	if e == nil {
		e = new(entry[V])
	}
	h, err := c.framer.DecodeInto(key, it.Value, &e.value)
	if errors.Is(err, codec.ErrForeign) {
		if e := c.counter(it, i); e != nil {
			return e, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if err := c.behind(ctx, h); err != nil {
		return nil, err
	}
	e.absent, e.created, e.fresh, e.expires, e.load = h.Negative, h.Created, h.FreshUntil, h.Expires, h.Load
	e.version, e.generation, e.tags, e.source = h.Version, h.Generation, h.Tags, i
	if skew := h.Created - now; skew > maxSkew {
		// Made in the future: a clock is off. The value lives as long from first sight as it
		// was meant to from its making, and no longer.
		e.created, e.fresh, e.expires = now, shift(h.FreshUntil, -skew), shift(e.expires, -skew)
	}
	if it.TTL > 0 { // the server's word, where it gave one, is free of clock skew
		e.expires = now + ceilMs(it.TTL)
	}
	if e.goneAt(now) {
		return nil, ErrMiss
	}
	return e, nil
}

// opOf returns the mark of the write that put it under key; 0 if it carries none.
func (c *Cache[V]) opOf(key string, it backends.Item) uint64 {
	h, _, err := c.framer.Decode(key, it.Value)
	if err != nil {
		return 0
	}
	return h.Op
}

// maxSkew, in ms, is the difference between two machines' clocks that is taken as no news.
const maxSkew = 5000

// shift moves a time that is set.
func shift(t, by int64) int64 {
	if t == 0 {
		return 0
	}
	return max(t+by, 1)
}

// item is the frame of e as level lv is to store it: with what remains of its lifetime, within
// the level's own cap. ok is false when nothing remains.
func (c *Cache[V]) item(lv *level, frame []byte, e *entry[V]) (it backends.Item, ok bool) {
	now := c.clock.Wall()
	if e.goneAt(now) {
		return it, false
	}
	ttl := e.left(now)
	if lv.ttl > 0 && (ttl == 0 || ttl > lv.ttl) {
		ttl = lv.ttl
	}
	return backends.Item{Value: frame, TTL: ttl}, true
}
