package tier

import (
	"context"
	"time"

	"github.com/hearthcache/hearth/backends/ristretto"
)

// Entry is a value with what the cache knows about it.
type Entry[V any] struct {
	Value   V             // shared with the cache, unless Config.Clone is set
	Source  string        // "L1", "pending", or the name of the remote tier
	Age     time.Duration // since it was loaded or written, by this machine's clock
	TTL     time.Duration // what remains; 0 = no limit
	Stale   bool          // past its fresh time
	Version uint64        // of the record; 0 = none
}

// Lookup returns what the tiers have under key, with where it was found and how old it is. It
// never loads and starts no refresh. Absent, also when the record is known not to exist:
// [ErrMiss]. A tier that fails is passed over if another one has the value, else its error comes
// back.
func (c *Cache[V]) Lookup(ctx context.Context, key string) (Entry[V], error) {
	if err := c.check("lookup", key); err != nil {
		return Entry[V]{}, err
	}
	source := "L1"
	e := new(entry[V])
	if k, s := c.fromL1(key); s != ristretto.Miss {
		k.into(e)
	} else {
		if e = c.fromPending(key); e != nil {
			source = "pending"
		} else {
			var err error
			if e, err = c.fly(ctx, key, nil, nil); err != nil {
				return Entry[V]{}, err
			}
			source = c.sourceName(e.source)
		}
	}
	if e.absent {
		return Entry[V]{}, ErrMiss
	}
	now := c.clock.Wall()
	return Entry[V]{
		Value:   c.out(e.value),
		Source:  source,
		Age:     time.Duration(max(now-e.created, 0)) * time.Millisecond,
		TTL:     e.left(now),
		Stale:   e.staleAt(now),
		Version: e.version,
	}, nil
}

// sourceName says where an entry came from.
func (c *Cache[V]) sourceName(source int) string {
	switch {
	case source >= 0:
		return c.levels[source].name
	case source == fromWriter:
		return "pending"
	}
	return "loader"
}
