package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/bench/internal/hammer"
	"github.com/hearthcache/hearth/fallback"
	"github.com/hearthcache/hearth/internal/checker"
	"github.com/hearthcache/hearth/tier"
)

// How many do what in each process. Reads of single keys and of all keys at a time take
// different paths through the cache.
const (
	singleReaders = 2
	batchReaders  = 4
	writers       = 2

	loadTime   = 2 * time.Millisecond  // at most; the source answers with what it held before
	writePause = 30 * time.Millisecond // at most
	breather   = 300 * time.Microsecond
)

// child does the part of one process and returns the exit code.
func child() int {
	var r run
	if err := hammer.Child(childEnv, &r); err != nil {
		return fail(err)
	}
	goredis.SetLogger(silent{})
	hammer.Remove(r.Without)
	h, err := checker.Open(r.Path, r.keys())
	if err != nil {
		return fail(err)
	}
	store, err := r.store()
	if err != nil {
		return fail(err)
	}
	src := &source{history: h}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	if err := r.lead(ctx, &wg, store, h); err != nil {
		cancel()
		return fail(err)
	}
	wg.Go(func() { r.tellOwed(ctx, store, h) })
	h.Word(wordReady).Add(1)
	err = work(r, store, src)
	cancel()
	wg.Wait()
	store.Close()
	if err != nil {
		return fail(err)
	}
	return 0
}

// cache is what one reader or writer reads and writes through. Each has its own over the one
// migration: two who share a cache share loads in progress as well, and a load that stores
// nothing (fills are held off) may be older than a reader who joins it. That is the cache's
// business; here every value comes from the stores, or from a load of the reader's own.
func cache(store *fallback.Store, src *source) (*tier.Cache[uint64], error) {
	return tier.New(tier.Config[uint64]{
		Namespace: namespace, TTL: 10 * time.Minute, Loader: src, Local: tier.Local[uint64]{Disabled: true},
		Remotes: []tier.Remote{{
			Name: "migration", Store: store, Timeout: callTimeout,
			Breaker: tier.Breaker{Disabled: true}, // each member has its own
		}},
		// What another process loads is waited for briefly: a lease may be an orphan of a
		// connection that was cut.
		Load: tier.Load{Wait: 50 * time.Millisecond, Lease: 500 * time.Millisecond},
	})
}

// silent keeps the client from reporting what is done to its connections.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "migrate:", err)
	return 1
}

// tellOwed keeps this process's part of the word of what is owed, of that of calls without an
// answer, and of that of ticks.
func (r run) tellOwed(ctx context.Context, s *fallback.Store, h *checker.History) {
	var told, unwell uint64
	for ctx.Err() == nil {
		p := s.Progress()
		now := uint64(p.OwedOld + p.OwedNew)
		h.Word(wordOwed).Add(now - told)
		told = now
		failed := uint64(p.Failures + p.Skipped)
		h.Word(wordUnwell).Add(failed - unwell)
		unwell = failed
		h.Word(wordBeats).Add(1 << (16 * r.Process))
		time.Sleep(tick)
	}
}

// work reads and writes until the parent says stop.
func work(r run, store *fallback.Store, s *source) error {
	ctx := context.Background()
	var wg sync.WaitGroup
	var errs []error
	loop := func(n int, do func(c *tier.Cache[uint64])) {
		for range n {
			c, err := cache(store, s)
			if err != nil {
				errs = append(errs, err)
				return
			}
			wg.Go(func() {
				for s.history.Word(wordStop).Load() == 0 {
					do(c)
				}
				s.history.Word(wordHits).Add(uint64(c.Stats().Remotes[0].Hits))
				end, stop := context.WithTimeout(ctx, 100*time.Millisecond)
				defer stop()
				_ = c.Close(end) // an outbox may still owe something
			})
		}
	}
	loop(singleReaders, func(c *tier.Cache[uint64]) { s.reader(c).Some(ctx, burst, r.some); time.Sleep(rand.N(breather)) })
	loop(batchReaders, func(c *tier.Cache[uint64]) { s.readAll(ctx, c, r); time.Sleep(rand.N(breather)) })
	loop(writers, func(c *tier.Cache[uint64]) {
		for range 1 + rand.IntN(3) { // the second falls into the load that follows the first
			if k, ok := r.writes(s.history); ok {
				s.write(ctx, r, store, c, k)
			}
			time.Sleep(rand.N(2 * loadTime))
		}
		time.Sleep(rand.N(writePause))
	})
	wg.Wait()
	return errors.Join(errs...)
}

// source is the source of record: what the history says it holds, after a while.
type source struct {
	history *checker.History
}

// Load implements [tier.Loader].
func (s *source) Load(_ context.Context, key string) (uint64, error) {
	v := s.history.Current(hammer.Number(key))
	s.history.Word(wordLoads).Add(1)
	time.Sleep(rand.N(loadTime))
	return v, nil
}

// write commits a new value and makes the cache forget the old one. In scenario cut a write counts
// although old is owed it, since new answers everybody and has the mark.
func (s *source) write(ctx context.Context, r run, store *fallback.Store, c *tier.Cache[uint64], k int) {
	id := s.history.Write(k)
	s.history.Word(wordWrites).Add(1)
	if r.Scenario == cut {
		err := store.Delete(ctx, namespace+":"+hammer.Name(k))
		if err == nil || errors.Is(err, fallback.ErrOwed) {
			s.history.Complete(k, id)
		}
		return
	}
	if c.Invalidate(ctx, hammer.Name(k)) == nil {
		s.history.Complete(k, id)
	}
}

// burst is how many reads are counted at a time.
const burst = 2 * keysEach

// reader holds what c returns against the history.
func (s *source) reader(c *tier.Cache[uint64]) hammer.Reader[uint64] {
	return hammer.Reader[uint64]{History: s.history, Cache: c, ID: func(v uint64) (uint64, error) { return v, nil }}
}

// readAll reads all keys at a time.
func (s *source) readAll(ctx context.Context, c *tier.Cache[uint64], r run) {
	got, err := s.reader(c).All(ctx, r.first(), keysEach)
	if err != nil && got == 0 && !errors.Is(err, tier.ErrMiss) {
		time.Sleep(time.Millisecond)
	}
}
