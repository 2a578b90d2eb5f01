package tier

import (
	"context"
	"time"
)

// Loader reads one record from the source of record.
//
// [ErrMiss] says that the source has no such record; any other error that it could not tell.
// ctx is detached from the callers and ends with Load.Timeout, or when nobody waits any more. A
// panic becomes a [*PanicError] for everyone who waits. The value is shared: the loader must not
// keep modifying it. Safe for concurrent use.
type Loader[V any] interface {
	// Load returns the record of key; ErrMiss if there is none, any other error if that could not
	// be told. key is never empty.
	Load(ctx context.Context, key string) (V, error)
}

// LoaderFunc makes a Loader of a function.
type LoaderFunc[V any] func(ctx context.Context, key string) (V, error)

// Load calls f.
func (f LoaderFunc[V]) Load(ctx context.Context, key string) (V, error) { return f(ctx, key) }

// ManyLoader is a [Loader] that reads many records in one call. Records that do not exist are
// left out of the map; an error means that none of them could be told.
type ManyLoader[V any] interface {
	// LoadMany returns those of the records of keys that exist, by key; none is an empty map. An
	// error concerns all of keys, and the map beside it is not looked at. keys has at least one
	// key, each once, and must not be modified. Bounds and panics are as with Load.
	LoadMany(ctx context.Context, keys []string) (map[string]V, error)
}

// EntryLoader is a [Loader] that sees what is about to be replaced and decides lifetimes per
// record. Where a Loader implements it, LoadEntry is called instead of Load.
type EntryLoader[V any] interface {
	// LoadEntry returns the record of key, or that old is still right; ErrMiss if there is none,
	// any other error if that could not be told. old is empty where nothing is replaced.
	LoadEntry(ctx context.Context, key string, old Old[V]) (Loaded[V], error)
}

// Old is the value a refresh is about to replace.
type Old[V any] struct {
	Value   V             // zero unless OK
	OK      bool          // there is one
	Age     time.Duration // since it was loaded or written
	Version uint64        // of the record; 0 = none
}

// Loaded is what an [EntryLoader] found.
type Loaded[V any] struct {
	// Value is the record. It is shared with the cache: do not modify it afterwards.
	Value V

	// NotModified: Old.Value is still right; it gets a new lifetime. Value is ignored.
	NotModified bool

	// NoStore: hand the value to the callers and cache nothing.
	NoStore bool

	// TTL and Fresh replace the configured ones for this value; 0 = as configured.
	TTL, Fresh time.Duration

	// Version of the record, where the source has one: remote tiers then never replace a newer
	// version by an older one. 0 = none.
	Version uint64

	// Tags by which the value can be invalidated together with others; see
	// [Cache.InvalidateTags]. They count only with Config.Barriers.
	Tags []string
}

// loadFunc is what all loaders become.
type loadFunc[V any] func(ctx context.Context, key string, old Old[V]) (Loaded[V], error)

// asLoad turns a Loader into a loadFunc; nil stays nil.
func asLoad[V any](l Loader[V]) loadFunc[V] {
	if l == nil {
		return nil
	}
	if e, ok := l.(EntryLoader[V]); ok {
		return e.LoadEntry
	}
	return func(ctx context.Context, key string, _ Old[V]) (Loaded[V], error) {
		v, err := l.Load(ctx, key)
		return Loaded[V]{Value: v}, err
	}
}
