//go:build unix

package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/bus"
	"github.com/hearthcache/hearth/backends/redis/tracking"
	"github.com/hearthcache/hearth/tier"
)

// order is what a process is told to do.
type order struct {
	Kind      string            // "redis", "sentinel", "cluster" or "memcached"
	Index     int               // which of the processes
	Redis     []string          // addresses; of the Sentinel, where there is one
	Master    string            // what the Sentinel calls it
	Memcached string            // address
	Through   map[string]string // the way to a Redis for the connections that hear of changes
	Control   map[string]string // the way that is never disturbed
	Ping      time.Duration
	DeadAfter time.Duration
	Deaf      bool
	MayLose   bool // the servers may lose what was written
}

// tally is what a process measured in one phase.
type tally struct {
	Reads       int64
	L1          int64         // of these, answered by L1
	Stale       int64         // reads that were stale at all
	Over        int64         // by more than the tolerance
	OverRaw     int64         // the same, with the time counted in which the machine let nothing through
	Sum         time.Duration // of the staleness of stale reads
	Max, MaxRaw time.Duration
	Lost        int64 // reads of what the server itself had gone back to
	Undecided   int64 // reads of a key that was being written, when the server was asked
	Writes      int64
	WriteErrs   int64
	LastErr     string
}

// tolerance is what the network and the processor are allowed.
const tolerance = 50 * time.Millisecond

const namespace = "co"

func keyName(k int) string { return "k" + strconv.Itoa(k) }

// work is the life of one of the four processes.
func work(o order, b *board) error {
	logging.Disable() // its connections are broken on purpose
	cache, bare, err := open(o, b)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer cache.Close(ctx)
	defer bare.Close(ctx)
	p := newPulse()
	hearControl(ctx, o.Control, p)
	writes := map[int64]*tally{}
	written := make(chan struct{})
	go func() {
		defer close(written)
		if o.Index < writers-1 {
			write(ctx, b, o.Index, writes, func(k int, v int64) error { return change(ctx, cache, k, v) })
		}
	}()
	r := reader{cache: cache, board: b, pulse: p, index: o.Index}
	if o.MayLose {
		r.bare = bare
	}
	reads := r.read(ctx)
	cancel()
	<-written
	for phase, w := range writes {
		t := of(reads, phase)
		t.Writes, t.WriteErrs, t.LastErr = w.Writes, w.WriteErrs, w.LastErr
	}
	return json.NewEncoder(os.Stdout).Encode(reads)
}

// change is a write by hearth: of the value, or an invalidation.
func change(ctx context.Context, cache *tier.Cache[int64], k int, v int64) error {
	if v%2 == 0 {
		return cache.Invalidate(ctx, keyName(k))
	}
	return cache.Set(ctx, keyName(k), v)
}

// write commits and changes the keys of one writer until the end, a hundred times a second.
func write(ctx context.Context, b *board, writer int, tallies map[int64]*tally, change func(k int, v int64) error) {
	for b.Phase.Load() >= 0 {
		k := rand.IntN(keys/writers)*writers + writer
		t := of(tallies, b.Phase.Load())
		v := b.commit(k)
		if err := change(k, v); err != nil {
			t.WriteErrs++ // whoever reads the old value now has been told nothing, and we know it
			t.LastErr = err.Error()
		} else {
			t.Writes++
			b.out(k, v)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// open makes the cache of one process, and bare, which shows what the servers have.
func open(o order, b *board) (cache, bare *tier.Cache[int64], err error) {
	shared := client(o, nil)
	store, err := remote(o, shared)
	if err != nil {
		return nil, nil, err
	}
	heard := shared // as a user would do it
	if len(o.Through) > 0 {
		heard = client(o, o.Through)
	}
	source, err := listen(o, heard)
	if err != nil {
		return nil, nil, err
	}
	if o.Deaf {
		source = deaf{}
	}
	remotes := []tier.Remote{{Name: o.Kind, Store: store, Timeout: 2 * time.Second}}
	if bare, err = tier.New(tier.Config[int64]{Namespace: namespace, Local: tier.Local[int64]{Disabled: true}, Remotes: remotes}); err != nil {
		return nil, nil, err
	}
	cache, err = tier.New(tier.Config[int64]{
		Namespace: namespace,
		TTL:       10 * time.Minute,
		Local:     tier.Local[int64]{TTL: 10 * time.Minute, Invalidator: source, DeadAfter: o.DeadAfter},
		Remotes:   remotes,
		Loader: tier.LoaderFunc[int64](func(_ context.Context, key string) (int64, error) {
			k, err := strconv.Atoi(key[1:])
			if err != nil {
				return 0, err
			}
			v := b.Latest[k].Load()
			time.Sleep(time.Millisecond) // room for writers to overtake the load
			return v, nil
		}),
	})
	return cache, bare, err
}

func remote(o order, c goredis.UniversalClient) (backends.Store, error) {
	if o.Kind == "memcached" {
		return memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: o.Memcached}}})
	}
	return redis.New(c, redis.Config{})
}

// client connects to the Redis of the order, by another way where through says so.
func client(o order, through map[string]string) goredis.UniversalClient {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if t := through[addr]; t != "" {
			addr = t
		}
		return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, addr)
	}
	const patience = 2 * time.Second // this is no test of timeouts, and the machine may be busy
	if o.Kind == "cluster" {
		c := redis.ClusterOptions(o.Redis...)
		c.Dialer, c.DialTimeout, c.ReadTimeout, c.WriteTimeout, c.PoolTimeout = dial, patience, patience, patience, patience
		return goredis.NewClusterClient(c)
	}
	if o.Kind == "sentinel" {
		c := redis.FailoverOptions(o.Master, o.Redis...)
		c.DialTimeout, c.ReadTimeout, c.WriteTimeout, c.PoolTimeout = patience, patience, patience, patience
		return goredis.NewFailoverClient(c)
	}
	c := redis.Options(o.Redis[0])
	c.Dialer, c.DialTimeout, c.ReadTimeout, c.WriteTimeout, c.PoolTimeout = dial, patience, patience, patience, patience
	return goredis.NewClient(c)
}

func listen(o order, c goredis.UniversalClient) (backends.Invalidator, error) {
	if o.Kind == "memcached" {
		return bus.New(c, bus.Config{Namespace: namespace, Ping: o.Ping, DeadAfter: o.DeadAfter, Timeout: 2 * time.Second})
	}
	return tracking.New(c, tracking.Config{Namespace: namespace, Ping: o.Ping, DeadAfter: o.DeadAfter})
}

// deaf says that all is well and hears nothing.
type deaf struct{}

func (deaf) Watch(ctx context.Context, s backends.Sink) error {
	for ctx.Err() == nil {
		s.Alive()
		time.Sleep(10 * time.Millisecond)
	}
	return ctx.Err()
}
func (deaf) Publish(context.Context, []string) error { return nil }
func (deaf) PublishFlush(context.Context) error      { return nil }
