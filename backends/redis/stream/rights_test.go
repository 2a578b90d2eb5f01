package stream

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// manual returns the rights that the package comment names for one server, and what a Cluster needs
// besides.
func manual(t *testing.T) (rights, cluster []string) {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, acl, _ := strings.Cut(string(text), "\tACL SETUSER stream ")
	acl, rest, _ := strings.Cut(acl, "\n//\n")
	rights = strings.Fields(strings.ReplaceAll(acl, "//", ""))
	_, rest, _ = strings.Cut(rest, "On a Cluster")
	rest, _, _ = strings.Cut(rest, "besides")
	cluster = regexp.MustCompile(`\+[a-z|]+`).FindAllString(rest, -1)
	if len(rights) < 8 || len(cluster) != 2 {
		t.Fatalf("the manual names %q, and %q", rights, cluster)
	}
	return rights, cluster
}

func TestStream_NeedsNoMoreThanTheRightsInTheManualOnACluster(t *testing.T) {
	nodes := serverstest.RedisCluster(t, 3)
	serverstest.Real(t, nodes)
	rights, cluster := manual(t)
	full := slices.Concat(rights, cluster)
	do := func(addr string, args ...any) any {
		t.Helper()
		v, err := connect(t, addr).Do(t.Context(), args...).Result()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return v
	}
	user := func(name string, rights ...string) *goredis.ClusterClient {
		args := []any{"ACL", "SETUSER", name}
		for _, r := range rights {
			args = append(args, r)
		}
		for _, addr := range nodes.Addrs() {
			do(addr, args...)
		}
		o := redis.ClusterOptions(nodes.Addrs()...)
		o.Username, o.Password = name, "secret"
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout = 10*time.Second, 10*time.Second, 10*time.Second
		c := goredis.NewClusterClient(o)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	c := user("stream", full...)
	l, peer := sinktest.Watch(t, source(t, c, calm("user"))), source(t, c, calm("user"))
	publish(t, peer, "user:0") // the first word of a peer may flush
	l.Put("user:1")
	publish(t, peer, "user:1")
	l.Gone(t, "user:1")

	// The log's slot moves: what is said meanwhile gets there by ASK.
	master, err := c.MasterForKey(t.Context(), "user!log")
	if err != nil {
		t.Fatal(err)
	}
	from := master.Options().Addr
	to := nodes.Addrs()[0]
	if to == from {
		to = nodes.Addrs()[1]
	}
	slot := do(from, "CLUSTER", "KEYSLOT", "user!log")
	do(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", do(from, "CLUSTER", "MYID"))
	do(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", do(to, "CLUSTER", "MYID"))
	host, port, _ := strings.Cut(to, ":")
	do(from, "MIGRATE", host, port, "user!log", 0, 5000)
	publish(t, peer, "user:2")
	mute := source(t, user("mute", append(slices.Clone(full), "-asking")...), calm("user"))
	if err := mute.Publish(t.Context(), []string{"user:2"}); err == nil {
		t.Error("without +asking it gets there as well")
	}

	// What goes on with another source does so by this error.
	_, ended := sinktest.Start(t, source(t, user("lost", append(slices.Clone(full), "-cluster|slots")...), calm("user")))
	select {
	case err := <-ended:
		if !errors.Is(err, backends.ErrUnsupported) || !strings.Contains(err.Error(), "cluster|slots") {
			t.Errorf("without +cluster|slots Watch ends with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("without +cluster|slots Watch goes on trying")
	}
}
