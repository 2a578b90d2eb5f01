package writethrough

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/hearthcache/hearth/tier"
)

// batch gathers writes while a call of the Sink is under way. There is one call at a time, so the
// order of mutations of one key is that of their arrival.
type batch[V any] struct {
	mu      sync.Mutex
	waiting []*job[V]
	running bool // a goroutine is calling the Sink, and looks here again before it ends
}

// job is one Write that waits for its turn.
type job[V any] struct {
	ms   []tier.Mutation[V]
	errs chan []error // capacity 1
}

// join queues ms and waits for their outcomes.
func (w *Writer[V]) join(ctx context.Context, ms []tier.Mutation[V]) []error {
	j := &job[V]{ms: ms, errs: make(chan []error, 1)}
	if err := ctx.Err(); err != nil {
		return all(fmt.Errorf("%s: %w: %w", w.cfg.Name, ErrFailed, err), len(ms))
	}
	w.batch.mu.Lock()
	w.batch.waiting = append(w.batch.waiting, j)
	start := !w.batch.running
	w.batch.running = true
	w.batch.mu.Unlock()
	if start {
		go w.drain(context.WithoutCancel(ctx))
	}
	select {
	case errs := <-j.errs:
		return errs
	case <-ctx.Done():
	}
	if w.batch.withdraw(j) {
		return all(fmt.Errorf("%s: %w: %w", w.cfg.Name, ErrFailed, ctx.Err()), len(ms))
	}
	return all(fmt.Errorf("%s: %w: %w", w.cfg.Name, tier.ErrUnknown, ctx.Err()), len(ms))
}

// withdraw takes j back, if it has not been handed over yet.
func (b *batch[V]) withdraw(j *job[V]) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.waiting, j)
	if i < 0 {
		return false
	}
	b.waiting = slices.Delete(b.waiting, i, i+1)
	return true
}

// next takes the jobs of the next call, at most limit mutations (but at least one job). None: the
// caller is to end.
func (b *batch[V]) next(limit int) []*job[V] {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, size := 0, 0
	for n < len(b.waiting) && (n == 0 || size+len(b.waiting[n].ms) <= limit) {
		size += len(b.waiting[n].ms)
		n++
	}
	jobs := slices.Clone(b.waiting[:n])
	b.waiting = slices.Delete(b.waiting, 0, n)
	b.running = n > 0
	return jobs
}

// drain hands jobs over until none is left.
func (w *Writer[V]) drain(ctx context.Context) {
	for jobs := w.batch.next(w.cfg.MaxBatch); len(jobs) > 0; jobs = w.batch.next(w.cfg.MaxBatch) {
		w.handOver(ctx, jobs)
	}
}

// handOver asks the source about all jobs at once. If it refuses them as a whole, nothing has
// changed, and each is asked about alone: one bad record must not stop the others.
func (w *Writer[V]) handOver(ctx context.Context, jobs []*job[V]) {
	var ms []tier.Mutation[V]
	for _, j := range jobs {
		ms = append(ms, j.ms...)
	}
	errs, whole := w.call(ctx, ms)
	if whole && len(jobs) > 1 && errs[0] != nil && w.cfg.kind(errs[0]) == ErrRefused {
		for _, j := range jobs {
			errs, _ := w.call(ctx, j.ms)
			j.errs <- errs
		}
		return
	}
	for _, j := range jobs {
		j.errs <- errs[:len(j.ms):len(j.ms)]
		errs = errs[len(j.ms):]
	}
}
