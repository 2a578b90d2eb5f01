package memcached

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/faultproxy"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// proxied opens a Store over a server behind a proxy.
func proxied(t *testing.T, c Config) (*Store, *faultproxy.Proxy) {
	t.Helper()
	p, err := faultproxy.New(serverstest.Memcached(t).Addr())
	ok(t, err)
	t.Cleanup(func() { p.Close() })
	c.Servers = fleet(p.Addr())
	return open(t, c), p
}

// overBoth runs a test over each [Transport].
func overBoth(t *testing.T, test func(t *testing.T, tr Transport)) {
	t.Run("gomemcache", func(t *testing.T) { test(t, Gomemcache) })
	t.Run("meta", func(t *testing.T) { test(t, Meta) })
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestFleet_ADeadServerFailsItsOwnKeysOnly(t *testing.T) {
	overBoth(t, func(t *testing.T, tr Transport) {
		a, b, c := serverstest.Memcached(t), serverstest.Memcached(t), serverstest.Memcached(t)
		s, ctx := open(t, Config{Transport: tr, Servers: fleet(a.Addr(), b.Addr(), c.Addr())}), t.Context()
		var keys []string
		var entries []backends.KeyItem
		for i := range 60 {
			keys = append(keys, fmt.Sprint("k", i))
			entries = append(entries, backends.KeyItem{Key: keys[i], Item: text("v")})
		}
		if errs := s.SetMany(ctx, entries); errs != nil {
			t.Fatal(errs)
		}
		ok(t, s.Ping(ctx))
		ok(t, b.Kill())
		dead := func(key string) bool { return s.place(key).server == 1 }
		check := func(what, key string, err error) {
			t.Helper()
			switch {
			case !dead(key) && err != nil:
				t.Errorf("%s of %s on a live server: %v", what, key, err)
			case dead(key) && (err == nil || errors.Is(err, backends.ErrMiss) || !strings.Contains(err.Error(), b.Addr())):
				t.Errorf("%s of %s on the dead server: %v", what, key, err)
			}
		}
		for round := range 2 { // with connections of before, and without
			for i, r := range s.GetMany(ctx, keys) {
				check("getmany", keys[i], r.Err)
			}
			for i, r := range s.GetTTLMany(ctx, keys) {
				check("getttlmany", keys[i], r.Err)
			}
			errs := s.SetMany(ctx, entries)
			for i, k := range keys {
				check("setmany", k, errs[i])
				_, err := s.Get(ctx, k)
				check("get", k, err)
				if dead(k) && round == 1 {
					is(t, s.Add(ctx, k, text("v")), backends.ErrUnavailable)
				}
			}
			for i, r := range s.AcquireMany(ctx, keys, time.Second) {
				check("acquiremany", keys[i], r.Err)
			}
		}
		if err := s.Ping(ctx); err == nil || !strings.Contains(err.Error(), b.Addr()) {
			t.Errorf("ping: %v, want the dead server named", err)
		}
	})
}

// everything does each kind of operation on keys of its own; those that must not be sent twice
// are marked.
func everything(ctx context.Context, s *Store, tag string) (again, once error) {
	k := "all " + tag // hashed as well
	n := "n" + tag
	_, getErr := s.Get(ctx, k)
	if errors.Is(getErr, backends.ErrMiss) {
		getErr = nil
	}
	again = errors.Join(getErr, s.Set(ctx, k, text("v")), s.Delete(ctx, k), s.Set(ctx, k, text("v")), s.GetMany(ctx, []string{k})[0].Err)
	_, err := s.GetTTL(ctx, k)
	again = errors.Join(again, err)
	_, err = s.Increment(ctx, n, 1, 5, 0)
	once = errors.Join(err, s.Add(ctx, "add"+tag, text("v")))
	return again, once
}

func TestRestart_StaleConnectionsAreInvisible(t *testing.T) {
	overBoth(t, func(t *testing.T, tr Transport) {
		srv := serverstest.Memcached(t)
		const conns = 8
		// warm opens many connections at once and lets them lie idle.
		warm := func(s *Store) {
			var wg sync.WaitGroup
			for i := range conns {
				wg.Go(func() { everything(t.Context(), s, fmt.Sprint("warm", i)) })
			}
			wg.Wait()
		}
		failures := func(s *Store, first string) (n int) {
			warm(s)
			ok(t, srv.Restart())
			for i := range 2 * conns {
				again, once := everything(t.Context(), s, fmt.Sprint(first, i))
				if again != nil || once != nil {
					n++
				}
			}
			return n
		}
		s := open(t, Config{Transport: tr, Servers: fleet(srv.Addr())})
		if n := failures(s, "a"); n != 0 {
			t.Errorf("%d rounds failed after a restart", n)
		}
		// Those that must not be sent twice come first now.
		warm(s)
		ok(t, srv.Restart())
		for i := range conns {
			ok(t, s.Add(t.Context(), fmt.Sprint("first", i), text("v")))
		}
		// Without the look and the second attempt it shows.
		s = open(t, Config{Transport: tr, Servers: fleet(srv.Addr())})
		if s.servers[0].meta.fragile = true; tr == Gomemcache {
			s.servers[0].transport.(*gomemcache).fragile = true
		}
		if failures(s, "b") == 0 {
			t.Error("nothing failed without the fence: this test sees nothing")
		}
	})
}

// Idle connections carry the deadline of their last call. That it has passed is no reason to think
// them dead, and to close them and all others with them.
func TestIdle_PastTheLastDeadlineConnectionsAreKept(t *testing.T) {
	overBoth(t, func(t *testing.T, tr Transport) {
		const conns = 4
		var dialled atomic.Int64
		all := make(chan struct{})
		s := one(t, Config{Transport: tr, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dialled.Add(1) == conns {
				close(all)
			}
			<-all // so that every caller needs one of its own
			return new(net.Dialer).DialContext(ctx, network, addr)
		}})
		ctx := t.Context()
		var wg sync.WaitGroup
		for range conns {
			wg.Go(func() { s.Set(ctx, "n", text("1")) })
		}
		wg.Wait()
		it, err := s.Get(ctx, "n")
		ok(t, err)
		for _, c := range []struct {
			what string
			do   func() error
			want error
		}{
			{"add", func() error { return s.Add(ctx, "new", text("v")) }, nil},
			{"increment", func() error { _, err := s.Increment(ctx, "n", 1, 1, 0); return err }, nil},
			{"cas", func() error { return s.CompareAndSwap(ctx, "n", it.Token, text("2")) }, backends.ErrConflict},
		} {
			for _, l := range idle(s) {
				l.conn.SetDeadline(time.Unix(1, 0)) // what a while does to it
			}
			is(t, c.do(), c.want)
			if n, kept := dialled.Load(), len(idle(s)); n != conns || kept != conns {
				t.Errorf("%s: %d connections were opened in all, want %d; %d are kept", c.what, n, conns, kept)
			}
		}
	})
}

