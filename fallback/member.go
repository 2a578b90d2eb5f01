package fallback

import (
	"context"
	"errors"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/guard"
	"github.com/hearthcache/hearth/internal/wire"
)

// member is one of the two stores with everything that stands between it and a call: its
// guard, its names for keys, and what it is still owed.
type member struct {
	name   string
	store  backends.Store
	caps   backends.Caps
	guard  *guard.Guard
	index  int                     // of its tokens
	tokens bool                    // its tokens are handed out
	flags  bool                    // its flags are handed out
	key    func(key string) string // nil = the same
	legacy func(key string, it backends.Item) (backends.Item, error)
	owed   outbox
}

func (m *member) keyOf(key string) string {
	if m.key == nil {
		return key
	}
	return m.key(key)
}

func (m *member) keysOf(keys []string) []string {
	if m.key == nil {
		return keys
	}
	own := make([]string, len(keys))
	for i, k := range keys {
		own[i] = m.key(k)
	}
	return own
}

// call passes the member's guard.
func call[T any](ctx context.Context, m *member, fn func(ctx context.Context) (T, error)) (T, error) {
	return guard.Call(ctx, m.guard, m.caps.Prompt, fn)
}

// do is call for an operation on one key that returns nothing but an error.
func (m *member) do(ctx context.Context, op, key string, fn func(ctx context.Context, key string) error) error {
	own := m.keyOf(key)
	return m.wrap(op, key, m.guard.Do(ctx, m.caps.Prompt, func(ctx context.Context) error { return fn(ctx, own) }))
}

// wrap names the member in a failure. Answers and refusals are those of the whole.
func (m *member) wrap(op, key string, err error) error {
	if backends.IsAnswer(err) || backends.IsRefusal(err) {
		return err
	}
	return &backends.Error{Op: op, Store: m.name, Key: key, Err: err}
}

// get reads key; ttl asks for the remaining lifetime where the member can tell it.
func (m *member) get(ctx context.Context, key string, ttl bool) (backends.Item, error) {
	it, err := m.raw(ctx, key, ttl)
	if err != nil {
		return backends.Item{}, err
	}
	return m.read(key, it)
}

// raw is get, but of the item as the member has it.
func (m *member) raw(ctx context.Context, key string, ttl bool) (backends.Item, error) {
	own := m.keyOf(key)
	it, err := call(ctx, m, func(ctx context.Context) (backends.Item, error) {
		if ttl && m.caps.TTLer != nil {
			return m.caps.TTLer.GetTTL(ctx, own)
		}
		return m.store.Get(ctx, own)
	})
	return it, m.wrap("get", key, err)
}

// read makes of an item of the member one of the whole.
func (m *member) read(key string, it backends.Item) (backends.Item, error) {
	tok := it.Token
	if m.legacy != nil && wire.KindOf(it.Value) == wire.Foreign {
		var err error
		if it, err = m.legacy(key, it); err != nil {
			return backends.Item{}, backends.ErrMiss
		}
	}
	it.Token = backends.Token{}
	if !m.flags { // half-kept flags are worse than none
		it.Flags = 0
	}
	if m.tokens && !tok.IsZero() {
		it.Token = tok.At(m.index)
	}
	return it, nil
}

// getMany is get for many keys.
func (m *member) getMany(ctx context.Context, keys []string, ttl bool) []backends.Result {
	rs := m.rawMany(ctx, keys, ttl)
	for i, r := range rs {
		if r.Err == nil {
			rs[i].Item, rs[i].Err = m.read(keys[i], r.Item)
		}
	}
	return rs
}

