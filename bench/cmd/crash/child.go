package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/bolt"
	"github.com/hearthcache/hearth/writebehind/redisstream"
	"github.com/redis/go-redis/v9"
)

const (
	childLevel = "CRASH_LEVEL" // which makes this program the child
	childPath  = "CRASH_PATH"  // of the journal
	childRedis = "CRASH_REDIS" // address
	childFrom  = "CRASH_FROM"  // the first number to write

	producers = 16
	keysEach  = 5

	deltaPrefix = "d" // of the keys that get deltas
)

// open returns the journal of a level, nil for memory.
func open(level, path, addr string) (writebehind.Journal, func(), error) {
	switch level {
	case "journal":
		j, err := bolt.Open(bolt.Config{Path: path})
		return j, func() {}, err
	case "stream":
		c := redis.NewClient(&redis.Options{
			Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1, PoolSize: 32,
		})
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		j, err := redisstream.Open(ctx, redisstream.Config{Client: c, Name: "crash", Partitions: 4, Lease: time.Second})
		return j, func() { c.Close() }, err
	}
	return nil, func() {}, nil
}

// produce writes rising numbers until it is killed. The sink is slow, and tells the parent what
// it has applied before it returns; the producers tell what was accepted.
func produce(level string) error {
	from, err := strconv.Atoi(os.Getenv(childFrom))
	if err != nil {
		return err
	}
	journal, _, err := open(level, os.Getenv(childPath), os.Getenv(childRedis))
	if err != nil {
		return err
	}
	say := newReporter()
	cfg := writebehind.Config[int]{
		Journal: journal,
		Sink: writebehind.SinkFunc[int](func(_ context.Context, ops []writebehind.Op[int]) error {
			time.Sleep(5 * time.Millisecond)
			for _, o := range ops {
				say.line("applied", o.Key, numberOf(o), o.Seq)
			}
			return nil
		}),
	}
	w, err := writebehind.New(cfg)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for p := range producers {
		go func() {
			for n := from; ; n++ {
				c := change(p, n)
				if _, err := w.Enqueue(context.Background(), c); err == nil {
					say.line("accepted", c.Key, n, 0)
				}
				if journal == nil {
					time.Sleep(100 * time.Microsecond) // as a disk would
				}
			}
		}()
	}
	select {}
}

// change is what producer p writes as its number n: a state of one of its keys, or, every so
// often, a delta of another one. No two producers share a key, so that the numbers of a key rise
// in the order in which they were accepted.
func change(p, n int) writebehind.Change[int] {
	if n%keysEach == 0 {
		return writebehind.Change[int]{
			Mutation: tier.Mutation[int]{Key: fmt.Sprint(deltaPrefix, p)}, Delta: strconv.AppendInt(nil, int64(n), 10),
		}
	}
	return writebehind.Change[int]{Mutation: tier.Mutation[int]{Key: fmt.Sprintf("p%d-%d", p, n%keysEach), Value: n}}
}

// numberOf is the number that o carries.
func numberOf(o writebehind.Op[int]) int {
	if o.Delta == nil {
		return o.Value
	}
	n, _ := strconv.Atoi(string(o.Delta))
	return n
}

// reporter writes lines to the pipe, whole and at once: what was said before a kill was said.
type reporter struct {
	mu  sync.Mutex
	out *bufio.Writer
}

func newReporter() *reporter { return &reporter{out: bufio.NewWriter(os.Stdout)} }

func (r *reporter) line(what, key string, n int, seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(r.out, what, key, n, seq)
	r.out.Flush()
}
