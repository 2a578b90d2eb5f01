package firstof

import (
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/bus"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/backends/redis/tracking"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// Two processes of one service, and one of them has not got the right to track. What the other one
// writes without the tracking server seeing it (here: nothing is written at all) must reach it too.
func TestPublish_ReachesAProcessThatListensElsewhere(t *testing.T) {
	srv := serverstest.Redis(t)
	serverstest.Real(t, srv)
	connect := func(user string) *goredis.Client {
		o := redis.Options(srv.Addr())
		if user != "" {
			o.Username, o.Password = user, "secret"
		}
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = 10*time.Second, 10*time.Second, 10*time.Second, 10*time.Second
		c := goredis.NewClient(o)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	process := func(c *goredis.Client) *Source {
		best, err := tracking.New(c, tracking.Config{Namespace: "user", Ping: 100 * time.Millisecond, DeadAfter: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		second, err := bus.New(c, bus.Config{Namespace: "user", Ping: 100 * time.Millisecond, DeadAfter: 30 * time.Second, Timeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(Config{Sources: []backends.Invalidator{best, second}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	admin := connect("")
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "meagre", "on", ">secret", "resetkeys", "resetchannels", "-@all",
		"&user!bus", "+subscribe", "+publish", "+ping").Err(); err != nil {
		t.Fatal(err)
	}
	a, b := process(admin), process(connect("meagre"))
	la, lb := sinktest.Watch(t, a), sinktest.Watch(t, b)
	if !strings.HasPrefix(a.String(), "tracking") || !strings.HasPrefix(b.String(), "bus") || !a.StoredOnly() || b.StoredOnly() {
		t.Fatalf("they use %s and %s", a, b)
	}
	lb.Put("user:1")
	if err := a.Publish(t.Context(), []string{"user:1"}); err != nil {
		t.Fatal(err)
	}
	lb.Gone(t, "user:1")
	lb.Flushed(t, func() {
		if err := a.PublishFlush(t.Context()); err != nil {
			t.Error(err)
		}
	})
	la.Put("user:2")
	if err := admin.Set(t.Context(), "user:2", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	la.Gone(t, "user:2")
}
