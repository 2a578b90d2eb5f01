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
	Kind      string            // "redis", "cluster" or "memcached"
	Index     int               // which of the processes
	Redis     []string          // addresses
	Memcached string            // address
	Through   map[string]string // the way to a Redis for the connections that hear of changes
	Control   map[string]string // the way that is never disturbed
	Ping      time.Duration
	DeadAfter time.Duration
	Deaf      bool
}

// tally is what a process measured in one phase.
type tally struct {
	Reads, L1   int64
	Stale       int64         // reads that were stale at all
	Over        int64         // by more than the tolerance
	OverRaw     int64         // the same, with the time counted in which the machine let nothing through
	Sum         time.Duration // of the staleness of stale reads
	Max, MaxRaw time.Duration
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
	cache, err := open(o, b)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer cache.Close(ctx)
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
	reads := read(ctx, cache, b, p, o.Index)
	cancel()
	<-written
	for phase, w := range writes {
		r := reads[phase]
		if r == nil {
			r = &tally{}
			reads[phase] = r
		}
		r.Writes, r.WriteErrs, r.LastErr = w.Writes, w.WriteErrs, w.LastErr
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

// read reads until the end and judges what it gets.
func read(ctx context.Context, cache *tier.Cache[int64], b *board, p *pulse, index int) map[int64]*tally {
	tallies := map[int64]*tally{}
	for n := 0; ; n++ {
		if n%16 == 0 { // leave the processor to those who listen
			time.Sleep(200 * time.Microsecond)
			up := int64(0)
			if cache.Health().Link == "up" {
				up = 1
			}
			b.Up[index].Store(up)
		}
		phase := b.Phase.Load()
		if phase < 0 {
			break
		}
		t := of(tallies, phase)
		k := rand.IntN(keys)
		at := now() // before the read: what happens to us from here on makes nothing staler
		v, err := cache.Get(ctx, keyName(k))
		if err != nil {
			t.LastErr = err.Error()
			continue
		}
		t.Reads++
		if since := b.replaced(k, v, at); since != 0 {
			t.judge(time.Duration(at-since), p.stopped(since, at))
		}
	}
	return tallies
}

// judge counts a read that was stale by d, in some of which nothing could be heard.
func (t *tally) judge(d, still time.Duration) {
	t.MaxRaw = max(t.MaxRaw, d)
	if d > tolerance {
		t.OverRaw++
	}
	d = max(0, d-still)
	t.Stale++
	t.Sum += d
	t.Max = max(t.Max, d)
	if d > tolerance {
		t.Over++
	}
}

func of(tallies map[int64]*tally, phase int64) *tally {
	if tallies[phase] == nil {
		tallies[phase] = &tally{}
	}
	return tallies[phase]
}

// open makes the cache of one process.
func open(o order, b *board) (*tier.Cache[int64], error) {
	store, err := remote(o)
	if err != nil {
		return nil, err
	}
	source, err := listen(o)
	if err != nil {
		return nil, err
	}
	if o.Deaf {
		source = deaf{}
	}
	return tier.New(tier.Config[int64]{
		Namespace: namespace,
		TTL:       10 * time.Minute,
		Local:     tier.Local[int64]{TTL: 10 * time.Minute, Invalidator: source, DeadAfter: o.DeadAfter},
		Remotes:   []tier.Remote{{Name: o.Kind, Store: store, Timeout: 2 * time.Second}},
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
}

func remote(o order) (backends.Store, error) {
	if o.Kind == "memcached" {
		return memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: o.Memcached}}})
	}
	return redis.New(client(o, nil), redis.Config{})
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
	c := redis.Options(o.Redis[0])
	c.Dialer, c.DialTimeout, c.ReadTimeout, c.WriteTimeout, c.PoolTimeout = dial, patience, patience, patience, patience
	return goredis.NewClient(c)
}

func listen(o order) (backends.Invalidator, error) {
	c := client(o, o.Through)
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
