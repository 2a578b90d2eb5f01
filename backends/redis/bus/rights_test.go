package bus

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// manual returns the rights that the package comment names for one server.
func manual(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, acl, _ := strings.Cut(string(text), "\tACL SETUSER bus ")
	acl, rest, _ := strings.Cut(acl, "\n//\n")
	rights := strings.Fields(strings.ReplaceAll(acl, "//", ""))
	if len(rights) < 8 || !strings.Contains(rest, "on a Cluster, on all of its nodes, +cluster|slots besides") {
		t.Fatalf("the manual names %q, and then %q", rights, rest)
	}
	return rights
}

func TestBus_NeedsNoMoreThanTheRightsInTheManualOnACluster(t *testing.T) {
	nodes := serverstest.RedisCluster(t, 3)
	serverstest.Real(t, nodes)
	rights := append(manual(t), "+cluster|slots")
	for _, sharded := range []bool{false, true} {
		name := "plain"
		if sharded {
			name = "sharded"
			for i, r := range rights {
				switch r {
				case "+subscribe", "+publish":
					rights[i] = "+s" + r[1:]
				}
			}
		}
		t.Run(name, func(t *testing.T) {
			args := []any{"ACL", "SETUSER", name}
			for _, r := range rights {
				args = append(args, r)
			}
			for _, addr := range nodes.Addrs() {
				if err := connect(t, addr).Do(t.Context(), args...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			o := redis.ClusterOptions(nodes.Addrs()...)
			o.Username, o.Password = name, "secret"
			o.DialTimeout, o.ReadTimeout, o.WriteTimeout = 10*time.Second, 10*time.Second, 10*time.Second
			c := goredis.NewClusterClient(o)
			t.Cleanup(func() { _ = c.Close() })
			cfg := calm("user")
			cfg.Sharded = sharded
			l, peer := sinktest.Watch(t, source(t, c, cfg)), source(t, c, cfg)
			publish(t, peer, "user:0") // the first word of a peer may flush
			l.Put("user:1")
			publish(t, peer, "user:1")
			l.Gone(t, "user:1")

			for _, addr := range nodes.Addrs() {
				if err := connect(t, addr).Do(t.Context(), "ACL", "SETUSER", name, "-cluster|slots").Err(); err != nil {
					t.Fatal(err)
				}
			}
			lost := goredis.NewClusterClient(o)
			t.Cleanup(func() { _ = lost.Close() })
			_, ended := sinktest.Start(t, source(t, lost, cfg)) // by its error, whoever has another source goes on with that
			select {
			case err := <-ended:
				if !errors.Is(err, backends.ErrUnsupported) || !strings.Contains(err.Error(), "cluster|slots") {
					t.Errorf("without +cluster|slots Watch ends with %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Error("without +cluster|slots Watch goes on trying")
			}
		})
	}
}
