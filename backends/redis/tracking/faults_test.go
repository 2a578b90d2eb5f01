package tracking

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/internal/link"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/internal/faultproxy"
	"github.com/hearthcache/hearth/internal/faultproxy/faultproxytest"
	"github.com/hearthcache/hearth/internal/stall"
)

func set(t testing.TB, c goredis.UniversalClient, key string) {
	t.Helper()
	if err := c.Set(t.Context(), key, time.Now().UnixNano(), 0).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestWatch_ResetsOfTheConnectionLoseNothing(t *testing.T) {
	addr := server(t)
	c, p := connect(t, addr), faultproxytest.New(t, addr)
	l := sinktest.Watch(t, source(t, connect(t, p.Addr()), calm("rst")))
	for range 10 {
		l.Put("rst:k")
		p.ResetAll()
		set(t, c, "rst:k")
		l.Gone(t, "rst:k")
		l.Await(t, "the link is up", func(s sinktest.State) bool { return s.Up })
		l.Put("rst:k") // and it tracks again
		set(t, c, "rst:k")
		l.Gone(t, "rst:k")
	}
	if s := l.State(); s.Ups < 10 {
		t.Errorf("the link came up %d times over 10 resets", s.Ups)
	}
}

// Sensitivity: without the flush on reconnect, what changed meanwhile stays in L1.
func TestWatch_TheFlushOnReconnectIsWhatSavesIt(t *testing.T) {
	for _, fenced := range []bool{true, false} {
		addr := server(t)
		c, p := connect(t, addr), faultproxytest.New(t, addr)
		s := source(t, connect(t, p.Addr()), calm("rec"))
		s.unflushed = !fenced
		l := sinktest.Watch(t, s)
		p.Set(faultproxy.Fault{Refuse: true})
		p.ResetAll()
		l.Await(t, "the link is down", func(s sinktest.State) bool { return !s.Up })
		l.Put("rec:k")
		set(t, c, "rec:k")
		p.Clear()
		l.Await(t, "the link is up", func(s sinktest.State) bool { return s.Up })
		if l.Has("rec:k") == fenced {
			t.Errorf("fenced %v, and the old value is there: %v", fenced, !fenced)
		}
	}
}

func TestWatch_ABlackHoleIsNoticedAndRecoveredFrom(t *testing.T) {
	addr := server(t)
	c, p := connect(t, addr), faultproxytest.New(t, addr)
	cfg, held := quick("hole"), stall.Measure(t)
	l := sinktest.Watch(t, source(t, connect(t, p.Addr()), cfg))
	for _, f := range []faultproxy.Fault{
		{Down: faultproxy.Flow{Stall: true}},
		{Up: faultproxy.Flow{Stall: true}},
		{Up: faultproxy.Flow{Stall: true}, Down: faultproxy.Flow{Stall: true}},
	} {
		l.Put("hole:k")
		before := held.Lost()
		p.Set(f)
		l.Await(t, "the link is down", func(s sinktest.State) bool { return !s.Up })
		s := l.State()
		if err := s.Downs[len(s.Downs)-1]; !errors.Is(err, link.ErrSilent) {
			t.Errorf("down because of %v, want silence", err)
		}
		// The bound of the promise, half a second, and what the machine took from us.
		if d, lost := time.Since(s.Alive), held.Lost()-before; d > cfg.DeadAfter+cfg.Ping+500*time.Millisecond+lost {
			t.Errorf("down %v after the last sign of life, the machine had other things to do for %v", d, lost)
		}
		set(t, c, "hole:k")
		p.Clear()
		l.Await(t, "the link is up", func(s sinktest.State) bool { return s.Up })
		l.Gone(t, "hole:k")
		l.Put("hole:k")
		set(t, c, "hole:k")
		l.Gone(t, "hole:k")
	}
}

// A push that arrives in single bytes, with a pause in the middle longer than the pings, is
// still one push.
func TestWatch_APushInPiecesIsRead(t *testing.T) {
	addr := server(t)
	c, p := connect(t, addr), faultproxytest.New(t, addr)
	l := sinktest.Watch(t, source(t, connect(t, p.Addr()), calm("slice")))
	p.Set(faultproxy.Fault{Down: faultproxy.Flow{Slice: 1, BytesPerSecond: 300}})
	l.Put("slice:k")
	set(t, c, "slice:k")
	l.Gone(t, "slice:k")
	if s := l.State(); len(s.Flushes) != 1 {
		t.Errorf("flushes %q, want only the first", s.Flushes)
	}
}

// Wherever a push is cut off, the key is forgotten all the same.
func TestWatch_ATruncatedPushFlushes(t *testing.T) {
	addr := server(t)
	c, p := connect(t, addr), faultproxytest.New(t, addr)
	cfg := calm("cut")
	cfg.Ping, cfg.DeadAfter = time.Hour, 3*time.Hour // no ping among the bytes that are counted
	l := sinktest.Watch(t, source(t, connect(t, p.Addr()), cfg))
	for _, bytes := range []int64{1, 3, 4, 10, 20, 25, 33} {
		l.Put("cut:k")
		p.Set(faultproxy.Fault{Down: faultproxy.Flow{CutAfter: bytes}})
		set(t, c, "cut:k")
		l.Await(t, "the link is down", func(s sinktest.State) bool { return !s.Up || !s.Keys["cut:k"] })
		p.Clear()
		l.Gone(t, "cut:k")
		l.Await(t, "the link is up", func(s sinktest.State) bool { return s.Up })
	}
}

// Bits that turn over somewhere in the replies must not end the process, nor go on for ever.
func TestWatch_SurvivesGarbage(t *testing.T) {
	addr := server(t)
	c, p := connect(t, addr), faultproxytest.New(t, addr)
	l := sinktest.Watch(t, source(t, connect(t, p.Addr()), quick("bits")))
	for every := int64(3); every < 60; every += 8 {
		p.Set(faultproxy.Fault{Down: faultproxy.Flow{FlipEvery: every}})
		for range 5 {
			set(t, c, "bits:k")
		}
		l.Await(t, "the link is down", func(s sinktest.State) bool { return !s.Up })
		p.Clear()
		l.Await(t, "the link is up", func(s sinktest.State) bool { return s.Up })
		l.Put("bits:k")
		set(t, c, "bits:k")
		l.Gone(t, "bits:k")
	}
}

func TestWatch_FollowsARestartedServer(t *testing.T) {
	srv := own(t)
	c := connect(t, srv.Addr())
	l := sinktest.Watch(t, source(t, c, calm("boot")))
	l.Put("boot:k")
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	l.Await(t, "the link is down", func(s sinktest.State) bool { return !s.Up })
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	l.Await(t, "the link is up", func(s sinktest.State) bool { return s.Up })
	l.Gone(t, "boot:k")
	l.Put("boot:k")
	set(t, c, "boot:k")
	l.Gone(t, "boot:k")
}

func TestWatch_AKilledListenerComesBack(t *testing.T) {
	c := connect(t, own(t).Addr())
	l := sinktest.Watch(t, source(t, c, calm("kill")))
	l.Put("kill:k")
	l.Flushed(t, func() {
		if err := c.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
			t.Fatal(err)
		}
	})
	l.Gone(t, "kill:k")
}