// rawMany is raw for many keys.
func (m *member) rawMany(ctx context.Context, keys []string, ttl bool) []backends.Result {
	own := m.keysOf(keys)
	rs, err := call(ctx, m, func(ctx context.Context) ([]backends.Result, error) {
		var rs []backends.Result
		if ttl {
			rs = backends.GetTTLMany(ctx, m.store, own)
		} else {
			rs = backends.GetMany(ctx, m.store, own)
		}
		return rs, firstFailure(len(rs), func(i int) error { return rs[i].Err })
	})
	if len(rs) != len(keys) {
		rs = make([]backends.Result, len(keys))
		for i := range rs {
			rs[i].Err = err
		}
	}
	for i, r := range rs {
		if r.Err != nil {
			rs[i] = backends.Result{Err: m.wrap("get", keys[i], r.Err)}
		}
	}
	return rs
}

// firstFailure returns the first of n errors that is no answer, for the breaker to see.
func firstFailure(n int, at func(int) error) error {
	for i := range n {
		if err := at(i); !backends.IsAnswer(err) {
			return err
		}
	}
	return nil
}

func (m *member) set(ctx context.Context, key string, it backends.Item) error {
	return m.do(ctx, "set", key, func(ctx context.Context, k string) error { return m.store.Set(ctx, k, it) })
}

func (m *member) delete(ctx context.Context, key string) error {
	return m.do(ctx, "delete", key, func(ctx context.Context, k string) error { return m.store.Delete(ctx, k) })
}

// many makes one batch call; the result has one error per entry, or is nil.
func (m *member) many(ctx context.Context, op string, keys []string, fn func(ctx context.Context, own []string) []error) []error {
	own := m.keysOf(keys)
	errs, err := call(ctx, m, func(ctx context.Context) ([]error, error) {
		errs := fn(ctx, own)
		return errs, firstFailure(len(errs), func(i int) error { return errs[i] })
	})
	if errs == nil && err != nil {
		errs = make([]error, len(keys))
		for i := range errs {
			errs[i] = err
		}
	}
	for i, err := range errs {
		errs[i] = m.wrap(op, keys[i], err)
	}
	return errs
}

func (m *member) setMany(ctx context.Context, entries []backends.KeyItem) []error {
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.Key
	}
	return m.many(ctx, "set", keys, func(ctx context.Context, own []string) []error {
		es := make([]backends.KeyItem, len(entries))
		for i, e := range entries {
			es[i] = backends.KeyItem{Key: own[i], Item: e.Item}
		}
		return backends.SetMany(ctx, m.store, es)
	})
}

func (m *member) deleteMany(ctx context.Context, keys []string) []error {
	return m.many(ctx, "delete", keys, func(ctx context.Context, own []string) []error {
		return backends.DeleteMany(ctx, m.store, own)
	})
}

// acquire takes a lease of the member.
func (m *member) acquire(ctx context.Context, key string, hold time.Duration) (backends.Lease, backends.Item, error) {
	type grant struct {
		lease backends.Lease
		item  backends.Item
	}
	own := m.keyOf(key)
	g, err := call(ctx, m, func(ctx context.Context) (g grant, err error) {
		g.lease, g.item, err = m.caps.Leaser.Acquire(ctx, own, hold)
		return g, err
	})
	if err != nil {
		return nil, backends.Item{}, m.wrap("acquire", key, err)
	}
	if g.lease != nil {
		return g.lease, backends.Item{}, nil
	}
	it, err := m.read(key, g.item)
	return nil, it, err
}

func (m *member) fill(ctx context.Context, key string, l backends.Lease, it backends.Item) error {
	return m.do(ctx, "fill", key, func(ctx context.Context, _ string) error { return l.Fill(ctx, it) })
}

func (m *member) release(ctx context.Context, key string, l backends.Lease) error {
	return m.do(ctx, "release", key, func(ctx context.Context, _ string) error { return l.Release(ctx) })
}

// version takes the mark of the member off a token of the whole; ok tells whether it was its.
func (m *member) version(tok backends.Token) (inner backends.Token, ok bool) {
	i, inner, ok := tok.Member()
	return inner, ok && i == m.index
}

// absent reports whether err says that there is no value to read: an answer.
func absent(err error) bool { return errors.Is(err, backends.ErrMiss) }
