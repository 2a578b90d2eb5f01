package tier

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
)

// localLocks order the writes of a cache without remotes. They are held for moments only, never
// while a function of the user runs.
type localLocks struct {
	seed    maphash.Seed
	stripes [64]sync.Mutex
}

func (l *localLocks) of(key string) *sync.Mutex {
	return &l.stripes[maphash.String(l.seed, key)%uint64(len(l.stripes))]
}

// replaceLocal is replaceL1 of a cache without remotes: L1 is all there is, so the value has to
// get in. What touched the key's epoch since the write began was another key.
func (c *Cache[V]) replaceLocal(w write[V]) {
	mu := c.local.of(w.key)
	mu.Lock()
	defer mu.Unlock()
	c.putLocal(w)
}

// localTries is how often a value is offered to L1 while other keys touch the same epoch. Each
// loss takes another writer within a microsecond.
const localTries = 100

// putLocal is called with the key's lock held.
func (c *Cache[V]) putLocal(w write[V]) {
	c.forgetFlights([]string{w.key})
	c.failed.forget([]string{w.key})
	soft, hard := c.deadlines(w.e)
	if hard < 0 || !c.fillable() {
		c.l1.Invalidate(w.key)
		return
	}
	k, cost := w.e.kept(), c.cost(w.e, 0)
	for range localTries {
		if c.l1.Replace(w.key, c.l1.Stamp(w.key), &k, cost, soft, hard) {
			return
		}
	}
}

// updateLocal is Update of a cache without remotes: the entry in L1 is compared.
func (c *Cache[V]) updateLocal(ctx context.Context, key string, fn func(old V, ok bool) (V, error), o UpdateOptions) (V, error) {
	var zero V
	for n := 1; ; n++ {
		v, err := c.attemptLocal(ctx, key, fn, o)
		switch {
		case !errors.Is(err, errAgain):
			return v, err
		case n >= o.Attempts:
			return zero, &ConflictError{Key: key, Attempts: n}
		}
		if err := pause(ctx, n); err != nil {
			return zero, err
		}
	}
}

func (c *Cache[V]) attemptLocal(ctx context.Context, key string, fn func(old V, ok bool) (V, error), o UpdateOptions) (V, error) {
	var zero V
	stamp := c.stamp(key)
	var old *entry[V]
	k, _ := c.l1.Get(key)
	if k == nil && c.load != nil {
		got, err := c.getSlow(ctx, key, c.load)
		if err != nil && !errors.Is(err, ErrMiss) {
			return zero, err
		}
		k, _ = c.l1.Get(key)
		old = got // for when it was loaded, and L1 does not keep it
	}
	if k != nil {
		old = k.entry()
	}
	unchanged := func() bool {
		now, _ := c.l1.Get(key)
		return now == k && ((k == nil) == (old == nil) || c.stamp(key) == stamp)
	}
	if old != nil && old.absent {
		old = nil
	}
	var was V
	if old != nil {
		was = c.out(old.value)
	}
	v, err := fn(was, old != nil)
	if err != nil && !errors.Is(err, ErrDelete) {
		return zero, err
	}
	if !c.swapLocal(key, unchanged, func() {
		if err != nil {
			c.forgetL1([]string{key})
			return
		}
		c.putLocal(write[V]{key: key, e: c.updated(v, old, made{}, o)})
	}) {
		return zero, errAgain
	}
	if terr := c.tellOthers(ctx, []string{key}); terr != nil {
		return v, errors.Join(ErrApplied, terr)
	}
	if err != nil {
		return zero, nil
	}
	return c.out(v), nil
}

// swapLocal changes key if it is unchanged, and reports whether it was.
func (c *Cache[V]) swapLocal(key string, unchanged func() bool, change func()) bool {
	mu := c.local.of(key)
	mu.Lock()
	defer mu.Unlock()
	if !unchanged() {
		return false
	}
	change()
	return true
}

// forgetLocal makes L1 forget keys, in order with the writes of a cache without remotes.
func (c *Cache[V]) forgetLocal(keys []string) {
	for _, k := range keys {
		mu := c.local.of(k)
		mu.Lock()
		c.forgetL1([]string{k})
		mu.Unlock()
	}
}
