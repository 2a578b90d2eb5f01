package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/coalesce"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/bench/internal/side"
	"github.com/hearthcache/hearth/tier"
)

// remoteKeys is how many keys are read, evenly, each with about 100 bytes.
const remoteKeys = 10_000

// client reads a key from a server and returns how many bytes there were.
type client struct {
	name  string
	get   func(ctx context.Context, key string) (int, error)
	close func()
}

// meter is a client being measured: beside the time, the server's processor time and the slowest
// percent of calls.
type meter struct {
	client
	pid      int
	ops      atomic.Int64
	server   time.Duration
	before   time.Duration
	mu       sync.Mutex
	latency  []time.Duration
	failures atomic.Int64
}

func (m *meter) variant(callers int, keys []string) side.Variant {
	ctx := context.Background()
	op := split(callers, func(w, n int) {
		var slow []time.Duration
		for i := range n {
			key := keys[(w*7919+i)%len(keys)]
			if i%8 != 0 {
				if bytes, err := m.get(ctx, key); err != nil || bytes == 0 {
					m.failures.Add(1)
				}
				continue
			}
			start := time.Now()
			if bytes, err := m.get(ctx, key); err != nil || bytes == 0 {
				m.failures.Add(1)
			}
			slow = append(slow, time.Since(start))
		}
		m.ops.Add(int64(n))
		m.mu.Lock()
		m.latency = append(m.latency, slow...)
		m.mu.Unlock()
	})
	return side.Variant{
		Name: m.name, Op: op,
		Warm: func() { // dialling is not measured
			m.ops.Store(0)
			m.server, m.latency = 0, nil
		},
		Before: func() { m.before, _ = used(m.pid) },
		After: func() {
			now, _ := used(m.pid)
			m.server += now - m.before
		},
	}
}

// split is an Op that divides its n over so many callers, to the last one.
func split(callers int, op func(worker, n int)) func(int) {
	return func(n int) {
		var wg sync.WaitGroup
		for w := range callers {
			share := n / callers
			if w < n%callers {
				share++
			}
			wg.Go(func() { op(w, share) })
		}
		wg.Wait()
	}
}

// p99 is the time that one call in a hundred exceeds.
func (m *meter) p99() float64 {
	slices.Sort(m.latency)
	if len(m.latency) == 0 {
		return 0
	}
	return float64(m.latency[len(m.latency)*99/100])
}

func (m *meter) serverPerOp() float64 { return float64(m.server) / float64(max(m.ops.Load(), 1)) }

// compare measures clients with so many callers each.
func (r *run) compare(title string, pid, callers int, clients []client) ([]side.Result, map[string]*meter, error) {
	meters := map[string]*meter{}
	var variants []side.Variant
	for _, c := range clients {
		m := &meter{client: c, pid: pid}
		meters[c.name] = m
		variants = append(variants, m.variant(callers, remoteNames))
	}
	plan := r.plan
	if callers > 64 {
		plan.Round *= 2 // else a slow one makes a handful of calls each
	}
	if callers == 1 && !r.quick {
		plan.Rounds = max(plan.Rounds, 21) // a tie is to be told from a loss of three percent
	}
	res := r.measure(title, plan, variants...)
	for _, c := range clients {
		m := meters[c.name]
		fmt.Fprintf(r.out, "  %-28s server %6.2f us/op, p99 %6.0f us\n", c.name, m.serverPerOp()/1e3, m.p99()/1e3)
		if n := m.failures.Load(); n > 0 {
			return nil, nil, fmt.Errorf("%s: %d of %d calls failed", c.name, n, m.ops.Load())
		}
	}
	return res, meters, nil
}

var remoteNames = func() []string {
	keys := make([]string, remoteKeys)
	for i := range keys {
		keys[i] = fmt.Sprintf("user:%011d", i)
	}
	return keys
}()

// through makes a client of a store.
func through(name string, s backends.Store, close func()) client {
	return client{name, func(ctx context.Context, key string) (int, error) {
		it, err := s.Get(ctx, key)
		return len(it.Value), err
	}, close}
}

// callers are the numbers of callers to measure with; in a hurry, those that have goals.
func (r *run) callers(net string) []int {
	if r.quick && net != "loopback" {
		return []int{256}
	}
	return []int{1, 64, 256}
}

func (r *run) redis() error {
	if err := fillRedis(r.servers.redis.Addr()); err != nil {
		return err
	}
	for _, net := range []struct{ name, addr string }{
		{"loopback", r.servers.redis.Addr()}, {"0.5 ms", r.servers.far["redis"]},
	} {
		clients, err := redisClients(net.addr)
		if err != nil {
			return err
		}
		for _, callers := range r.callers(net.name) {
			title := fmt.Sprintf("Redis, %s, %d callers", net.name, callers)
			res, meters, err := r.compare(title, r.servers.redis.PID(), callers, clients)
			if err != nil {
				r.fail("redis", title, err)
				continue
			}
			r.redisRows(title, net.name, callers, res, meters)
		}
		for _, c := range clients {
			c.close()
		}
		runtime.GC()
	}
	return nil
}

