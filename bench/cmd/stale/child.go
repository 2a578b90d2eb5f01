package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/bench/internal/hammer"
	"github.com/hearthcache/hearth/internal/checker"
	"github.com/hearthcache/hearth/tier"
)

// How many do what in each process. Reads of single keys and of all keys at a time take
// different paths through the cache.
const (
	singleReaders = 8
	batchReaders  = 4
	writers       = 1

	loadTime   = 2 * time.Millisecond // at most; the source answers with what it held before
	writeBurst = 4
	writePause = 40 * time.Millisecond // at most
	copyTime   = time.Millisecond      // some times what copying from tier to tier takes
	breather   = 200 * time.Microsecond
)

// child does the part of one process and returns the exit code.
func child() int {
	var r run
	if err := hammer.Child(childEnv, &r); err != nil {
		return fail(err)
	}
	hammer.Remove(r.Without)
	h, err := checker.Open(r.Path, r.keys())
	if err != nil {
		return fail(err)
	}
	near := open(r.Server, r.Addrs)
	s := &source{history: h}
	c, err := tier.New(r.config(near, s))
	if err != nil {
		return fail(err)
	}
	h.Word(wordReady).Add(1)
	work(r, c, s, near)
	h.Word(wordL1).Add(uint64(c.Stats().L1Hits))
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx) // an outbox may still owe something
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "stale:", err)
	return 1
}

// work reads and writes until the parent says stop.
func work(r run, c *tier.Cache[string], s *source, near backends.Store) {
	ctx := context.Background()
	var wg sync.WaitGroup
	loop := func(n int, do func()) {
		for range n {
			wg.Go(func() {
				for s.history.Word(wordStop).Load() == 0 {
					do()
				}
			})
		}
	}
	some := func() int { return r.first() + rand.IntN(keysEach) }
	hot := func() int { // writes concentrate on some keys, where they meet loads
		u := rand.Float64()
		return r.first() + int(u*u*u*keysEach)
	}
	breathe := func() {
		if r.Scenario == local { // L1 never makes a reader wait: let writers have a turn
			time.Sleep(rand.N(breather))
		}
	}
	read := hammer.Reader[string]{History: s.history, Cache: c, ID: func(v string) (uint64, error) { return strconv.ParseUint(v, 10, 64) }}
	loop(singleReaders, func() { read.Some(ctx, 2*keysEach, some); breathe() })
	loop(batchReaders, func() {
		for range 2 {
			_, _ = read.All(ctx, r.first(), keysEach)
		}
		breathe()
	})
	loop(writers, func() {
		k := hot()
		for range writeBurst { // the second falls into the load that follows the first
			if r.Scenario == tiers { // an eviction, whose copying back the write is to meet
				_ = near.Delete(ctx, r.namespace()+":"+hammer.Name(k))
				time.Sleep(rand.N(copyTime))
			}
			r.write(ctx, c, s, k)
			time.Sleep(rand.N(2 * loadTime))
		}
		time.Sleep(rand.N(writePause)) // in which most reads are hits
	})
	wg.Wait()
}

// source is the source of record: what the history says it holds, after a while.
type source struct {
	history *checker.History
}

// Load implements [tier.Loader].
func (s *source) Load(_ context.Context, key string) (string, error) {
	v := value(s.history.Current(hammer.Number(key)))
	time.Sleep(rand.N(loadTime))
	return v, nil
}

// Write implements [tier.Writer]: the answer comes a while after the commit, so that writers
// overtake each other.
func (s *source) Write(_ context.Context, ms []tier.Mutation[string]) error {
	for _, m := range ms {
		id, err := strconv.ParseUint(m.Value, 10, 64)
		if err != nil {
			return err
		}
		if !s.history.Commit(hammer.Number(m.Key), id) {
			return errOvertaken
		}
	}
	time.Sleep(rand.N(loadTime))
	return nil
}

// errOvertaken refuses a write that was held up for longer than the history can follow.
var errOvertaken = errors.New("overtaken by a thousand writes")

func value(id uint64) string { return strconv.FormatUint(id, 10) }

func isQueued(err error) bool { return errors.Is(err, tier.ErrQueued) }
