package tracking

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// clusterUser returns a client of a cluster by a user with these rights.
func clusterUser(t *testing.T, nodes *servers.Cluster, name string, rights ...string) *goredis.ClusterClient {
	t.Helper()
	for _, addr := range nodes.Addrs() {
		args := []any{"ACL", "SETUSER", name}
		for _, r := range rights {
			args = append(args, r)
		}
		do(t, addr, args...)
	}
	o := redis.ClusterOptions(nodes.Addrs()...)
	o.Username, o.Password = name, "secret"
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = 10*time.Second, 10*time.Second, 10*time.Second
	c := goredis.NewClusterClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestWatch_NeedsNoMoreThanTheRightsInTheManualOnACluster(t *testing.T) {
	nodes := serverstest.RedisCluster(t, 3)
	serverstest.Real(t, nodes)
	full := slices.Concat(rights, clusterRights)
	if len(rights) < 10 || len(clusterRights) != 3 {
		t.Fatalf("the manual names %q and %q", rights, clusterRights)
	}
	without := func(right string) []string {
		return append(slices.Clone(full), strings.Replace(right, "+", "-", 1))
	}
	cfg := Config{Namespace: "user", Ping: 100 * time.Millisecond, DeadAfter: 30 * time.Second, Refresh: 50 * time.Millisecond}
	from, to := nodes.Addrs()[0], nodes.Addrs()[1]

	c := clusterUser(t, nodes, "cache", full...)
	key := onEachNode(t, c, "user", 3)[from]
	store, err := redis.New(c, redis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := source(t, c, cfg)
	l := sinktest.Watch(t, s)
	change := func(what string) {
		t.Helper()
		l.Put(key)
		lease, _, err := store.Acquire(t.Context(), key, time.Minute)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := lease.Fill(t.Context(), backends.Item{Value: []byte("v"), TTL: time.Minute}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		l.Gone(t, key)
	}
	change("at rest")
	finish := lead(t, c, key, from, to) // reads it by ASK
	asksInVain := clusterUser(t, nodes, "meagre", without("+asking")...)
	if err := asksInVain.Get(t.Context(), key).Err(); err == nil || !strings.Contains(err.Error(), "asking") {
		t.Errorf("without +asking: %v", err)
	}
	if err := store.Delete(t.Context(), key); err != nil {
		t.Errorf("while the slot moves: %v", err)
	}
	change("while the slot moves")
	finish()
	if err := store.Delete(t.Context(), key); err != nil {
		t.Errorf("after the move: %v", err)
	}
	change("after the move")
	l.Flushed(t, func() {
		if err := s.PublishFlush(t.Context()); err != nil {
			t.Error(err)
		}
	})

	for _, right := range []string{"+cluster|slots", "+cluster|nodes", "+client|tracking"} {
		_, ended := sinktest.Start(t, source(t, clusterUser(t, nodes, "no"+right[len(right)-5:], without(right)...), cfg))
		select {
		case err := <-ended:
			if !errors.Is(err, backends.ErrUnsupported) || !strings.Contains(err.Error(), strings.ToLower(right[1:])) {
				t.Errorf("without %s: %v", right, err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("without %s Watch goes on", right)
		}
	}
}
