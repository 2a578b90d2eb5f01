package memcached

import (
	"context"
	"errors"
	"fmt"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/guard"
)

// watched is the transport of one server of a fleet: with a breaker of its own, so that a dead
// server costs its keys no time and the other servers nothing, and with failures that say they
// are one server's. (A single server needs neither: there the breaker of whoever calls the store
// is the same thing.)
type watched struct {
	transport
	name  string
	guard *guard.Guard
}

func newWatched(t transport, name string) *watched {
	// The lanes below end every call in time, and their pools bound how many there are.
	g, err := guard.New(guard.Config{Name: name, Timeout: -1, MaxConcurrent: -1})
	if err != nil {
		panic(err) // constant settings
	}
	return &watched{transport: t, name: name, guard: g}
}

// watch passes one call, in the caller's goroutine.
func watch[T any](ctx context.Context, w *watched, fn func(context.Context) (T, error)) (T, error) {
	v, err := guard.Inline(ctx, w.guard, fn)
	switch {
	case err == nil, backends.IsAnswer(err), backends.IsRefusal(err), errors.As(err, new(*ReplyError)), ctx.Err() != nil && errors.Is(err, context.Canceled):
		return v, err
	case errors.Is(err, guard.ErrOpen):
		return v, fmt.Errorf("memcached %s: %w: %w", w.name, backends.ErrOneServer, err)
	}
	return v, fmt.Errorf("%w: %w", backends.ErrOneServer, err)
}

// do is watch for a call without a result.
func (w *watched) do(ctx context.Context, fn func(context.Context) error) error {
	_, err := watch(ctx, w, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
	return err
}

func (w *watched) get(ctx context.Context, key string) (record, error) {
	return watch(ctx, w, func(ctx context.Context) (record, error) { return w.transport.get(ctx, key) })
}

func (w *watched) getMany(ctx context.Context, keys []string, out []reply) error {
	return w.do(ctx, func(ctx context.Context) error { return w.transport.getMany(ctx, keys, out) })
}

func (w *watched) store(ctx context.Context, v verb, key string, r record, exp int32) error {
	return w.do(ctx, func(ctx context.Context) error { return w.transport.store(ctx, v, key, r, exp) })
}

func (w *watched) remove(ctx context.Context, key string) error {
	return w.do(ctx, func(ctx context.Context) error { return w.transport.remove(ctx, key) })
}

func (w *watched) touch(ctx context.Context, key string, exp int32) error {
	return w.do(ctx, func(ctx context.Context) error { return w.transport.touch(ctx, key, exp) })
}

func (w *watched) count(ctx context.Context, key string, up bool, delta uint64) (uint64, error) {
	return watch(ctx, w, func(ctx context.Context) (uint64, error) { return w.transport.count(ctx, key, up, delta) })
}

func (w *watched) close() {
	w.guard.Close()
	w.transport.close()
}
