package memory

import (
	"context"

	"github.com/hearthcache/hearth/backends"
)

// GetMany implements [backends.Batcher].
func (s *Store) GetMany(ctx context.Context, keys []string) []backends.Result {
	rs := make([]backends.Result, len(keys))
	for i, key := range keys {
		rs[i].Item, rs[i].Err = s.Get(ctx, key)
	}
	return rs
}

// SetMany implements [backends.Batcher].
func (s *Store) SetMany(ctx context.Context, entries []backends.KeyItem) []error {
	return each(len(entries), func(i int) error { return s.Set(ctx, entries[i].Key, entries[i].Item) })
}

// DeleteMany implements [backends.Batcher].
func (s *Store) DeleteMany(ctx context.Context, keys []string) []error {
	return each(len(keys), func(i int) error { return s.Delete(ctx, keys[i]) })
}

// GetTTL implements [backends.TTLer]; Get knows the lifetime anyway.
func (s *Store) GetTTL(ctx context.Context, key string) (backends.Item, error) {
	return s.Get(ctx, key)
}

// GetTTLMany implements [backends.TTLer].
func (s *Store) GetTTLMany(ctx context.Context, keys []string) []backends.Result {
	return s.GetMany(ctx, keys)
}

// each calls f for 0 to n-1 and returns nil if all went well, else one error each.
func each(n int, f func(i int) error) []error {
	var errs []error
	for i := range n {
		if err := f(i); err != nil {
			if errs == nil {
				errs = make([]error, n)
			}
			errs[i] = err
		}
	}
	return errs
}