// idle returns the lanes that lie idle and open, of the only server.
func idle(s *Store) (lanes []*lane) {
	switch tr := s.servers[0].transport.(type) {
	case metaTransport:
		for _, l := range tr.pool.idle {
			lanes = append(lanes, &l.lane)
		}
	case *gomemcache:
		for _, l := range tr.pool.idle {
			lanes = append(lanes, &l.lane)
		}
	}
	return slices.DeleteFunc(lanes, func(l *lane) bool { return l.conn == nil })
}

func TestSwallowedReply_IsUnknownAndNeverSentTwice(t *testing.T) {
	overBoth(t, func(t *testing.T, tr Transport) {
		for _, hangUp := range []bool{true, false} {
			s, p := proxied(t, Config{Transport: tr, Timeout: 200 * time.Millisecond})
			ctx := t.Context()
			lose := func() { p.SwallowReply(hangUp) }

			ok(t, s.Set(ctx, "n", text("10")))
			lose()
			_, err := s.Increment(ctx, "n", 1, 0, 0)
			is(t, err, backends.ErrUnknown)
			p.Clear()
			holds(t, s, "n", "11")

			lose()
			is(t, s.Add(ctx, "a", text("v")), backends.ErrUnknown)
			holds(t, s, "a", "v")

			it, err := s.Get(ctx, "a")
			ok(t, err)
			lose()
			is(t, s.CompareAndSwap(ctx, "a", it.Token, text("w")), backends.ErrUnknown)
			holds(t, s, "a", "w")

			l, _, err := s.Acquire(ctx, "leased", time.Minute)
			ok(t, err)
			<-l.(*lease).claim.ready
			lose()
			is(t, l.Fill(ctx, text("filled")), backends.ErrUnknown)
			holds(t, s, "leased", "filled")
			ok(t, l.Release(ctx))
			holds(t, s, "leased", "filled")

			// The others are asked again if the server hung up on them while they were on a
			// connection of before, and fail, but as failures, if it is silent.
			lose()
			if err := s.Set(ctx, "a", text("x")); (err == nil) != hangUp || errors.Is(err, backends.ErrUnknown) {
				t.Errorf("hang up %v: set: %v", hangUp, err)
			}
			holds(t, s, "a", "x")
			lose()
			if _, err := s.Get(ctx, "a"); (err == nil) != hangUp || errors.Is(err, backends.ErrMiss) {
				t.Errorf("hang up %v: get: %v", hangUp, err)
			}
		}
	})
}

