package tier

import (
	"context"
	"errors"
)

// Memoize wraps fn so that its results are cached in cache under key(K): the plainest way to put
// a cache in front of a function. fn returns [ErrMiss] for "no such record"; its other errors
// are not cached. key must give different arguments different strings. With a nil cache, key or fn
// every call returns an error that says which it was.
func Memoize[K, V any](cache *Cache[V], key func(K) string, fn func(ctx context.Context, k K) (V, error)) func(ctx context.Context, k K) (V, error) {
	if err := memoizable(cache == nil, key == nil, fn == nil); err != nil {
		return func(context.Context, K) (v V, _ error) { return v, err }
	}
	return func(ctx context.Context, k K) (V, error) {
		s := key(k)
		if v, ok := cache.hit(s); ok { // no closure on the way to an L1 hit
			return v, nil
		}
		return cache.GetOrLoad(ctx, s, func(ctx context.Context, _ string) (V, error) { return fn(ctx, k) })
	}
}

// memoizable says what is missing.
func memoizable(noCache, noKey, noFn bool) error {
	switch {
	case noCache:
		return errors.New("cache: Memoize with a nil cache")
	case noKey:
		return errors.New("cache: Memoize with a nil key function")
	case noFn:
		return errors.New("cache: Memoize with a nil fn")
	}
	return nil
}