func (r *run) redisRows(title, net string, callers int, res []side.Result, meters map[string]*meter) {
	goal := map[string]limit{"go-redis": shown, "go-redis AutoPipeline": shown, "rueidis": shown, "rueidis tuned": shown}
	switch {
	case callers == 1 && net == "loopback":
		goal["go-redis"] = atLeast(0.97, 0.92)
	case net == "loopback" && callers == 64:
		goal = map[string]limit{
			"go-redis": atLeast(4.5, 3.5), "go-redis AutoPipeline": atLeast(1.5, 1.3),
			"rueidis": atLeast(2, 1.6), "rueidis tuned": atLeast(1.1, 1.0),
		}
	case net == "loopback":
		goal["go-redis"], goal["go-redis AutoPipeline"], goal["rueidis"] = atLeast(6, 4.5), atLeast(1.9, 1.5), atLeast(2, 1.6)
	case callers == 256:
		goal["go-redis"], goal["go-redis AutoPipeline"], goal["rueidis"] = atLeast(5, 4), atLeast(1.4, 1.2), atLeast(1.4, 1.2)
	}
	for _, peer := range []string{"go-redis", "go-redis AutoPipeline", "rueidis", "rueidis tuned", "go-redis, pool of 100"} {
		r.speed("redis", title+": "+peer, res, "hearth", peer, goal[peer])
	}
	r.speed("redis", title+": go-redis, through a whole tier.Cache", res, "hearth, a whole tier.Cache", "go-redis", shown)
	r.serverRow("redis", title, meters["hearth"], meters["go-redis"], callers)
	r.add("redis", title+": p99 against plain go-redis", "ns", meters["hearth"].p99(), meters["go-redis"].p99(),
		meters["hearth"].p99()/meters["go-redis"].p99(), shown)
}

// serverRow compares what a key costs the server.
func (r *run) serverRow(section, title string, hearth, peer *meter, callers int) {
	l := shown
	if callers >= 64 {
		l = atMost(0.2, 0.3)
	}
	h, p := hearth.serverPerOp(), peer.serverPerOp()
	r.add(section, title+": server CPU per key, "+hearth.name+" against "+peer.name, "ns", h, p, h/p, l)
}

// patience is how long hearth waits here: as long as go-redis does by default. With the 250 ms of a
// cache, a busy machine would end the measurement.
const patience = 3 * time.Second

func patient(addr string) *goredis.Options {
	o := redis.Options(addr)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = patience, patience, patience, patience
	return o
}

// redisClients: go-redis with its defaults; its AutoPipeline with its defaults; rueidis with its
// defaults (which pipeline on their own), and with the flush delay its author recommends for
// throughput; hearth with the options it ships for a cache, but for its patience.
func redisClients(addr string) ([]client, error) {
	plain := goredis.NewClient(&goredis.Options{Addr: addr})
	wide := goredis.NewClient(&goredis.Options{Addr: addr, PoolSize: 100})
	piped := goredis.NewClient(&goredis.Options{Addr: addr})
	auto, err := piped.AutoPipeline()
	if err != nil {
		return nil, err
	}
	ru, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	if err != nil {
		return nil, err
	}
	tuned, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true, MaxFlushDelay: 20 * time.Microsecond})
	if err != nil {
		return nil, err
	}
	own := goredis.NewClient(patient(addr))
	store, err := redis.New(own, redis.Config{})
	if err != nil {
		return nil, err
	}
	hearth, err := coalesce.New(store, coalesce.Config{Timeout: patience})
	if err != nil {
		return nil, err
	}
	whole, err := tier.New(tier.Config[[]byte]{
		Namespace: "remote", TTL: time.Hour, Local: tier.Local[[]byte]{Disabled: true},
		Remotes: []tier.Remote{{Name: "redis", Store: hearth, Timeout: patience}},
	})
	if err != nil {
		return nil, err
	}
	fails := make([]error, 64)
	split(len(fails), func(w, n int) {
		for i := w; i < len(remoteNames) && fails[w] == nil; i += len(fails) {
			fails[w] = whole.Set(context.Background(), remoteNames[i], smallJSON(uint64(i)))
		}
	})(len(fails))
	if err := errors.Join(fails...); err != nil {
		return nil, err
	}
	goGet := func(c interface {
		Get(context.Context, string) *goredis.StringCmd
	}) func(context.Context, string) (int, error) {
		return func(ctx context.Context, key string) (int, error) {
			v, err := c.Get(ctx, key).Result()
			return len(v), err
		}
	}
	ruGet := func(c rueidis.Client) func(context.Context, string) (int, error) {
		return func(ctx context.Context, key string) (int, error) {
			v, err := c.Do(ctx, c.B().Get().Key(key).Build()).ToString()
			return len(v), err
		}
	}
	return []client{
		{"go-redis", goGet(plain), func() { _ = plain.Close() }},
		{"go-redis, pool of 100", goGet(wide), func() { _ = wide.Close() }},
		{"go-redis AutoPipeline", goGet(auto), func() { _ = auto.Close(); _ = piped.Close() }},
		{"rueidis", ruGet(ru), ru.Close},
		{"rueidis tuned", ruGet(tuned), tuned.Close},
		through("hearth", hearth, func() { _ = own.Close() }),
		{"hearth, a whole tier.Cache", func(ctx context.Context, key string) (int, error) {
			v, err := whole.Get(ctx, key)
			return len(v), err
		}, func() { _ = whole.Close(context.Background()) }},
	}, nil
}

