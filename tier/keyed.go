package tier

import (
	"context"
	"errors"
)

// Keyed is a view of a [Cache] for keys that are not strings: a user id, a struct. It holds
// nothing of its own. Safe for concurrent use.
type Keyed[K comparable, V any] struct {
	cache *Cache[V]
	key   func(K) string
}

// NewKeyed returns a view of cache in which K becomes key(K). key must give different keys
// different strings, and none the empty one. With a nil cache or key every call of the view returns
// an error that says which it was.
func NewKeyed[K comparable, V any](cache *Cache[V], key func(K) string) Keyed[K, V] {
	return Keyed[K, V]{cache: cache, key: key}
}

// check says what the view lacks.
func (k Keyed[K, V]) check() error {
	switch {
	case k.cache == nil:
		return errors.New("cache: NewKeyed with a nil cache")
	case k.key == nil:
		return errors.New("cache: NewKeyed with a nil key function")
	}
	return nil
}

// Get is [Cache.Get].
func (k Keyed[K, V]) Get(ctx context.Context, key K) (V, error) {
	if err := k.check(); err != nil {
		var zero V
		return zero, err
	}
	return k.cache.Get(ctx, k.key(key))
}

// GetOrLoad is [Cache.GetOrLoad].
func (k Keyed[K, V]) GetOrLoad(ctx context.Context, key K, load func(ctx context.Context, key K) (V, error)) (V, error) {
	if err := k.check(); err != nil {
		var zero V
		return zero, err
	}
	if load == nil {
		var zero V
		return zero, errNilLoad
	}
	return k.cache.GetOrLoad(ctx, k.key(key), func(ctx context.Context, _ string) (V, error) { return load(ctx, key) })
}

// GetMany is [Cache.GetMany]. The errors of a [*ManyError] are by string key.
func (k Keyed[K, V]) GetMany(ctx context.Context, keys []K) (map[K]V, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	strs := make([]string, len(keys))
	for i, key := range keys {
		strs[i] = k.key(key)
	}
	m, err := k.cache.GetMany(ctx, strs)
	out := make(map[K]V, len(m))
	for i, key := range keys {
		if v, ok := m[strs[i]]; ok {
			out[key] = v
		}
	}
	return out, err
}

// Lookup is [Cache.Lookup].
func (k Keyed[K, V]) Lookup(ctx context.Context, key K) (Entry[V], error) {
	if err := k.check(); err != nil {
		return Entry[V]{}, err
	}
	return k.cache.Lookup(ctx, k.key(key))
}

// Set is [Cache.Set].
func (k Keyed[K, V]) Set(ctx context.Context, key K, v V) error {
	if err := k.check(); err != nil {
		return err
	}
	return k.cache.Set(ctx, k.key(key), v)
}

// Update is [Cache.Update].
func (k Keyed[K, V]) Update(ctx context.Context, key K, fn func(old V, ok bool) (V, error)) (V, error) {
	if err := k.check(); err != nil {
		var zero V
		return zero, err
	}
	return k.cache.Update(ctx, k.key(key), fn)
}

// Increment is [Cache.Increment].
func (k Keyed[K, V]) Increment(ctx context.Context, key K, delta int64, o IncrementOptions) (int64, error) {
	if err := k.check(); err != nil {
		return 0, err
	}
	return k.cache.Increment(ctx, k.key(key), delta, o)
}

// Delete is [Cache.Delete].
func (k Keyed[K, V]) Delete(ctx context.Context, key K) error {
	if err := k.check(); err != nil {
		return err
	}
	return k.cache.Delete(ctx, k.key(key))
}

// Invalidate is [Cache.Invalidate] of one key.
func (k Keyed[K, V]) Invalidate(ctx context.Context, key K) error {
	if err := k.check(); err != nil {
		return err
	}
	return k.cache.Invalidate(ctx, k.key(key))
}
