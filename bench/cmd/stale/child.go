package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/checker"
	"github.com/hearthcache/hearth/internal/fence"
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
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &r); err != nil {
		return fail(err)
	}
	go func() { // the parent is gone
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(2)
	}()
	if f, ok := fence.Parse(r.Without); ok {
		fence.Remove(f) // for the life of this process
	}
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
	hammer(r, c, s, near)
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

// hammer reads and writes until the parent says stop.
func hammer(r run, c *tier.Cache[string], s *source, near backends.Store) {
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
	loop(singleReaders, func() { s.readSome(ctx, c, some); breathe() })
	loop(batchReaders, func() { s.readAll(ctx, c, r.first()); breathe() })
	loop(writers, func() {
		k := hot()
		for range writeBurst { // the second falls into the load that follows the first
			if r.Scenario == tiers { // an eviction, whose copying back the write is to meet
				_ = near.Delete(ctx, r.namespace()+":"+name(k))
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
	v := value(s.history.Current(number(key)))
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
		s.history.Commit(number(m.Key), id)
	}
	time.Sleep(rand.N(loadTime))
	return nil
}

// burst is how many reads are counted at a time.
const burst = 2 * keysEach

// readSome reads single keys, a burst of them.
func (s *source) readSome(ctx context.Context, c *tier.Cache[string], some func() int) {
	var n tally
	for range burst {
		k := some()
		r := s.history.Begin(k)
		v, err := c.Get(ctx, name(k))
		if err == nil {
			n.judge(r, v)
		}
	}
	s.history.Add(n.Counts)
}

// readAll reads all keys at a time.
func (s *source) readAll(ctx context.Context, c *tier.Cache[string], first int) {
	var n tally
	for range burst / keysEach {
		names, begun := make([]string, keysEach), map[string]checker.Read{}
		for i := range names {
			names[i] = name(first + i)
			begun[names[i]] = s.history.Begin(first + i)
		}
		values, _ := c.GetMany(ctx, names)
		for k, v := range values {
			n.judge(begun[k], v)
		}
	}
	s.history.Add(n.Counts)
}

// tally counts verdicts before they are added to those of all.
type tally struct{ checker.Counts }

func (t *tally) judge(r checker.Read, v string) {
	t.Reads++
	id, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Invented++
		return
	}
	switch r.Judge(id) {
	case checker.Stale:
		t.Stale++
	case checker.Invented:
		t.Invented++
	}
}

func name(k int) string { return "k" + strconv.Itoa(k) }

func number(name string) int {
	k, err := strconv.Atoi(name[1:])
	if err != nil {
		panic(err) // a name of ours
	}
	return k
}

func value(id uint64) string { return strconv.FormatUint(id, 10) }

func isQueued(err error) bool { return errors.Is(err, tier.ErrQueued) }
