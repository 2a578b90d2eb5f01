package main

import (
	"context"
	"fmt"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/bench/internal/hammer"
	"github.com/hearthcache/hearth/tier"

	goredis "github.com/redis/go-redis/v9"
)

// The scenarios. What is promised differs between them, and with it which writes count for a
// read.
const (
	// remote: one tier, no L1. All processes read and write the same keys: after an
	// invalidation in one of them, none gets an older value.
	remote = "remote"
	// local: L1 over one tier. Each process has keys of its own, since L1 of other processes
	// may lag behind: after an invalidation in the same process, L1 included.
	local = "l1"
	// tiers: two tiers, the server in question nearer, no L1; all processes share all keys.
	// Keys keep vanishing from the nearer one, as if evicted, and are copied back.
	tiers = "tiers"
	// undelivered: one tier at which one delete in three fails. Each process has keys of its
	// own: an invalidation that is queued counts, for the process that queued it.
	undelivered = "outbox"
	// through: writes go through a Writer to the source and then into the tier, from all
	// processes at a time.
	through = "through"
)

// keysEach are few, so that readers, writers and loads meet, and enough for most reads to be
// hits.
const keysEach = 32

// own reports whether each process has keys of its own.
func (r run) own() bool { return r.Scenario == local || r.Scenario == undelivered }

// keys is the size of the history.
func (r run) keys() int {
	if r.own() {
		return keysEach * processes
	}
	return keysEach
}

// first is the number of this process's first key.
func (r run) first() int {
	if r.own() {
		return keysEach * r.Process
	}
	return 0
}

// namespace keeps runs on one server apart.
func (r run) namespace() string { return fmt.Sprintf("%s.%s.%s", r.Server, r.Scenario, r.Without) }

// config is the cache of this run.
func (r run) config(near backends.Store, s *source) tier.Config[string] {
	cfg := tier.Config[string]{
		Namespace: r.namespace(),
		TTL:       time.Minute,
		Loader:    s,
		Remotes:   []tier.Remote{{Name: r.Server, Store: near, Timeout: time.Second}},
	}
	cfg.Local.Disabled = r.Scenario != local
	switch r.Scenario {
	case tiers:
		cfg.Remotes = append(cfg.Remotes, tier.Remote{Name: "far", Store: open(r.far(), r.Addrs), Timeout: time.Second})
	case undelivered:
		f := backendtest.NewFaulty(near, uint64(r.Process)+1)
		for _, op := range []backendtest.Op{backendtest.OpDelete, backendtest.OpDeleteMany} {
			f.Inject(backendtest.Fault{Op: op, Rate: 1. / 3, Times: -1})
		}
		cfg.Remotes[0].Store = f
		cfg.Remotes[0].Breaker.Disabled = true // else it is hardly ever read
	case through:
		cfg.Writer = s
	}
	return cfg
}

// far is the other server.
func (r run) far() string {
	if r.Server == "redis" {
		return "memcached"
	}
	return "redis"
}

// open opens a store on a server by name.
func open(server string, addrs map[string]string) backends.Store {
	var s backends.Store
	var err error
	if server == "redis" {
		o := redis.Options(addrs[server])
		o.ReadTimeout, o.WriteTimeout, o.PoolTimeout, o.DialTimeout = time.Second, time.Second, time.Second, time.Second
		o.PoolSize = 64
		s, err = redis.New(goredis.NewClient(o), redis.Config{})
	} else {
		s, err = memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: addrs[server]}}, Timeout: time.Second})
	}
	if err != nil {
		panic(err) // an address we made ourselves
	}
	return s
}

// write makes one write and reports whether it is complete.
func (r run) write(ctx context.Context, c *tier.Cache[string], s *source, k int) {
	if r.Scenario == through {
		id := s.history.Name(k)
		if c.Set(ctx, hammer.Name(k), value(id)) == nil {
			s.history.Complete(k, id)
		}
		return
	}
	id := s.history.Write(k)
	err := c.Invalidate(ctx, hammer.Name(k))
	if err == nil || r.Scenario == undelivered && isQueued(err) {
		s.history.Complete(k, id)
	}
}
