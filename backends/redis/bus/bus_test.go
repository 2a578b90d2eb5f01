package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/internal/note"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/backends/redis/internal/talktest"
	"github.com/hearthcache/hearth/internal/faultproxy"
	"github.com/hearthcache/hearth/internal/faultproxy/faultproxytest"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func TestBus_OtherProcessesAreTold(t *testing.T) {
	srv := serverstest.Redis(t)
	c := connect(t, srv.Addr())
	a, b := source(t, c, calm("ns")), source(t, c, calm("ns"))
	stranger := source(t, c, Config{Namespace: "other", Channel: "ns!bus"})
	la, lb := sinktest.Watch(t, a), sinktest.Watch(t, b)
	la.Put("ns:1")
	lb.Put("ns:1", "ns:2", "ns:3")
	publish(t, a, "ns:1", "ns:2")
	lb.Gone(t, "ns:1", "ns:2")
	publish(t, stranger, "ns:3")
	publish(t, b, "ns:x")
	lb.Flushed(t, func() {
		if err := a.PublishFlush(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if !la.Has("ns:1") {
		t.Error("a's own message made it forget; it has done so before it told others")
	}
	if f := lb.State().Flushes; len(f) != 2 {
		t.Errorf("flushes %q, want the first and a's", f)
	}
}

func TestBus_ABurstIsFewMessagesAndLosesNoKey(t *testing.T) {
	srv := serverstest.Redis(t)
	p := faultproxytest.New(t, srv.Addr())
	a, b := source(t, connect(t, p.Addr()), calm("ns")), source(t, connect(t, srv.Addr()), calm("ns"))
	l := sinktest.Watch(t, b)
	var names []string
	for i := range 2000 {
		names = append(names, fmt.Sprintf("ns:%d", i))
	}
	l.Put(names...)
	p.Set(faultproxy.Fault{Down: faultproxy.Flow{Latency: 20 * time.Millisecond}})
	before := p.Commands()
	var calls sync.WaitGroup
	for _, n := range names {
		calls.Go(func() { publish(t, a, n) })
	}
	calls.Wait()
	l.Gone(t, names...)
	if n := p.Commands() - before; n > 200 {
		t.Errorf("%d commands for 2000 keys", n)
	}
	if f := l.State().Flushes; len(f) != 1 {
		t.Errorf("flushes %q, want only the first", f)
	}
}

// lose makes the client drop its next n PUBLISH commands and say that they arrived.
type lose struct{ next *int }

func (l lose) DialHook(next goredis.DialHook) goredis.DialHook          { return next }
func (l lose) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook { return next }
func (l lose) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		if *l.next > 0 {
			*l.next--
			return nil
		}
		return next(ctx, cmds)
	}
}

func TestBus_ALostMessageIsNoticed(t *testing.T) {
	srv := serverstest.Redis(t)
	for _, c := range []struct {
		name   string
		blind  bool // sensitivity: without the numbers the old value stays
		follow bool // another message follows the lost one, so that no tail is needed
	}{
		{"by the next message", false, true},
		{"by the tail, when none follows", false, false},
		{"not at all without numbers", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := connect(t, srv.Addr())
			lost := 0
			client.AddHook(lose{&lost})
			cfg := calm("ns" + fmt.Sprint(c.blind, c.follow))
			if c.follow {
				cfg.Ping, cfg.DeadAfter = time.Hour, 2*time.Hour // no tails
			}
			a, b := source(t, client, cfg), source(t, connect(t, srv.Addr()), cfg)
			b.blind = c.blind
			l := sinktest.Watch(t, b)
			publish(t, a, "first")
			l.Put("k", "next")
			lost = 1
			publish(t, a, "k")
			if c.follow {
				publish(t, a, "next")
			} else {
				sinktest.Watch(t, a) // its tails go out while it listens
			}
			if c.blind {
				l.Gone(t, "next")
				if !l.Has("k") {
					t.Error("the loss was noticed without numbers: the test proves nothing")
				}
				return
			}
			l.Gone(t, "k")
		})
	}
}

// cut loses the first pipeline of a client in silence, and fails the next ones.
type cut struct {
	lose
	pipelines *atomic.Int64
}

func (c cut) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		switch n := c.pipelines.Add(1); {
		case n == 1:
			return nil
		case n <= 1+2*tails:
			return errors.New("cut off")
		}
		return next(ctx, cmds)
	}
}

