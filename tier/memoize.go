package tier

import "context"

// Memoize wraps fn so that its results are cached in cache under key(K): the plainest way to put
// a cache in front of a function. fn returns [ErrMiss] for "no such record"; its other errors
// are not cached. key must give different arguments different strings.
func Memoize[K, V any](cache *Cache[V], key func(K) string, fn func(ctx context.Context, k K) (V, error)) func(ctx context.Context, k K) (V, error) {
	return func(ctx context.Context, k K) (V, error) {
		s := key(k)
		if v, ok := cache.hit(s); ok { // no closure on the way to an L1 hit
			return v, nil
		}
		return cache.GetOrLoad(ctx, s, func(ctx context.Context, _ string) (V, error) { return fn(ctx, k) })
	}
}
