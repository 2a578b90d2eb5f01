package tier

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// names is a DNS server that knows every name as 127.0.0.1, or none.
type names struct {
	conn  net.PacketConn
	known atomic.Bool
	asked atomic.Int64
}

func newNames(t *testing.T) *names {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{conn: conn}
	var wg sync.WaitGroup
	wg.Go(n.serve)
	t.Cleanup(func() { _ = conn.Close(); wg.Wait() })
	return n
}

func (n *names) serve() {
	p := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(p)
		if err != nil {
			return
		}
		if answer := n.answer(p[:size]); answer != nil {
			n.asked.Add(1)
			_, _ = n.conn.WriteTo(answer, from)
		}
	}
}

// answer makes a reply of a query: RFC 1035, section 4.
func (n *names) answer(query []byte) []byte {
	const header = 12
	if len(query) < header {
		return nil
	}
	end := bytes.IndexByte(query[header:], 0) // of the name
	if end < 0 || len(query) < header+end+5 {
		return nil
	}
	question := query[header : header+end+5]
	forA := binary.BigEndian.Uint16(question[end+1:]) == 1
	flags, answers := uint16(0x8180), uint16(0)
	switch {
	case !n.known.Load():
		flags |= 3 // no such name
	case forA:
		answers = 1
	}
	out := append([]byte(nil), query[:2]...)
	for _, v := range []uint16{flags, 1, answers, 0, 0} {
		out = binary.BigEndian.AppendUint16(out, v)
	}
	out = append(out, question...)
	if answers == 1 {
		out = append(out, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1)
	}
	return out
}

// dial connects to an address whose name this server has to know.
func (n *names) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", n.conn.LocalAddr().String())
	}}}
	return d.DialContext(ctx, network, addr)
}

// store is a store on a server that is found by name.
func (n *names) store(t *testing.T, kind, addr string) backends.Store {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	addr = net.JoinHostPort("cache.test", port)
	if kind == "memcached" {
		s, err := memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: addr}}, DialContext: n.dial})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	o := redis.Options(addr)
	o.Dialer = n.dial
	client := goredis.NewClient(o)
	t.Cleanup(func() { _ = client.Close() })
	s, err := redis.New(client, redis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A name that does not resolve is a tier that is down, and every dial asks again.
func TestFault_NameThatDoesNotResolveIsTierDownUntilItDoes(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			srv := serverstest.Redis
			if kind == "memcached" {
				srv = serverstest.Memcached
			}
			n := newNames(t)
			c, _ := shaky(t, n.store(t, kind, srv(t).Addr()))
			answered(t, c, 60, faultNoise)
			failing(t, c)
			_, err := c.Lookup(context.Background(), "k1")
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v, want unavailable: nothing was sent", err)
			}
			named(t, c, "cache.test")
			if n.asked.Load() == 0 {
				t.Fatal("nobody asked for the name")
			}
			n.known.Store(true)
			recovered(t, c)
		})
	}
}
