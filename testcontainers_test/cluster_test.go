package containers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/redis"
)

const slots = 16384

// startCluster runs a Redis Cluster of three masters that know each other by the addresses that
// clients use. A node that is missing takes its own slots down only.
func startCluster(t *testing.T, i image) []*host {
	t.Helper()
	ports := freePorts(t, 3, anyPort-10000) // the nodes talk to each other 10000 further up
	nodes := make([]*host, len(ports))
	for n, port := range ports {
		nodes[n] = i.startHost(t, port,
			"--cluster-enabled", "yes",
			"--cluster-announce-ip", "127.0.0.1",
			"--cluster-node-timeout", "2000",
			"--cluster-require-full-coverage", "no",
		)
	}
	for n, h := range nodes {
		c := goredis.NewClient(redis.Options(h.addr))
		defer c.Close()
		steps := [][]any{
			{"CLUSTER", "SET-CONFIG-EPOCH", n + 1},
			{"CLUSTER", "ADDSLOTSRANGE", slots * n / 3, slots*(n+1)/3 - 1},
			{"CLUSTER", "MEET", "127.0.0.1", ports[0]},
		}
		for _, step := range steps {
			if err := c.Do(t.Context(), step...).Err(); err != nil {
				t.Fatalf("%v on node %d: %v", step, n, err)
			}
		}
	}
	for _, h := range nodes {
		await(t, "the cluster is in order", func() error { return inOrder(h) })
	}
	return nodes
}

// inOrder returns nil once the node sees three nodes, all slots and a good state.
func inOrder(h *host) error {
	c := goredis.NewClient(redis.Options(h.addr))
	defer c.Close()
	info, err := c.ClusterInfo(context.Background()).Result()
	if err != nil {
		return err
	}
	for _, want := range []string{"cluster_state:ok", "cluster_slots_ok:" + strconv.Itoa(slots), "cluster_known_nodes:3"} {
		if !strings.Contains(info, want) {
			return fmt.Errorf("no %s in %q", want, info)
		}
	}
	return nil
}

func TestCluster_ConformsAndADeadNodeFailsItsOwnKeysOnly(t *testing.T) {
	nodes := startCluster(t, image{"redis:8", "redis"})
	var addrs []string
	for _, h := range nodes {
		addrs = append(addrs, h.addr)
	}
	c := goredis.NewClusterClient(redis.ClusterOptions(addrs...))
	t.Cleanup(func() { c.Close() })
	s, err := redis.New(c, redis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("Conforms", func(t *testing.T) {
		backendtest.Run(t, func(*testing.T) backendtest.Harness { return redisHarness(s, c) })
	})
	t.Run("ADeadNodeFailsItsOwnKeysOnly", func(t *testing.T) { killNode(t, s, c, nodes[1]) })
}

// killNode ends one node: its keys fail, one by one and in a batch, and no others do.
func killNode(t *testing.T, s *redis.Store, c *goredis.ClusterClient, dead *host) {
	ctx := t.Context()
	var keys []string
	owned := map[string]bool{} // by the node that will die
	for i := range 60 {
		key := fmt.Sprintf("cluster:%d", i)
		if err := s.Set(ctx, key, backends.Item{Value: []byte(key)}); err != nil {
			t.Fatal(err)
		}
		node, err := c.MasterForKey(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
		owned[key] = sameAddr(node.Options().Addr, dead.addr)
	}
	if n := count(owned); n == 0 || n == len(keys) {
		t.Fatalf("%d of %d keys are on the node that is to die", n, len(keys))
	}
	dead.kill(t)

	check := func(how, key string, it backends.Item, err error) {
		t.Helper()
		switch {
		case owned[key] && (err == nil || errors.Is(err, backends.ErrMiss)):
			t.Errorf("%s of %s, whose node is dead: got %q, %v; want a failure", how, key, it.Value, err)
		case !owned[key] && (err != nil || string(it.Value) != key):
			t.Errorf("%s of %s, whose node is alive: got %q, %v", how, key, it.Value, err)
		}
	}
	for _, key := range keys {
		it, err := s.Get(ctx, key)
		check("get", key, it, err)
	}
	for i, r := range backends.GetMany(ctx, s, keys) {
		check("batch get", keys[i], r.Item, r.Err)
	}
}

func count(m map[string]bool) (n int) {
	for _, yes := range m {
		if yes {
			n++
		}
	}
	return n
}

// sameAddr compares by port: all nodes are on this machine.
func sameAddr(a, b string) bool {
	_, pa, _ := net.SplitHostPort(a)
	_, pb, _ := net.SplitHostPort(b)
	return pa == pb
}
