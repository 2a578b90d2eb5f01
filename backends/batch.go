package backends

import (
	"context"
	"iter"
	"sync"
)

// Bounds of one request of a batch: about where a longer one no longer gets faster and begins to
// keep others waiting on the server.
const (
	chunkKeys  = 500
	chunkBytes = 1 << 20
)

// loopWidth is how many calls at once stand in for a batch on a store that is no [Batcher]:
// enough to hide latency, few enough for the connection pool of a small client.
const loopWidth = 8

// Chunks cuts n entries into runs [lo, hi) of at most 500 entries and 1 MiB each, in order. size
// tells how many bytes an entry has; one that is larger than a chunk is a chunk by itself.
func Chunks(n int, size func(i int) int) iter.Seq2[int, int] {
	return func(yield func(lo, hi int) bool) {
		lo, bytes := 0, 0
		for i := range n {
			b := size(i)
			if i > lo && (i-lo == chunkKeys || bytes+b > chunkBytes) {
				if !yield(lo, i) {
					return
				}
				lo, bytes = i, 0
			}
			bytes += b
		}
		if lo < n {
			yield(lo, n)
		}
	}
}

// GetMany reads many keys: one [Result] per key, in order, as Get has it. It uses the store's
// [Batcher], a chunk at a time, else a few Gets at once. A key that was not asked because ctx
// ended has ctx's error, never a miss.
func GetMany(ctx context.Context, s Store, keys []string) []Result {
	b := CapsOf(s).Batcher
	if b == nil {
		return loopResults(ctx, keys, s.Get)
	}
	return chunkResults(ctx, keys, b.GetMany)
}

// GetTTL is Get with the remaining lifetime where the store can tell it ([TTLer]); elsewhere it
// is Get, and Item.TTL may be [TTLUnknown].
func GetTTL(ctx context.Context, s Store, key string) (Item, error) {
	if t := CapsOf(s).TTLer; t != nil {
		return t.GetTTL(ctx, key)
	}
	return s.Get(ctx, key)
}

// GetTTLMany is GetTTL for many keys: one [Result] per key, in order.
func GetTTLMany(ctx context.Context, s Store, keys []string) []Result {
	t := CapsOf(s).TTLer
	if t == nil {
		return GetMany(ctx, s, keys)
	}
	return chunkResults(ctx, keys, t.GetTTLMany)
}

// SetMany stores many entries. It returns nil when all were stored, else one error per entry.
// Of a key that is given twice, the later entry stays.
func SetMany(ctx context.Context, s Store, entries []KeyItem) []error {
	b := CapsOf(s).Batcher
	if b == nil {
		seen := make(map[string]struct{}, len(entries))
		for _, e := range entries {
			seen[e.Key] = struct{}{}
		}
		width := loopWidth
		if len(seen) < len(entries) {
			width = 1 // two writes of one key must not race
		}
		return loopErrors(ctx, len(entries), width, func(i int) error {
			return s.Set(ctx, entries[i].Key, entries[i].Item)
		})
	}
	size := func(i int) int { return len(entries[i].Key) + len(entries[i].Item.Value) }
	return chunkErrors(ctx, len(entries), size, func(lo, hi int) []error {
		return b.SetMany(ctx, entries[lo:hi])
	})
}

// DeleteMany removes many keys. It returns nil when all are gone, else one error per key.
func DeleteMany(ctx context.Context, s Store, keys []string) []error {
	b := CapsOf(s).Batcher
	if b == nil {
		return loopErrors(ctx, len(keys), loopWidth, func(i int) error { return s.Delete(ctx, keys[i]) })
	}
	size := func(i int) int { return len(keys[i]) }
	return chunkErrors(ctx, len(keys), size, func(lo, hi int) []error {
		return b.DeleteMany(ctx, keys[lo:hi])
	})
}

// chunkResults keeps what was answered when ctx ends between two chunks.
func chunkResults(ctx context.Context, keys []string, get func(context.Context, []string) []Result) []Result {
	var rs []Result
	for lo, hi := range Chunks(len(keys), func(i int) int { return len(keys[i]) }) {
		if lo == 0 && hi == len(keys) {
			return get(ctx, keys)
		}
		if err := ctx.Err(); err != nil {
			for range keys[lo:hi] {
				rs = append(rs, Result{Err: err})
			}
			continue
		}
		rs = append(rs, get(ctx, keys[lo:hi])...)
	}
	return rs
}

func chunkErrors(ctx context.Context, n int, size func(i int) int, call func(lo, hi int) []error) []error {
	var errs []error // nil until something fails
	for lo, hi := range Chunks(n, size) {
		if err := ctx.Err(); err != nil && lo > 0 {
			errs = grow(errs, n)
			for i := lo; i < hi; i++ {
				errs[i] = err
			}
			continue
		}
		if part := call(lo, hi); part != nil {
			errs = grow(errs, n)
			copy(errs[lo:hi], part)
		}
	}
	return errs
}

func grow(errs []error, n int) []error {
	if errs == nil {
		return make([]error, n)
	}
	return errs
}

func loopResults(ctx context.Context, keys []string, get func(context.Context, string) (Item, error)) []Result {
	rs := make([]Result, len(keys))
	loop(len(keys), loopWidth, func(i int) {
		if rs[i].Err = ctx.Err(); rs[i].Err == nil {
			rs[i].Item, rs[i].Err = get(ctx, keys[i])
		}
	})
	return rs
}

func loopErrors(ctx context.Context, n, width int, call func(i int) error) []error {
	errs := make([]error, n)
	loop(n, width, func(i int) {
		if errs[i] = ctx.Err(); errs[i] == nil {
			errs[i] = call(i)
		}
	})
	for _, err := range errs {
		if err != nil {
			return errs
		}
	}
	return nil
}

// loop calls f for 0 to n-1 on at most width goroutines and waits for all. A panic of f is
// raised again on the caller's goroutine, where somebody may be prepared for it.
func loop(n, width int, f func(i int)) {
	if n <= 1 || width <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var (
		wg       sync.WaitGroup
		mu       sync.Mutex
		next     int
		panicked any
	)
	take := func() (i int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if next == n || panicked != nil {
			return 0, false
		}
		next++
		return next - 1, true
	}
	for range min(width, n) {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					mu.Lock()
					defer mu.Unlock()
					panicked = p
				}
			}()
			for i, ok := take(); ok; i, ok = take() {
				f(i)
			}
		})
	}
	wg.Wait()
	if panicked != nil {
		panic(panicked)
	}
}