// rights are those of the package comment, clusterRights what a Cluster needs besides.
var rights, clusterRights = manual()

func manual() (rights, cluster []string) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		panic(err)
	}
	_, acl, _ := strings.Cut(string(text), "\tACL SETUSER cache ")
	acl, rest, _ := strings.Cut(acl, "\n//\n")
	_, more, _ := strings.Cut(rest, "\t+cluster|")
	more, _, _ = strings.Cut("+cluster|"+more, "\n")
	return strings.Fields(strings.ReplaceAll(acl, "//", "")), strings.Fields(more)
}

func user(t *testing.T, addr, name string, rights ...string) *goredis.Client {
	t.Helper()
	args := []any{"ACL", "SETUSER", name}
	for _, r := range rights {
		args = append(args, r)
	}
	if err := connect(t, addr).Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	o := redis.Options(addr)
	o.Username, o.Password = name, "secret"
	return connectWith(t, o)
}

func TestWatch_NeedsNoMoreThanTheRightsInTheManual(t *testing.T) {
	addr := own(t).Addr()
	c := user(t, addr, "cache", rights...)
	store, err := redis.New(c, redis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := source(t, c, calm("user"))
	l := sinktest.Watch(t, s)
	if n := calls(t, connect(t, addr), "set"); n != 1 {
		t.Errorf("%d probes", n)
	}
	l.Put("user:1", "user:2")
	lease, _, err := store.Acquire(t.Context(), "user:1", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	l.Gone(t, "user:1")
	l.Put("user:1")
	if err := lease.Fill(t.Context(), backends.Item{Value: []byte("v"), TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	l.Gone(t, "user:1")
	if err := store.Delete(t.Context(), "user:1"); err != nil {
		t.Fatal(err)
	}
	l.Flushed(t, func() {
		if err := s.PublishFlush(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestWatch_NamesWhatWasRefused(t *testing.T) {
	addr := own(t).Addr()
	without := append(append([]string{}, rights...), "-client|tracking")
	c := user(t, addr, "meagre", without...)
	l, ended := sinktest.Start(t, source(t, c, calm("user")))
	select {
	case err := <-ended:
		if !errors.Is(err, backends.ErrUnsupported) || !strings.Contains(err.Error(), "CLIENT TRACKING: NOPERM") {
			t.Errorf("got %v, want a refusal that names the command and the reason", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Watch goes on")
	}
	if s := l.State(); s.Up || len(s.Downs) == 0 {
		t.Errorf("up %v, downs %v", s.Up, s.Downs)
	}
}

func TestWatch_AWrongPasswordIsTriedAgain(t *testing.T) {
	addr := own(t).Addr()
	c := user(t, addr, "late", append([]string{"off"}, rights[1:]...)...)
	l, _ := sinktest.Start(t, source(t, c, calm("user")))
	l.Await(t, "the link is refused", func(s sinktest.State) bool { return len(s.Downs) > 1 })
	if err := connect(t, addr).Do(t.Context(), "ACL", "SETUSER", "late", "on").Err(); err != nil {
		t.Fatal(err)
	}
	l.Await(t, "the link is up", func(s sinktest.State) bool { return s.Up })
}

// both is a store that is also told of changes.
type both struct {
	*redis.Store
	*Source
}

func TestSource_Conforms(t *testing.T) {
	c := connect(t, server(t))
	make := func(t *testing.T) both {
		store, err := redis.New(c, redis.Config{})
		if err != nil {
			t.Fatal(err)
		}
		return both{store, source(t, c, calm(""))}
	}
	h := backendtest.Harness{Store: make(t), Peer: make(t)}
	n := 0
	for _, c := range backendtest.Cases() {
		if strings.HasPrefix(c.Name, "invalidate/") && c.Applies(h) {
			n++
			t.Run(c.Name, func(t *testing.T) { c.Run(t, h) })
		}
	}
	if n < 4 {
		t.Errorf("only %d cases ran", n)
	}
}

func TestNew_RefusesWhatCannotWork(t *testing.T) {
	c := connect(t, "127.0.0.1:1")
	for name, f := range map[string]func() (*Source, error){
		"no client":          func() (*Source, error) { return New(nil, Config{}) },
		"a typed nil":        func() (*Source, error) { return New((*goredis.Client)(nil), Config{}) },
		"a ring":             func() (*Source, error) { return New(&goredis.Ring{}, Config{}) },
		"one ping to die":    func() (*Source, error) { return New(c, Config{Ping: time.Second, DeadAfter: time.Second}) },
		"a negative ping":    func() (*Source, error) { return New(c, Config{Ping: -1}) },
		"a negative refresh": func() (*Source, error) { return New(c, Config{Refresh: -1}) },
	} {
		if s, err := f(); err == nil || s != nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestSource_SaysWhichNamespaceItHears(t *testing.T) {
	c := connect(t, "127.0.0.1:1")
	for _, tc := range []struct {
		own, asked string
		hears      bool
	}{{"user", "user", true}, {"usr", "user", false}, {"user", "users", false}, {"", "user", true}} {
		if got := source(t, c, Config{Namespace: tc.own}).Hears(tc.asked); got != tc.hears {
			t.Errorf("the source of %q hears of %q: %v", tc.own, tc.asked, got)
		}
	}
}

func TestWatch_RunsOnceAtATime(t *testing.T) {
	s := source(t, connect(t, server(t)), calm("once"))
	sinktest.Watch(t, s)
	if err := s.Watch(t.Context(), sinktest.New()); err == nil {
		t.Error("a second Watch began")
	}
}
