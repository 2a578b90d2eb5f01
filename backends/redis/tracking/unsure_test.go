package tracking

import (
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/internal/link"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func TestWatch_ClusterThatChanges(t *testing.T) {
	// Long enough for a busy machine, short enough to wait for a replica that takes over.
	args := []string{"--cluster-node-timeout", "3000"}
	nodes := serverstest.RedisCluster(t, 3, args...)
	serverstest.Real(t, nodes)
	added, err := nodes.Grow(2, servers.Options{Args: args})
	if err != nil {
		t.Fatal(err)
	}
	empty, replica, victim := added[0], added[1], nodes.Nodes()[2]
	o := redis.ClusterOptions(append(nodes.Addrs()[:3], empty.Addr())...)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = 10*time.Second, 10*time.Second, 10*time.Second
	c := goredis.NewClusterClient(o)
	t.Cleanup(func() { _ = c.Close() })
	keys := onEachNode(t, c, "ns", 3)
	from := nodes.Addrs()[0]
	key := keys[from]
	// No look at the topology helps before the client is sent somewhere.
	rarely := Config{Namespace: "ns", Ping: 100 * time.Millisecond, DeadAfter: time.Minute, Refresh: 30 * time.Second}

	t.Run("a master without slots is heard, also one of those that the client asks first", func(t *testing.T) {
		l := sinktest.Watch(t, source(t, c, rarely))
		do(t, empty.Addr(), "CONFIG", "SET", "cluster-allow-replica-migration", "no") // it stays a master
		for _, value := range []string{"has never had any", "has none any more, and the client knows it"} {
			set(t, c, key)
			finish := lead(t, c, key, from, empty.Addr())
			l.Put(key)
			asking(t, empty.Addr(), "SET", key, value)
			l.Gone(t, key)
			finish()
			agreed(t, nodes, key, empty.Addr())
			do(t, empty.Addr(), "DEL", key)
			lead(t, nil, key, empty.Addr(), from)()
			agreed(t, nodes, key, from)
		}
	})
	t.Run("a node that has just joined is heard as soon as the client is sent there", func(t *testing.T) {
		l := sinktest.Watch(t, source(t, c, rarely))
		joined, err := nodes.Grow(1, servers.Options{Args: args})
		if err != nil {
			t.Fatal(err)
		}
		set(t, c, key)
		ups := l.State().Ups
		finish := lead(t, c, key, from, joined[0].Addr())
		l.Await(t, "the link went down and came up with the new node", func(s sinktest.State) bool { return s.Up && s.Ups > ups })
		l.Put(key)
		asking(t, joined[0].Addr(), "SET", key, "changed where it is now")
		l.Gone(t, key)
		finish()
	})
	t.Run("a replica that takes over", func(t *testing.T) {
		if err := nodes.Follow(replica, victim); err != nil {
			t.Fatal(err)
		}
		l := sinktest.Watch(t, source(t, c, Config{Namespace: "ns", Ping: 100 * time.Millisecond, DeadAfter: 10 * time.Second, Refresh: 50 * time.Millisecond}))
		key := keys[victim.Addr()]
		l.Put(key)
		if err := victim.Kill(); err != nil {
			t.Fatal(err)
		}
		l.Await(t, "the link is down", func(s sinktest.State) bool { return !s.Up })
		l.Await(t, "the link is up without the dead node", func(s sinktest.State) bool { return s.Up })
		l.Gone(t, key)
		l.Put(key)
		do(t, replica.Addr(), "SET", key, "as the new master has it")
		l.Gone(t, key)
	})
}

// lead begins to move the slot of key to another node, so that c, if there is one, is sent there by ASK.
// It returns what ends the move.
func lead(t *testing.T, c *goredis.ClusterClient, key, from, to string) (finish func()) {
	t.Helper()
	slot := do(t, from, "CLUSTER", "KEYSLOT", key)
	source, target := do(t, from, "CLUSTER", "MYID"), do(t, to, "CLUSTER", "MYID")
	do(t, to, "CLUSTER", "SETSLOT", slot, "IMPORTING", source)
	do(t, from, "CLUSTER", "SETSLOT", slot, "MIGRATING", target)
	host, port, _ := strings.Cut(to, ":")
	do(t, from, "MIGRATE", host, port, key, 0, 5000)
	if c != nil {
		if err := c.Get(t.Context(), key).Err(); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		t.Helper()
		do(t, to, "CLUSTER", "SETSLOT", slot, "NODE", target)
		do(t, from, "CLUSTER", "SETSLOT", slot, "NODE", target)
	}
}

