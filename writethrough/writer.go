package writethrough

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hearthcache/hearth/internal/guard"
	"github.com/hearthcache/hearth/tier"
)

// Writer is a [tier.Writer] around a [Sink]. Make one with [New]; close it after the cache. Safe
// for concurrent use.
type Writer[V any] struct {
	cfg    Config[V]
	guard  *guard.Guard
	batch  batch[V]
	closed atomic.Bool
	done   sync.Once

	calls, written, refused, failed, unknown atomic.Int64
}

var _ tier.Writer[int] = (*Writer[int])(nil)

// New returns a Writer, or everything that is wrong with cfg. It does not call the Sink.
func New[V any](cfg Config[V]) (*Writer[V], error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	w := &Writer[V]{cfg: cfg}
	if w.guard, err = cfg.guard(); err != nil {
		return nil, fmt.Errorf("writethrough: Config.Breaker: %w", err)
	}
	return w, nil
}

// Write hands ms to the source and returns nil when it has all of them. Each outcome is one of
// [ErrRefused], [ErrFailed] and [tier.ErrUnknown]; where they differ the error unwraps to a
// [*tier.WriteError]. When ctx ends before the source was asked that is ErrFailed, and ErrUnknown
// afterwards; both are then ctx's error too.
func (w *Writer[V]) Write(ctx context.Context, ms []tier.Mutation[V]) error {
	if len(ms) == 0 {
		return nil
	}
	var errs []error
	switch {
	case w.closed.Load():
		errs = all(marked(ErrFailed, tier.ErrClosed), len(ms))
	case w.cfg.MaxBatch > 1:
		errs = w.join(ctx, ms)
	default:
		errs, _ = w.call(ctx, ms)
	}
	return w.sum(errs)
}

// call asks the source once, and returns what became of each of ms. whole says that the source
// gave one answer for all of them.
func (w *Writer[V]) call(ctx context.Context, ms []tier.Mutation[V]) (errs []error, whole bool) {
	var turn atomic.Int32 // whoever moves it first decides whether the Sink is called
	err := w.guard.Do(ctx, false, func(ctx context.Context) error {
		if !turn.CompareAndSwap(0, 1) {
			return context.Canceled // the caller has gone, and said that nothing was done
		}
		w.calls.Add(1)
		return w.cfg.Sink.Write(ctx, ms)
	})
	if err != nil && turn.CompareAndSwap(0, 2) {
		if errors.Is(err, tier.ErrUnknown) { // says the guard, who cannot know
			err = cmp.Or(ctx.Err(), error(context.DeadlineExceeded))
		}
		return all(fmt.Errorf("%s: %w: %w", w.cfg.Name, ErrFailed, err), len(ms)), false
	}
	var each *tier.WriteError
	if errors.As(err, &each) && len(each.Errs) == len(ms) {
		out := make([]error, len(ms))
		for i, e := range each.Errs {
			out[i] = w.cfg.outcome(e)
		}
		return out, false
	}
	return all(w.cfg.outcome(err), len(ms)), true
}

// all is err n times.
func all(err error, n int) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// sum counts outcomes and makes one error of them.
func (w *Writer[V]) sum(errs []error) error {
	bad := 0
	for _, err := range errs {
		switch {
		case err == nil:
			w.written.Add(1)
			continue
		case errors.Is(err, tier.ErrUnknown):
			w.unknown.Add(1)
		case errors.Is(err, ErrFailed):
			w.failed.Add(1)
		default:
			w.refused.Add(1)
		}
		bad++
	}
	switch {
	case bad == 0:
		return nil
	case len(errs) == 1:
		return errs[0]
	}
	return &tier.WriteError{Errs: errs}
}

// Close refuses further writes. It does not wait for writes under way: they end with their
// deadline. Idempotent.
func (w *Writer[V]) Close() {
	w.closed.Store(true)
	w.done.Do(w.guard.Close)
}

// Stats is what a Writer has counted since it was made, in mutations.
type Stats struct {
	Calls   int64  // calls of the Sink
	Written int64  // mutations that the source took
	Refused int64  // that it did not want
	Failed  int64  // that did not reach it
	Unknown int64  // whose outcome is not known
	Breaker string // "closed", "open", "half-open"
}

// Stats returns the counts. They are read one by one, not as of one instant.
func (w *Writer[V]) Stats() Stats {
	return Stats{
		Calls: w.calls.Load(), Written: w.written.Load(), Refused: w.refused.Load(),
		Failed: w.failed.Load(), Unknown: w.unknown.Load(),
		Breaker: w.guard.Stats().State.String(),
	}
}