func TestBus_ATailThatDoesNotGetThroughDoesNotCount(t *testing.T) {
	srv := serverstest.Redis(t)
	client := connect(t, srv.Addr())
	a, b := source(t, client, calm("ns")), source(t, connect(t, srv.Addr()), calm("ns"))
	l := sinktest.Watch(t, b)
	publish(t, source(t, connect(t, srv.Addr()), calm("ns")), "first")
	l.Await(t, "the first flush", func(s sinktest.State) bool { return len(s.Flushes) > 0 })
	l.Put("k")
	client.AddHook(cut{pipelines: new(atomic.Int64)})
	publish(t, a, "k")
	sinktest.Watch(t, a) // its tails go out while it listens
	l.Gone(t, "k")
}

func TestBus_WhatCannotBeReadFlushes(t *testing.T) {
	srv := serverstest.Redis(t)
	c := connect(t, srv.Addr())
	l := sinktest.Watch(t, source(t, c, calm("ns")))
	later := note.Append(nil, note.Note{Kind: note.All, Seq: 1})
	later[2]++
	for _, m := range []string{"user:1", "", string(later)} {
		l.Flushed(t, func() { c.Publish(t.Context(), "ns!bus", m) })
	}
	if s := l.State(); s.Ups != 1 {
		t.Errorf("the link came up %d times", s.Ups)
	}
}

func TestBus_ResetsFlush(t *testing.T) {
	srv := serverstest.Redis(t)
	p := faultproxytest.New(t, srv.Addr())
	a := source(t, connect(t, srv.Addr()), calm("ns"))
	l := sinktest.Watch(t, source(t, connect(t, p.Addr()), calm("ns")))
	for range 5 {
		l.Put("ns:k")
		p.ResetAll()
		publish(t, a, "ns:k")
		l.Gone(t, "ns:k")
		l.Await(t, "the link is up", func(s sinktest.State) bool { return s.Up })
	}
}

func TestBus_Cluster(t *testing.T) {
	nodes := serverstest.RedisCluster(t, 3)
	serverstest.Real(t, nodes)
	c := talktest.Cluster(t, nodes.Addrs()...)
	for _, sharded := range []bool{false, true} {
		cfg := calm("ns")
		cfg.Sharded = sharded
		a, l := source(t, c, cfg), sinktest.Watch(t, source(t, c, cfg))
		for i := range 50 {
			k := fmt.Sprintf("ns:%d", i)
			l.Put(k)
			publish(t, a, k)
			l.Gone(t, k)
		}
		if f := l.State().Flushes; len(f) != 1 {
			t.Errorf("sharded %v: flushes %q, want only the first", sharded, f)
		}
	}
}

func TestBus_NeedsNoMoreThanTheRightsInTheManual(t *testing.T) {
	srv := serverstest.Redis(t)
	serverstest.Real(t, srv)
	admin := connect(t, srv.Addr())
	user := func(name string, rights ...string) *goredis.Client {
		args := []any{"ACL", "SETUSER", name}
		for _, r := range rights {
			args = append(args, r)
		}
		if err := admin.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
		o := redis.Options(srv.Addr())
		o.Username, o.Password = name, "secret"
		return sinktest.ConnectWith(t, o)
	}
	s := source(t, user("bus", manual(t)...), calm("user"))
	l := sinktest.Watch(t, s)
	l.Put("user:1")
	publish(t, source(t, admin, calm("user")), "user:1")
	l.Gone(t, "user:1")
	publish(t, s, "user:1")

	_, ended := sinktest.Start(t, source(t, user("deaf", "on", ">secret", "resetkeys", "resetchannels", "-@all", "&other", "+subscribe", "+ping"), calm("user")))
	select {
	case err := <-ended:
		if !errors.Is(err, backends.ErrUnsupported) || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("got %v, want a refusal with its reason", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Watch goes on")
	}
}

// both is a store that is also told of changes.
type both struct {
	backends.Store
	*Source
}

func TestSource_Conforms(t *testing.T) {
	c := connect(t, serverstest.Redis(t).Addr())
	store := memory.New(memory.Config{})
	h := backendtest.Harness{Store: both{store, source(t, c, calm("t"))}, Peer: both{store, source(t, c, calm("t"))}}
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
		"no client":          func() (*Source, error) { return New(nil, calm("x")) },
		"no name":            func() (*Source, error) { return New(c, Config{}) },
		"one ping to die":    func() (*Source, error) { return New(c, Config{Namespace: "x", Ping: 2, DeadAfter: 1}) },
		"a negative timeout": func() (*Source, error) { return New(c, Config{Namespace: "x", Timeout: -1}) },
	} {
		if s, err := f(); err == nil || s != nil {
			t.Errorf("%s was taken", name)
		}
	}
}
