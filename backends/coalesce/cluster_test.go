package coalesce

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func onCluster(t testing.TB) (backends.Store, *goredis.ClusterClient, *servers.Cluster) {
	t.Helper()
	nodes := serverstest.RedisCluster(t, 3)
	serverstest.Real(t, nodes) // the stand-in is one node
	o := redis.ClusterOptions(nodes.Addrs()...)
	o.ReadTimeout, o.WriteTimeout, o.DialTimeout, o.PoolTimeout = patience, patience, patience, patience
	c := goredis.NewClusterClient(o)
	t.Cleanup(func() { c.Close() })
	s, err := redis.New(c, redis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s, c, nodes
}

// A batch is cut up by node on the way, and put together again.
func TestCluster_ABatchOverThreeNodesIsWhole(t *testing.T) {
	t.Parallel()
	inner, client, nodes := onCluster(t)
	t.Run("conformance", func(t *testing.T) { both(t, inner, backendtest.Harness{}) })
	keys := numbered("k", 200)
	for _, k := range keys {
		if err := inner.Set(t.Context(), k, backends.Item{Value: []byte("v:" + k)}); err != nil {
			t.Fatal(err)
		}
	}
	s := crowded(t, inner)
	if wrong := mistaken(t, s); wrong != 0 {
		t.Errorf("%d wrong answers", wrong)
	}
	if wrong := mistaken(t, crowded(t, swapped{inner})); wrong == 0 {
		t.Error("results in the wrong places were not noticed")
	}

	// A node that is down fails its own keys, although they travel with those of others.
	owner := map[string]string{}
	for _, k := range keys {
		node, err := client.MasterForKey(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		owner[k] = node.Options().Addr
	}
	dead := nodes.Nodes()[1]
	if err := dead.Kill(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, k := range keys {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			it, err := s.Get(ctx, k)
			switch down := owner[k] == dead.Addr(); {
			case down && (err == nil || errors.Is(err, backends.ErrMiss)):
				t.Errorf("%s, whose node is down: %q, %v", k, it.Value, err)
			case !down && (err != nil || string(it.Value) != fmt.Sprint("v:", k)):
				t.Errorf("%s: %q, %v", k, it.Value, err)
			}
		})
	}
	wg.Wait()
}
