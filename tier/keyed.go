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

// GetOrLoadMany is [Cache.GetOrLoadMany].
func (k Keyed[K, V]) GetOrLoadMany(ctx context.Context, keys []K, load func(ctx context.Context, keys []K) (map[K]V, error)) (map[K]V, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	if load == nil {
		return nil, errNilLoad
	}
	strs, back := make([]string, len(keys)), make(map[string]K, len(keys))
	for i, key := range keys {
		strs[i] = k.key(key)
		back[strs[i]] = key
	}
	m, err := k.cache.GetOrLoadMany(ctx, strs, func(ctx context.Context, missing []string) (map[string]V, error) {
		asked := make([]K, len(missing))
		for i, s := range missing {
			asked[i] = back[s]
		}
		loaded, err := load(ctx, asked)
		return k.named(loaded), err
	})
	out := make(map[K]V, len(m))
	for s, key := range back {
		if v, ok := m[s]; ok {
			out[key] = v
		}
	}
	return out, err
}

// named is m by the names of its keys.
func (k Keyed[K, V]) named(m map[K]V) map[string]V {
	out := make(map[string]V, len(m))
	for key, v := range m {
		out[k.key(key)] = v
	}
	return out
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

// SetMany is [Cache.SetMany]. The errors of a [*WriteError] are in the order of the string keys.
func (k Keyed[K, V]) SetMany(ctx context.Context, m map[K]V) error {
	if err := k.check(); err != nil {
		return err
	}
	return k.cache.SetMany(ctx, k.named(m))
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
