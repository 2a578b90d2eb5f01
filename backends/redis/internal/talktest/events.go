package talktest

import (
	"errors"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis/internal/link"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/internal/faultproxy"
	"github.com/hearthcache/hearth/internal/faultproxy/faultproxytest"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/internal/stall"
)

// ClusterChanges moves the slot on which the processes talk to another master and on to a third one,
// takes the second one out of the cluster, kills the third one and starts it again, gives it a
// replica, and kills it for good.
func ClusterChanges(t *testing.T, kinds ...Kind) {
	// Long enough for a busy machine, short enough to wait for a replica that takes over.
	// A master that has given away its slots stays one.
	args := []string{"--cluster-node-timeout", "2000", "--cluster-allow-replica-migration", "no"}
	nodes := serverstest.RedisCluster(t, 3, args...)
	serverstest.Real(t, nodes)
	added, err := nodes.Grow(2, servers.Options{Args: args})
	if err != nil {
		t.Fatal(err)
	}
	guest, replica := added[0], added[1]
	seeds := nodes.Addrs()[:3]
	connect := func() goredis.UniversalClient { return Cluster(t, seeds...) }
	slot, home, err := nodes.SlotOf(kinds[0].Place)
	if err != nil {
		t.Fatal(err)
	}
	last := nodes.Nodes()[0]
	if last == home {
		last = nodes.Nodes()[1]
	}

	hammers := make([]*hammer, len(kinds))
	for i, k := range kinds {
		hammers[i] = swing(t, k, connect)
		hammers[i].goesOn(t)
	}
	// The hammers' waits lie in each other, so that act comes when all have begun.
	flushed := func(t *testing.T, act func()) {
		t.Helper()
		for _, h := range hammers {
			next := act
			act = func() { h.flushed(t, next) }
		}
		act()
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	t.Run("a slot that moves", func(t *testing.T) {
		flushed(t, func() { must(t, nodes.Move(slot, home, guest)) })
		for _, h := range hammers {
			h.up(t)
		}
	})
	t.Run("a master that is taken out of the cluster and lives on", func(t *testing.T) {
		flushed(t, func() {
			must(t, nodes.Move(slot, guest, last))
			must(t, nodes.Expel(guest))
		})
		for _, h := range hammers {
			h.up(t)
			h.settle(t)
		}
	})
	if t.Failed() {
		return
	}
	for i, k := range kinds {
		hammers[i] = swing(t, k, connect)
	}
	t.Run("a master without a replica that is killed", func(t *testing.T) {
		all := make([]*caches, len(kinds))
		for i, k := range kinds {
			all[i] = open(t, k, connect(), connect)
			all[i].change(t, "before")
			all[i].healthy(t, "before")
		}
		must(t, last.Kill())
		for i, h := range hammers {
			h.down(t)
			all[i].passed(t, "before", "after")
		}
		must(t, last.Start())
		for i, h := range hammers {
			h.up(t)
			all[i].healthy(t, "after")
		}
	})
	t.Run("a replica that takes over", func(t *testing.T) {
		must(t, nodes.Follow(replica, last))
		for _, h := range hammers {
			h.goesOn(t)
		}
		flushed(t, func() { must(t, last.Kill()) })
		for _, h := range hammers {
			h.up(t)
			h.settle(t)
		}
	})
}

// SentinelFailover kills a master, and Sentinel makes its replica the master.
func SentinelFailover(t *testing.T, k Kind) {
	three := serverstest.Sentinel(t)
	h := swing(t, k, func() goredis.UniversalClient { return failover(t, three) })
	h.goesOn(t)
	h.flushed(t, func() {
		if err := three.Master.Kill(); err != nil {
			t.Fatal(err)
		}
	})
	h.up(t)
	h.settle(t)
}

// Restart kills a server and starts it again.
func Restart(t *testing.T, k Kind) {
	srv := serverstest.Redis(t)
	h := swing(t, k, func() goredis.UniversalClient { return sinktest.Connect(t, srv.Addr()) })
	h.goesOn(t)
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	h.down(t)
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	h.up(t)
	h.settle(t)
}

// BlackHole lets a link swallow everything: the link counts as down in time, L1 does what its
// setting says, and comes back when the link does.
func BlackHole(t *testing.T, k Kind) {
	srv := serverstest.Redis(t)
	p := faultproxytest.New(t, srv.Addr())
	behind := func() goredis.UniversalClient { return sinktest.Connect(t, p.Addr()) }
	direct := sinktest.Connect(t, srv.Addr())
	l := sinktest.Watch(t, k.source(t, behind(), quiet))
	c := open(t, k, direct, behind)
	c.change(t, "0")
	c.healthy(t, "0")
	now, held := "0", stall.Measure(t)
	for _, f := range []faultproxy.Fault{
		{Down: faultproxy.Flow{Stall: true}},
		{Up: faultproxy.Flow{Stall: true}},
	} {
		next, before := now+"+", held.Lost()
		p.Set(f)
		l.Await(t, "the link is down", func(s sinktest.State) bool { return !s.Up })
		s := l.State()
		if err := s.Downs[len(s.Downs)-1]; !errors.Is(err, link.ErrSilent) {
			t.Errorf("down because of %v, want silence", err)
		}
		// The bound of the promise, half a second, and what the machine took from us.
		if d, lost := time.Since(s.Alive), held.Lost()-before; d > watchful.DeadAfter+watchful.Ping+500*time.Millisecond+lost {
			t.Errorf("down %v after the last sign of life, the machine had other things to do for %v", d, lost)
		}
		c.passed(t, now, next)
		l.PutOld(old)
		p.Clear()
		l.Await(t, "the link is up", func(s sinktest.State) bool { return s.Up })
		c.healthy(t, next)
		l.Gone(t, old)
		now = next
	}
}
