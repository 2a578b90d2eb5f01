package tracking

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
)

// rude is a proxy before a server. It hangs up when a client sends something with word in it, in
// any case; with an empty word, as soon as a client has connected.
func rude(t *testing.T, server string, word *atomic.Pointer[string]) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	go func() {
		for {
			cn, err := lis.Accept()
			if err != nil {
				return
			}
			go relay(cn, server, word)
		}
	}()
	return lis.Addr().String()
}

func relay(cn net.Conn, server string, word *atomic.Pointer[string]) {
	defer cn.Close()
	if *word.Load() == "" {
		return
	}
	up, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		_, _ = io.Copy(cn, up)
		_ = cn.Close()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := cn.Read(buf)
		if err != nil || bytes.Contains(bytes.ToLower(buf[:n]), []byte(*word.Load())) {
			return
		}
		if _, err := up.Write(buf[:n]); err != nil {
			return
		}
	}
}

func says(word string) *atomic.Pointer[string] {
	p := new(atomic.Pointer[string])
	p.Store(&word)
	return p
}

const (
	hello    = "hello\r\n$1\r\n3"
	trackOn  = "tracking\r\n"
	anything = ""
	nothing  = "nobody sends this"
)

func through(t *testing.T, proxy string, protocol int) *Source {
	t.Helper()
	o := redis.Options(proxy)
	o.Protocol = protocol
	return source(t, connectWith(t, o), calm("user"))
}

func TestWatch_AProxyThatHangsUpInsteadOfRefusingIsARefusal(t *testing.T) {
	for _, c := range []struct{ word, named string }{{hello, "closed at HELLO 3"}, {trackOn, "closed at CLIENT TRACKING"}} {
		t.Run(c.named, func(t *testing.T) {
			l, ended := sinktest.Start(t, through(t, rude(t, server(t), says(c.word)), 2))
			select {
			case err := <-ended:
				if !errors.Is(err, backends.ErrUnsupported) || !strings.Contains(err.Error(), c.named) {
					t.Errorf("got %v, want a refusal that says %q", err, c.named)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("Watch goes on after %d attempts", len(l.State().Downs))
			}
			if n := len(l.State().Downs); n < 5 {
				t.Errorf("given up after %d", n)
			}
		})
	}
}

// A server that is going down or coming back closes connections as well.
func TestWatch_AServerThatClosesBeforeAnyAnswerIsTriedAgain(t *testing.T) {
	word := says(anything)
	l, ended := sinktest.Start(t, through(t, rude(t, server(t), word), 2))
	l.Await(t, "many attempts have failed", func(s sinktest.State) bool { return len(s.Downs) > 7 })
	free := nothing
	word.Store(&free)
	l.Await(t, "the link is up", func(s sinktest.State) bool { return s.Up })
	if len(ended) > 0 {
		t.Error(<-ended)
	}
}

// Whoever has tracked once can do it, whatever happens to connections now.
func TestWatch_WhatHasTrackedOnceIsTriedAgain(t *testing.T) {
	for _, now := range []string{hello, trackOn} {
		word := says(nothing)
		proxy := rude(t, server(t), word)
		s := through(t, proxy, 2)
		l, ended := sinktest.Start(t, s)
		l.Await(t, "the link is up", func(s sinktest.State) bool { return s.Up })
		word.Store(&now)
		do(t, server(t), "CLIENT", "KILL", "TYPE", "normal")
		l.Await(t, "many attempts have failed", func(s sinktest.State) bool { return len(s.Downs) > 7 })
		free := nothing
		word.Store(&free)
		l.Await(t, "the link is up", func(s sinktest.State) bool { return s.Up })
		if len(ended) > 0 {
			t.Error(<-ended)
		}
	}
}