func fillRedis(addr string) error {
	ctx := context.Background()
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	defer func() { _ = c.Close() }()
	pipe := c.Pipeline()
	for i, k := range remoteNames {
		pipe.Set(ctx, k, smallJSON(uint64(i)), 0)
	}
	_, err := pipe.Exec(ctx)
	return err
}

func (r *run) memcached() error {
	if err := fillMemcached(r.servers.memcached.Addr()); err != nil {
		return err
	}
	for _, net := range []struct{ name, addr string }{
		{"loopback", r.servers.memcached.Addr()}, {"0.5 ms", r.servers.far["memcached"]},
	} {
		clients, err := memcachedClients(net.addr)
		if err != nil {
			return err
		}
		for _, callers := range r.callers(net.name) {
			title := fmt.Sprintf("memcached, %s, %d callers", net.name, callers)
			res, meters, err := r.compare(title, r.servers.memcached.PID(), callers, clients)
			if err != nil {
				r.fail("memcached", title, err)
				continue
			}
			r.memcachedRows(title, net.name, callers, res, meters)
		}
		for _, c := range clients {
			c.close()
		}
	}
	return nil
}

func (r *run) memcachedRows(title, net string, callers int, res []side.Result, meters map[string]*meter) {
	multi, own, tail := shown, shown, shown
	switch {
	case net == "loopback" && callers == 1:
		multi, own = atLeast(0.97, 0.92), atLeast(0.97, 0.92)
	case net == "loopback" && callers == 64:
		multi, own, tail = atLeast(3, 2.3), atLeast(4.5, 3.5), atMost(0.2, 0.3)
	case net == "loopback":
		multi, own, tail = atLeast(3.5, 2.3), atLeast(5.5, 3.5), atMost(0.2, 0.3)
	}
	r.speed("memcached", title+": on gomemcache's GetMulti", res, "hearth on gomemcache", "gomemcache", multi)
	r.speed("memcached", title+": on our connection", res, "hearth", "gomemcache", own)
	h, p := meters["hearth"], meters["gomemcache"]
	r.add("memcached", title+": p99 on our connection", "ns", h.p99(), p.p99(), h.p99()/p.p99(), tail)
	on := meters["hearth on gomemcache"]
	r.add("memcached", title+": p99 on gomemcache's GetMulti", "ns", on.p99(), p.p99(), on.p99()/p.p99(), tail)
	r.serverRow("memcached", title, h, p, callers)
	r.serverRow("memcached", title, meters["hearth on gomemcache"], p, callers)
}

// memcachedClients: gomemcache with as many idle connections as there are callers at most (with
// its default of two most calls dial); hearth over it, and over its own connections.
func memcachedClients(addr string) ([]client, error) {
	plain := memcache.New(addr)
	plain.MaxIdleConns, plain.Timeout = 300, 5*time.Second
	clients := []client{{"gomemcache", func(_ context.Context, key string) (int, error) {
		it, err := plain.Get(key)
		if err != nil {
			return 0, err
		}
		return len(it.Value), nil
	}, func() { _ = plain.Close() }}}
	for _, kind := range []struct {
		name      string
		transport memcached.Transport
	}{{"hearth on gomemcache", memcached.Gomemcache}, {"hearth", memcached.Meta}} {
		s, err := memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: addr}}, Transport: kind.transport, Timeout: 5 * time.Second})
		if err != nil {
			return nil, err
		}
		c, err := coalesce.New(s, coalesce.Config{Timeout: patience})
		if err != nil {
			return nil, err
		}
		clients = append(clients, through(kind.name, c, func() { _ = s.Close() }))
	}
	return clients, nil
}

func fillMemcached(addr string) error {
	s, err := memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: addr}}, Transport: memcached.Meta, Timeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	entries := make([]backends.KeyItem, len(remoteNames))
	for i, k := range remoteNames {
		entries[i] = backends.KeyItem{Key: k, Item: backends.Item{Value: smallJSON(uint64(i))}}
	}
	for _, err := range s.SetMany(context.Background(), entries) {
		if err != nil {
			return err
		}
	}
	return nil
}