func TestBlackHole_EveryCallEndsWithItsCtx(t *testing.T) {
	overBoth(t, func(t *testing.T, tr Transport) {
		s, p := proxied(t, Config{Transport: tr, Timeout: time.Minute})
		ok(t, s.Set(t.Context(), "k", text("v")))
		it, err := s.Get(t.Context(), "k")
		ok(t, err)
		calls := map[string]func(ctx context.Context) error{
			"get":       func(ctx context.Context) error { _, err := s.Get(ctx, "k"); return err },
			"set":       func(ctx context.Context) error { return s.Set(ctx, "k", text("w")) },
			"delete":    func(ctx context.Context) error { return s.Delete(ctx, "k") },
			"getmany":   func(ctx context.Context) error { return s.GetMany(ctx, []string{"k", "l"})[1].Err },
			"getttl":    func(ctx context.Context) error { _, err := s.GetTTL(ctx, "k"); return err },
			"setmany":   func(ctx context.Context) error { return s.SetMany(ctx, []backends.KeyItem{{Key: "k"}})[0] },
			"add":       func(ctx context.Context) error { return s.Add(ctx, "k", text("w")) },
			"cas":       func(ctx context.Context) error { return s.CompareAndSwap(ctx, "k", it.Token, text("w")) },
			"increment": func(ctx context.Context) error { _, err := s.Increment(ctx, "k", 1, 1, 0); return err },
			"acquire":   func(ctx context.Context) error { _, _, err := s.Acquire(ctx, "k", time.Second); return err },
			"scan":      func(ctx context.Context) error { return s.Scan(ctx, "", nil) },
			"ping":      s.Ping,
		}
		p.Set(faultproxy.Fault{Down: faultproxy.Flow{Stall: true}})
		for name, call := range calls {
			start := time.Now()
			err := call(within(t, 30*time.Millisecond))
			is(t, err, context.DeadlineExceeded)
			if errors.Is(err, backends.ErrMiss) {
				t.Errorf("%s: %v is a miss", name, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			timer := time.AfterFunc(20*time.Millisecond, cancel)
			is(t, call(ctx), context.Canceled)
			timer.Stop()
			is(t, call(ctx), context.Canceled) // dead on arrival
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("%s took %v", name, d)
			}
		}
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if n := strings.Count(string(stacks), "backends/memcached.(*"); n > 0 {
			t.Errorf("calls left goroutines behind:\n%s", stacks)
		}
		p.Clear()
		ok(t, s.Set(t.Context(), "k", text("back")))
		holds(t, s, "k", "back")
	})
}

func TestTimeout_EndsCallsWithoutADeadline(t *testing.T) {
	overBoth(t, func(t *testing.T, tr Transport) {
		s, p := proxied(t, Config{Transport: tr, Timeout: 50 * time.Millisecond})
		ok(t, s.Ping(t.Context()))
		p.Set(faultproxy.Fault{Down: faultproxy.Flow{Stall: true}})
		_, err := s.Get(context.Background(), "k")
		if err == nil || errors.Is(err, backends.ErrMiss) || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("get: %v", err)
		}
	})
}

func TestMaxConns_BoundsTheCallsThatHang(t *testing.T) {
	s, p := proxied(t, Config{MaxIdleConns: 2, MaxConns: 3, Timeout: 100 * time.Millisecond})
	ok(t, s.Ping(t.Context()))
	p.Set(faultproxy.Fault{Down: faultproxy.Flow{Stall: true}})
	before := p.Connections()
	var wg sync.WaitGroup
	errs := make([]error, 30)
	for i := range errs {
		wg.Go(func() { _, errs[i] = s.Get(within(t, 90*time.Millisecond), "k") })
	}
	wg.Wait()
	for _, err := range errs {
		is(t, err, context.DeadlineExceeded)
	}
	if n := p.Connections() - before; n > 6 {
		t.Errorf("%d connections were opened", n)
	}
	p.Clear()
	ok(t, s.Ping(t.Context()))
}

