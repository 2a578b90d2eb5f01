package tracking

import (
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// onEachNode returns one key per master, by the node's address.
func onEachNode(t *testing.T, c *goredis.ClusterClient, ns string, nodes int) map[string]string {
	t.Helper()
	found := map[string]string{}
	for i := 0; len(found) < nodes; i++ {
		key := fmt.Sprintf("%s:%d", ns, i)
		m, err := c.MasterForKey(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := found[m.Options().Addr]; !ok {
			found[m.Options().Addr] = key
		}
	}
	return found
}

func do(t *testing.T, addr string, args ...any) any {
	t.Helper()
	c := connect(t, addr)
	v, err := c.Do(t.Context(), args...).Result()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return v
}

func TestWatch_Cluster(t *testing.T) {
	nodes := serverstest.RedisCluster(t, 3)
	serverstest.Real(t, nodes)
	o := redis.ClusterOptions(nodes.Addrs()...)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = 10*time.Second, 10*time.Second, 10*time.Second
	c := goredis.NewClusterClient(o)
	t.Cleanup(func() { _ = c.Close() })
	keys := onEachNode(t, c, "ns", 3)
	s := source(t, c, Config{Namespace: "ns", Ping: 100 * time.Millisecond, DeadAfter: 10 * time.Second, Refresh: 50 * time.Millisecond})
	l := sinktest.Watch(t, s)

	t.Run("every node has proved that it pushes", func(t *testing.T) {
		for _, addr := range nodes.Addrs() {
			if n := calls(t, connect(t, addr), "set"); n != 1 {
				t.Errorf("%d probes on %s", n, addr)
			}
		}
	})
	t.Run("every node is heard", func(t *testing.T) {
		for _, k := range keys {
			l.Put(k)
			set(t, c, k)
			l.Gone(t, k)
		}
		if n := len(l.State().Flushes); n != 1 {
			t.Errorf("flushes %q, want one", l.State().Flushes)
		}
	})
	t.Run("and one listener would not do", func(t *testing.T) {
		deaf := source(t, c, calm("ns"))
		deaf.oneNode = true
		l := sinktest.Watch(t, deaf)
		for _, k := range keys {
			l.Put(k)
			set(t, c, k)
		}
		l.Await(t, "one key is forgotten", func(s sinktest.State) bool { return len(s.Keys) == 2 })
	})
	t.Run("each node's FLUSHALL", func(t *testing.T) {
		for addr := range keys {
			l.Put("ns:x")
			l.Flushed(t, func() { do(t, addr, "FLUSHALL") })
		}
	})
	t.Run("another process's flush", func(t *testing.T) {
		l.Flushed(t, func() {
			if err := source(t, c, calm("ns")).PublishFlush(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("a slot that moves", func(t *testing.T) {
		from, to := nodes.Addrs()[0], nodes.Addrs()[1]
		key := keys[from]
		set(t, c, key)
		slot := do(t, from, "CLUSTER", "KEYSLOT", key)
		source, target := do(t, from, "CLUSTER", "MYID"), do(t, to, "CLUSTER", "MYID")
		l.Put(key)
		l.Flushed(t, func() {
			do(t, to, "CLUSTER", "SETSLOT", slot, "IMPORTING", source)
			do(t, from, "CLUSTER", "SETSLOT", slot, "MIGRATING", target)
			host, port, _ := strings.Cut(to, ":")
			do(t, from, "MIGRATE", host, port, key, 0, 5000)
			l.Gone(t, key) // it left its old node
			do(t, to, "CLUSTER", "SETSLOT", slot, "NODE", target)
			do(t, from, "CLUSTER", "SETSLOT", slot, "NODE", target)
		})
		l.Put(key)
		do(t, to, "SET", key, "as the new owner has it")
		l.Gone(t, key)
	})
	t.Run("a node that is killed", func(t *testing.T) {
		victim := nodes.Nodes()[2]
		key := keys[victim.Addr()]
		l.Put(key)
		if err := victim.Kill(); err != nil {
			t.Fatal(err)
		}
		l.Await(t, "the link is down", func(s sinktest.State) bool { return !s.Up })
		set(t, connect(t, nodes.Addrs()[1]), keys[nodes.Addrs()[1]]) // the others go on, the link stays down
		if l.State().Up {
			t.Error("the link is up without one of the nodes")
		}
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		l.Await(t, "the link is up", func(s sinktest.State) bool { return s.Up })
		l.Gone(t, key)
	})
}

func TestWatch_FollowsASentinelFailover(t *testing.T) {
	three := serverstest.Sentinel(t)
	o := redis.FailoverOptions(three.Name, three.Watcher.Addr())
	c := goredis.NewFailoverClient(o)
	t.Cleanup(func() { _ = c.Close() })
	l := sinktest.Watch(t, source(t, c, Config{Namespace: "ns", Ping: 100 * time.Millisecond, DeadAfter: 2 * time.Second}))
	l.Put("ns:k")
	do(t, three.Master.Addr(), "SET", "ns:k", 1)
	l.Gone(t, "ns:k")
	l.Put("ns:k")
	if err := three.Master.Kill(); err != nil {
		t.Fatal(err)
	}
	l.Await(t, "the link is down", func(s sinktest.State) bool { return !s.Up })
	l.Await(t, "the link is up", func(s sinktest.State) bool { return s.Up })
	l.Gone(t, "ns:k")
	l.Put("ns:k")
	do(t, three.Replica.Addr(), "SET", "ns:k", 2) // fails unless it is the master now
	l.Gone(t, "ns:k")
}
