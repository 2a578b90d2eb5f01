package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/internal/note"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
	"github.com/hearthcache/hearth/internal/faultproxy"
	"github.com/hearthcache/hearth/internal/faultproxy/faultproxytest"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func TestStream_OtherProcessesAreTold(t *testing.T) {
	srv := serverstest.Redis(t)
	c := connect(t, srv.Addr())
	a, b := source(t, c, calm("ns")), source(t, c, calm("ns"))
	stranger := source(t, c, Config{Namespace: "other", Key: "ns!log"})
	la, lb := sinktest.Watch(t, a), sinktest.Watch(t, b)
	la.Put("ns:1")
	lb.Put("ns:1", "ns:2", "ns:3")
	publish(t, a, "ns:1", "ns:2")
	lb.Gone(t, "ns:1", "ns:2")
	publish(t, stranger, "ns:3")
	publish(t, b, "ns:x")
	publish(t, a, "ns:1")
	if !lb.Has("ns:3") || !la.Has("ns:1") {
		t.Error("another namespace's or its own message made one forget")
	}
	lb.Flushed(t, func() {
		if err := a.PublishFlush(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestStream_AShortOutageIsReplayedWithoutAFlush(t *testing.T) {
	srv := serverstest.Redis(t)
	serverstest.Real(t, srv) // the stand-in does not say that it is still the same
	p := faultproxytest.New(t, srv.Addr())
	a := source(t, connect(t, srv.Addr()), calm("ns"))
	l := sinktest.Watch(t, source(t, connect(t, p.Addr()), calm("ns")))
	for i := range 10 {
		l.Put("ns:k", "ns:kept")
		p.Set(faultproxy.Fault{Refuse: true})
		p.ResetAll()
		publish(t, a, "ns:k")
		for j := range 300 { // more than one read
			if i == 0 {
				publish(t, a, fmt.Sprintf("ns:other%d", j))
			}
		}
		p.Clear()
		l.Gone(t, "ns:k")
		if !l.Has("ns:kept") {
			t.Fatal("a key that nobody changed was forgotten")
		}
	}
	if s := l.State(); len(s.Flushes) != 1 || len(s.Downs) > 1 {
		t.Errorf("flushes %q, downs %v; want only the first", s.Flushes, s.Downs)
	}
}

func TestStream_ALogThatHasMovedOnFlushes(t *testing.T) {
	for _, blind := range []bool{false, true} { // sensitivity: without the look back, the change is lost
		srv := serverstest.Redis(t)
		p := faultproxytest.New(t, srv.Addr())
		cfg := calm("ns")
		admin := connect(t, srv.Addr())
		a, b := source(t, admin, cfg), source(t, connect(t, p.Addr()), cfg)
		b.blind = blind
		l := sinktest.Watch(t, b)
		publish(t, a, "ns:0")
		l.Put("ns:k", "ns:last")
		p.Set(faultproxy.Fault{Refuse: true})
		p.ResetAll()
		publish(t, a, "ns:k")
		publish(t, a, "ns:last")
		if err := admin.XTrimMaxLen(t.Context(), "ns!log", 1).Err(); err != nil {
			t.Fatal(err)
		}
		p.Clear()
		l.Gone(t, "ns:last")
		if !blind {
			l.Gone(t, "ns:k")
		} else if !l.Has("ns:k") {
			t.Error("the loss was noticed without the look back: the test proves nothing")
		}
	}
}

func TestStream_ALogThatIsGoneFlushes(t *testing.T) {
	srv := serverstest.Redis(t)
	c := connect(t, srv.Addr())
	a, l := source(t, c, calm("ns")), sinktest.Watch(t, source(t, c, calm("ns")))
	for _, lose := range []func() error{
		func() error { return c.Del(t.Context(), "ns!log").Err() },
		func() error { return c.FlushAll(t.Context()).Err() },
		srv.Restart,
	} {
		l.Put("ns:k")
		l.Flushed(t, func() {
			if err := lose(); err != nil {
				t.Fatal(err)
			}
		})
		l.Await(t, "the link is up", func(s sinktest.State) bool { return s.Up })
		l.Put("ns:k")
		publish(t, a, "ns:k")
		l.Gone(t, "ns:k")
	}
}

// order is a sink that notes in which order it hears.
type order struct {
	mu    sync.Mutex
	heard []string // keys, and "alive"
}

func (o *order) Flush(string) {}
func (o *order) Down(error)   {}
func (o *order) Alive()       { o.Forget([]string{"alive"}) }
func (o *order) Forget(keys []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.heard = append(o.heard, keys...)
}

func (o *order) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.heard)
}

// What a reader that lags was told is of some time ago, so it says nothing about now.
func TestStream_AReaderThatLagsIsNoSignOfLife(t *testing.T) {
	srv := serverstest.Redis(t)
	serverstest.Real(t, srv)
	c := connect(t, srv.Addr())
	s, o := source(t, c, calm("ns")), &order{}
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() { _ = s.Watch(ctx, o) })
	await := func(what string, holds func([]string) bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !holds(o.all()); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("not within 20 s: " + what)
			}
		}
	}
	await("the link is up", func(h []string) bool { return slices.Contains(h, "alive") })
	const n = 3 * batch                                               // the last read is of none, and is the sign of life
	if _, err := c.TxPipelined(ctx, func(p goredis.Pipeliner) error { // all at once
		for i := range n {
			m := note.Note{Kind: note.Keys, Origin: note.Origin{1}, Seq: uint64(i + 1), Namespace: "ns", Keys: []string{"ns:k"}}
			p.XAdd(ctx, s.entry(string(note.Append(nil, m))))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	await("the last key, and a sign of life", func(h []string) bool {
		i := slices.Index(h, "ns:k")
		return i >= 0 && len(h) > i+n && slices.Contains(h[i+n:], "alive")
	})
	h := o.all()
	i := slices.Index(h, "ns:k")
	if at := slices.Index(h[i:], "alive"); at != n {
		t.Errorf("a sign of life after %d of %d keys", at, n)
	}
}

// A failover may lose the end of the log: what is written then has smaller numbers than what was
// read, and a reader that waits for larger ones would hear nothing for ever.
func TestStream_ALogThatEndsEarlierFlushes(t *testing.T) {
	srv := serverstest.Redis(t)
	c := connect(t, srv.Addr())
	a, l := source(t, c, calm("ns")), sinktest.Watch(t, source(t, c, calm("ns")))
	publish(t, a, "ns:0")
	l.Flushed(t, func() {
		_, err := c.TxPipelined(t.Context(), func(p goredis.Pipeliner) error {
			p.Del(t.Context(), "ns!log")
			p.XAdd(t.Context(), &goredis.XAddArgs{Stream: "ns!log", ID: "1-1", Values: []string{"n", "x"}})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// It may also lose what nobody has read yet, and go on with what comes after.
func TestStream_AnEntryThatWasLostFlushes(t *testing.T) {
	for _, blind := range []bool{false, true} { // sensitivity: without the numbers, the change is lost
		srv := serverstest.Redis(t)
		p := faultproxytest.New(t, srv.Addr())
		admin := connect(t, srv.Addr())
		a, b := source(t, admin, calm("ns")), source(t, connect(t, p.Addr()), calm("ns"))
		b.blind = blind
		publish(t, a, "ns:before") // numbers from before the reader joined are no loss
		l := sinktest.Watch(t, b)
		l.Put("ns:0", "ns:kept")
		publish(t, a, "ns:0")
		l.Gone(t, "ns:0")
		if !l.Has("ns:kept") {
			t.Error("flushed, and nothing was lost")
		}
		l.Put("ns:k", "ns:last")
		p.Set(faultproxy.Fault{Refuse: true})
		p.ResetAll()
		publish(t, a, "ns:k")
		newest, err := admin.XRevRangeN(t.Context(), "ns!log", "+", "-", 1).Result()
		if err != nil {
			t.Fatal(err)
		}
		if err := admin.XDel(t.Context(), "ns!log", newest[0].ID).Err(); err != nil {
			t.Fatal(err)
		}
		publish(t, a, "ns:last")
		p.Clear()
		l.Gone(t, "ns:last")
		if !blind {
			l.Gone(t, "ns:k")
		} else if !l.Has("ns:k") {
			t.Error("the loss was noticed without the numbers: the test proves nothing")
		}
	}
}

// And it may lose the end and nobody says anything more: only the server can tell that it is another.
func TestStream_AServerThatComesBackWithoutTheEndFlushes(t *testing.T) {
	for _, blind := range []bool{false, true} { // sensitivity: without asking which run it is, the change is lost
		srv := serverstest.Redis(t)
		serverstest.Real(t, srv) // it writes snapshots
		p := faultproxytest.New(t, srv.Addr())
		admin := connect(t, srv.Addr())
		a, b := source(t, admin, calm("ns")), source(t, connect(t, p.Addr()), calm("ns"))
		b.blind = blind
		l := sinktest.Watch(t, b)
		l.Put("ns:0")
		publish(t, a, "ns:0")
		l.Gone(t, "ns:0")
		l.Put("ns:k")
		if err := admin.Save(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		p.Set(faultproxy.Fault{Refuse: true})
		p.ResetAll()
		publish(t, a, "ns:k")
		if err := srv.Restart(); err != nil {
			t.Fatal(err)
		}
		heard := l.State().Alive
		p.Clear()
		l.Await(t, "the log is reached again", func(s sinktest.State) bool { return s.Alive.After(heard) })
		if l.Has("ns:k") != blind {
			t.Errorf("blind %v, and the old value is there: %v", blind, !blind)
		}
	}
}

func TestStream_WhatCannotBeReadFlushes(t *testing.T) {
	srv := serverstest.Redis(t)
	c := connect(t, srv.Addr())
	l := sinktest.Watch(t, source(t, c, calm("ns")))
	for _, values := range [][]string{{"n", "user:1"}, {"other", "x"}} {
		l.Flushed(t, func() {
			c.XAdd(t.Context(), &goredis.XAddArgs{Stream: "ns!log", Values: values})
		})
	}
}

func TestStream_IsBounded(t *testing.T) {
	srv := serverstest.Redis(t)
	c := connect(t, srv.Addr())
	cfg := calm("ns")
	cfg.MaxEntries = 100
	a := source(t, c, cfg)
	for i := range 500 {
		publish(t, a, fmt.Sprint("ns:", i))
	}
	if n := c.XLen(t.Context(), "ns!log").Val(); n > 300 { // whole nodes of 100 entries are trimmed
		t.Errorf("%d entries", n)
	}
}

func TestStream_NeedsNoMoreThanTheRightsInTheManual(t *testing.T) {
	srv := serverstest.Redis(t)
	serverstest.Real(t, srv)
	admin := connect(t, srv.Addr())
	rights, _ := manual(t)
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
	s := source(t, user("stream", rights...), calm("user"))
	l := sinktest.Watch(t, s)
	l.Put("user:1", "user:2")
	publish(t, source(t, admin, calm("user")), "user:1")
	l.Gone(t, "user:1")
	publish(t, s, "user:1")
	drop := func() {
		if err := admin.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
			t.Fatal(err)
		}
	}
	drop()
	publish(t, source(t, admin, calm("user")), "user:2")
	l.Gone(t, "user:2")
	if f := l.State().Flushes; len(f) != 1 {
		t.Errorf("flushes %q, want only the first", f)
	}

	blunt := sinktest.Watch(t, source(t, user("blunt", append(slices.Clone(rights), "-info")...), calm("user")))
	blunt.Flushed(t, drop) // it cannot tell whether the server is still the same

	_, ended := sinktest.Start(t, source(t, user("deaf", append(slices.Clone(rights), "-xread")...), calm("user")))
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
		"negative entries":   func() (*Source, error) { return New(c, Config{Namespace: "x", MaxEntries: -1}) },
	} {
		if s, err := f(); err == nil || s != nil {
			t.Errorf("%s was taken", name)
		}
	}
}