// agreed waits until every node says that owner has the key's slot: what a node has sent before it knew
// can undo a move that follows at once.
func agreed(t *testing.T, nodes *servers.Cluster, key, owner string) {
	t.Helper()
	slot := do(t, owner, "CLUSTER", "KEYSLOT", key).(int64)
	for _, addr := range nodes.Addrs() {
		c := connect(t, addr)
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			//lint:ignore SA1019 servers before 7.0 do not know the other one
			ranges, err := c.ClusterSlots(t.Context()).Result()
			if slices.ContainsFunc(ranges, func(r goredis.ClusterSlot) bool {
				return int64(r.Start) <= slot && slot <= int64(r.End) && r.Nodes[0].Addr == owner
			}) {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s does not know that %s has slot %d: %v", addr, owner, slot, err)
			}
		}
	}
}

// asking sends one command to a node that is about to be given the key's slot.
func asking(t *testing.T, addr string, args ...any) {
	t.Helper()
	c := connect(t, addr).Conn()
	defer c.Close()
	if err := c.Do(t.Context(), "ASKING").Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
}

// A replica that the client has met, and an alias of a node, are no reason to stay down.
func TestExplain_SettlesWhatTheTopologyNames(t *testing.T) {
	for _, c := range []struct {
		name    string
		masters []string
		replica string
		listen  bool // it is listened to after the look
		unsure  bool // and still in question
	}{
		{name: "a master", masters: []string{"a", "new"}, listen: true},
		{name: "a replica", masters: []string{"a"}, replica: "new"},
		{name: "neither: slots are on their way", masters: []string{"a"}, listen: true, unsure: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			sink := sinktest.New()
			w := &watch{
				board:  link.NewBoard(sink, time.Minute),
				unsure: map[string]*goredis.Options{"new": {Addr: "new"}},
			}
			w.board.Add("a")
			w.board.Up("a")
			w.board.Doubt("new")
			w.board.Doubt("a") // is known: nothing happens
			if sink.State().Up {
				t.Fatal("the link is up while a node is in doubt")
			}
			topo := link.Topology{Nodes: map[string]*goredis.Options{}, Replicas: map[string]bool{c.replica: true}}
			for _, m := range c.masters {
				topo.Nodes[m] = &goredis.Options{Addr: m}
			}
			w.explain(w.unexplained(), topo)
			if got := topo.Nodes["new"] != nil; got != c.listen {
				t.Errorf("listened to: %v", got)
			}
			if got := len(w.unexplained()) > 0; got != c.unsure {
				t.Errorf("in question: %v", got)
			}
			if up := sink.State().Up; up != (c.replica != "") {
				t.Errorf("up: %v", up)
			}
		})
	}
}

// doubt and a look at the topology run side by side.
func TestSweep_ANodeThatIsExplainedWhileItIsDoubtedIsNoReasonToStayDown(t *testing.T) {
	sink := sinktest.New()
	w := &watch{
		board:  link.NewBoard(sink, time.Minute),
		stop:   map[string]func(){"a": func() {}},
		unsure: map[string]*goredis.Options{"replica": {Addr: "replica"}},
	}
	w.board.Add("a")
	w.board.Up("a")
	look := func() {
		w.explain(w.unexplained(), link.Topology{Nodes: map[string]*goredis.Options{"a": {Addr: "a"}}, Replicas: map[string]bool{"replica": true}})
		w.sweep()
	}
	doubted := w.unexplained()
	look()
	w.enter(doubted)
	if sink.State().Up {
		t.Fatal("the link is up while a node is in doubt")
	}
	look()
	if !sink.State().Up {
		t.Errorf("down for ever, because of %q", w.board.Lines())
	}

	w.unsure["new"] = &goredis.Options{Addr: "new"}
	w.enter(w.unexplained())
	w.sweep()
	if sink.State().Up {
		t.Error("a node that nobody has explained was swept up")
	}
}
