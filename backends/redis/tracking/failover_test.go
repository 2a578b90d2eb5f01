package tracking

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/internal/stall"
)

// CLUSTER FAILOVER: the replica takes over from a master that lives on as its replica. Nothing breaks
// the listener's connection, and the old master answers pings. Writers go on all the while; whatever
// they write must be heard, by the old master's word (it is told by the new one) or by a flush.
func TestWatch_AMasterThatBecomesAReplica(t *testing.T) {
	nodes := serverstest.RedisCluster(t, 3)
	serverstest.Real(t, nodes)
	added, err := nodes.Grow(1, servers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	replica, old := added[0], nodes.Nodes()[2]
	if err := nodes.Follow(replica, old); err != nil {
		t.Fatal(err)
	}
	o := redis.ClusterOptions(nodes.Addrs()[:3]...)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = 10*time.Second, 10*time.Second, 10*time.Second
	c := goredis.NewClusterClient(o)
	t.Cleanup(func() { _ = c.Close() })
	key := onEachNode(t, c, "ns", 3)[old.Addr()]
	cfg := Config{Namespace: "ns", Ping: 100 * time.Millisecond, DeadAfter: 10 * time.Second, Refresh: 200 * time.Millisecond}
	l := sinktest.Watch(t, source(t, c, cfg))

	held := stall.Measure(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writes, unheard atomic.Int64
	var slowest atomic.Int64
	var hammer sync.WaitGroup
	hammer.Go(func() {
		for ctx.Err() == nil {
			l.Put(key)
			if err := c.Set(ctx, key, writes.Add(1), 0).Err(); err != nil {
				continue // refused while the master changes
			}
			for begun := time.Now(); l.Has(key); time.Sleep(100 * time.Microsecond) {
				if time.Since(begun) > 15*time.Second || ctx.Err() != nil {
					unheard.Add(1)
					break
				}
				slowest.Store(max(slowest.Load(), int64(time.Since(begun))))
			}
		}
	})
	await(t, "writes before it", func() bool { return writes.Load() > 100 })
	before := time.Duration(slowest.Load())
	do(t, replica.Addr(), "CLUSTER", "FAILOVER")
	await(t, "the old master is a replica", func() bool {
		role, _ := do(t, old.Addr(), "ROLE").([]any)
		return len(role) > 0 && role[0] == "slave"
	})
	l.Await(t, "the change of the topology was noticed", func(s sinktest.State) bool {
		return strings.Contains(strings.Join(s.Flushes, ", "), "topology")
	})
	l.Await(t, "the new master is listened to", func(s sinktest.State) bool { return s.Up && s.Ups > 1 })
	n := writes.Load()
	await(t, "writes after it", func() bool { return writes.Load() > n+100 })
	cancel()
	hammer.Wait()
	if unheard.Load() > 1 { // the last one may have been given up by the end of the test
		t.Errorf("%d writes were not heard", unheard.Load())
	}
	// The bound of the promise: the next look at the topology, a connection, and what the machine took from us.
	if d := time.Duration(slowest.Load()); d > cfg.Refresh+2*time.Second+held.Lost() {
		t.Errorf("a write was heard %v later, the machine had other things to do for %v", d, held.Lost())
	}
	l.Put(key)
	do(t, replica.Addr(), "SET", key, "as the new master has it")
	l.Gone(t, key)
	t.Logf("%d writes; the slowest was heard after %v, before the failover after %v; the link came up %d times",
		writes.Load(), time.Duration(slowest.Load()), before, l.State().Ups)
}