func TestReset_InMidReplyIsNoValue(t *testing.T) {
	overBoth(t, func(t *testing.T, tr Transport) {
		s, p := proxied(t, Config{Transport: tr})
		big := strings.Repeat("x", 50_000)
		ok(t, s.Set(t.Context(), "k", text(big)))
		p.Set(faultproxy.Fault{Down: faultproxy.Flow{CutAfter: 10_000}})
		if it, err := s.Get(t.Context(), "k"); err == nil || errors.Is(err, backends.ErrMiss) {
			t.Errorf("get: %d bytes, %v", len(it.Value), err)
		}
		p.Clear()
		holds(t, s, "k", big)
		p.Set(faultproxy.Fault{Down: faultproxy.Flow{Slice: 1}})
		holds(t, s, "k", big)
	})
}

// scripted is a server that answers every line with the next reply, then with the last one.
func scripted(t *testing.T, replies ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	var mu sync.Mutex
	var wg sync.WaitGroup
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				for in := bufio.NewScanner(c); in.Scan(); {
					mu.Lock()
					reply := replies[0]
					if len(replies) > 1 {
						replies = replies[1:]
					}
					mu.Unlock()
					fmt.Fprint(c, reply)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

func TestGarbledReplies_AreFailuresNotAnswers(t *testing.T) {
	overBoth(t, func(t *testing.T, tr Transport) {
		for _, reply := range []string{
			"\n", "\r\n", "x\r\n", "VALUE\r\n", "VALUE k\r\n", "VALUE k 0 -1 1\r\n", "VALUE k 0 2 1\r\nabcdef\r\nEND\r\n",
			"VALUE other 0 1 1\r\na\r\nEND\r\n", "ERROR\r\n", "CLIENT_ERROR bad\r\n", "SERVER_ERROR out of memory\r\n",
			"VA\r\n", "VA 1\r\na\r\n", "VA x f0 c1 t1\r\n", "VA 1 f0 c1 t1\r\nabc\r\n", "VA 1 fx c1 t1\r\na\r\n", "VA 1 f0\r\na\r\n",
		} {
			s := open(t, Config{Transport: tr, Servers: fleet(scripted(t, reply)), Timeout: 100 * time.Millisecond})
			ctx := t.Context()
			_, getErr := s.Get(ctx, "k")
			_, ttlErr := s.GetTTL(ctx, "k")
			_, incrErr := s.Increment(ctx, "k", 1, 1, 0)
			_, _, acqErr := s.Acquire(ctx, "k", time.Second)
			errs := []error{
				getErr, s.GetMany(ctx, []string{"k"})[0].Err, ttlErr, incrErr, acqErr,
				s.Set(ctx, "k", text("v")), s.Add(ctx, "k", text("v")), s.Delete(ctx, "k"), s.Ping(ctx), s.Scan(within(t, 50*time.Millisecond), "", nil),
			}
			for i, err := range errs {
				foreign := strings.HasPrefix(reply, "VALUE other") && i == 1 // a multi-get may skip a key
				if err == nil || backends.IsAnswer(err) && !foreign {
					t.Errorf("reply %q, operation %d: %v", reply, i, err)
				}
			}
		}
	})
}

func TestComplaints_AreReplyErrors(t *testing.T) {
	overBoth(t, func(t *testing.T, tr Transport) {
		s := open(t, Config{Transport: tr, Servers: fleet(scripted(t, "SERVER_ERROR out of memory storing object\r\n"))})
		for _, err := range []error{s.Set(t.Context(), "k", text("")), s.Add(t.Context(), "k", text("")), s.Delete(t.Context(), "k")} {
			var e *ReplyError
			if !errors.As(err, &e) || e.Line != "SERVER_ERROR out of memory storing object" || errors.Is(err, backends.ErrUnknown) {
				t.Errorf("got %#v", err)
			}
		}
		// The server's own limit is smaller than ours: it says so, and we say what that means.
		srv := serverstest.Memcached(t, "-I", "512k")
		serverstest.Real(t, srv)
		small := open(t, Config{Transport: tr, Servers: fleet(srv.Addr())})
		is(t, small.Set(t.Context(), "k", text(strings.Repeat("x", 700_000))), backends.ErrTooLarge)
	})
}

func TestTooLarge_IsNeverSent(t *testing.T) {
	overBoth(t, func(t *testing.T, tr Transport) {
		s, p := proxied(t, Config{Transport: tr})
		ok(t, s.Set(t.Context(), "k", text("old")))
		n := s.Limits().MaxValueBytes
		before := p.BytesUp()
		big := backends.Item{Value: make([]byte, n+1)}
		is(t, s.Set(t.Context(), "k", big), backends.ErrTooLarge)
		is(t, s.Add(t.Context(), "k2", big), backends.ErrTooLarge)
		is(t, s.SetMany(t.Context(), []backends.KeyItem{{Key: "k", Item: big}})[0], backends.ErrTooLarge)
		if d := p.BytesUp() - before; d != 0 {
			t.Errorf("%d bytes were sent", d)
		}
		holds(t, s, "k", "old")
		for _, key := range []string{"k", strings.Repeat("k", 250), strings.Repeat("long ", 2000), strings.Repeat("x", labelMax-1) + " "} {
			ok(t, s.Set(t.Context(), key, backends.Item{Value: make([]byte, n)}))
			it, err := s.Get(t.Context(), key)
			if ok(t, err); len(it.Value) != n {
				t.Errorf("%d bytes came back of %d", len(it.Value), n)
			}
		}
	})
}

func TestRoundTrips(t *testing.T) {
	overBoth(t, func(t *testing.T, tr Transport) {
		s, p := proxied(t, Config{Transport: tr})
		ctx := t.Context()
		keys := make([]string, 300)
		for i := range keys {
			keys[i] = fmt.Sprint("k", i)
		}
		var l backends.Lease
		var tok backends.Token
		for _, c := range []struct {
			what string
			want int64
			do   func()
		}{
			{"set", 1, func() { ok(t, s.Set(ctx, "k0", text("v"))) }},
			{"get", 1, func() { it, err := s.Get(ctx, "k0"); ok(t, err); tok = it.Token }},
			{"get of a miss", 1, func() { s.Get(ctx, "none") }},
			{"getmany of 300", 1, func() { s.GetMany(ctx, keys) }},
			{"getttl", 1, func() { _, err := s.GetTTL(ctx, "k0"); ok(t, err) }},
			{"cas", 1, func() { ok(t, s.CompareAndSwap(ctx, "k0", tok, text("w"))) }},
			{"add", 1, func() { ok(t, s.Add(ctx, "added", text("w"))) }},
			{"delete", 1, func() { ok(t, s.Delete(ctx, "k0")) }},
			{"increment", 1, func() { ok(t, s.Set(ctx, "n", text("1"))); s.Increment(ctx, "n", 1, 1, 0) }},
			{"acquire, and gets beside the load", 2, func() {
				var err error
				l, _, err = s.Acquire(ctx, "leased", time.Minute)
				ok(t, err)
				<-l.(*lease).claim.ready
			}},
			{"fill", 1, func() { ok(t, l.Fill(ctx, text("v"))) }},
		} {
			if c.what == "increment" {
				c.want++ // the set before it
			}
			before := p.RoundTrips()
			c.do()
			if got := p.RoundTrips() - before; got != c.want {
				t.Errorf("%s: %d round trips, want %d", c.what, got, c.want)
			}
		}
	})
}

func TestScan_WaitsWhileAnotherCrawlRuns(t *testing.T) {
	s := open(t, Config{Servers: fleet(scripted(t, "BUSY currently processing crawler request\r\n",
		"OK\r\nkey=b%20c exp=-1 la=1 cas=1 fetch=no cls=1 size=1\r\nkey=a%3A1 exp=-1\r\nEND\r\n"))})
	var got []string
	ok(t, s.Scan(t.Context(), "", func(keys []string, _ string) error { got = append(got, keys...); return nil }))
	if !slices.Equal(got, []string{"a:1", "b c"}) {
		t.Errorf("got %q", got)
	}
}

func TestClose_RefusesLaterCalls(t *testing.T) {
	overBoth(t, func(t *testing.T, tr Transport) {
		s := one(t, Config{Transport: tr})
		ok(t, s.Set(t.Context(), "k", text("v")))
		ok(t, s.Close())
		ok(t, s.Close())
		_, err := s.Get(t.Context(), "k")
		is(t, err, backends.ErrClosed)
		_, err = s.GetTTL(t.Context(), "k")
		is(t, err, backends.ErrClosed)
	})
}
