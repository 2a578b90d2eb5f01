package memcached

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/memcachedtest"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func TestAuth_LogsEveryConnectionIn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	ok(t, os.WriteFile(file, []byte("app:secret\n"), 0o600))
	embedded := memcachedtest.New(memcachedtest.Config{Users: map[string]string{"app": "secret"}})
	t.Cleanup(func() { embedded.Close() })
	ok(t, embedded.Listen("127.0.0.1:0"))
	addrs := []string{embedded.Addr()}
	if srv := serverstest.Memcached(t, "-Y", file); srv.Kind() == servers.Real { // the stand-in ignores -Y
		addrs = append(addrs, srv.Addr())
	}
	for _, addr := range addrs {
		s := open(t, Config{Servers: fleet(addr), Auth: &Auth{"app", "secret"}})
		ok(t, s.Ping(t.Context()))
		ok(t, s.Set(t.Context(), "k", text("v")))
		_, err := s.GetTTL(t.Context(), "k") // on a connection of another pool
		ok(t, err)

		wrong := open(t, Config{Servers: fleet(addr), Auth: &Auth{"app", "guess"}})
		_, err = wrong.Get(t.Context(), "k")
		is(t, err, backends.ErrUnavailable)
		if errors.Is(err, backends.ErrMiss) || strings.Contains(err.Error(), "guess") {
			t.Errorf("got %v", err)
		}
		none := open(t, Config{Servers: fleet(addr)})
		if _, err := none.Get(t.Context(), "k"); err == nil || backends.IsAnswer(err) {
			t.Errorf("without a login: %v", err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", Auth{"app", "secret"}, &Auth{"app", "secret"}, Auth{"app", "secret"}); strings.Contains(text, "secret") {
		t.Errorf("the password shows in %q", text)
	}
}

func TestTLS_WrapsEveryConnection(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	srv := memcachedtest.New(memcachedtest.Config{})
	defer srv.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates})
	ok(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			out, err := l.Accept()
			if err != nil {
				return
			}
			in, err := srv.Dial()
			if err != nil {
				out.Close()
				return
			}
			wg.Go(func() { io.Copy(in, out); in.Close() })
			wg.Go(func() { io.Copy(out, in); out.Close() })
		}
	})
	defer wg.Wait()
	defer l.Close()
	pool := x509.NewCertPool()
	pool.AddCert(web.Certificate())
	s := open(t, Config{Servers: fleet(l.Addr().String()), TLS: &tls.Config{RootCAs: pool}})
	ok(t, s.Set(t.Context(), "k", text("v")))
	holds(t, s, "k", "v")
	it, err := s.GetTTL(t.Context(), "k")
	if ok(t, err); it.TTL != 0 {
		t.Errorf("TTL %v", it.TTL)
	}
	is(t, s.Add(t.Context(), "k", text("w")), backends.ErrExists)
	ok(t, s.Close())

	strange := open(t, Config{Servers: fleet(l.Addr().String()), TLS: &tls.Config{}})
	_, err = strange.Get(t.Context(), "k")
	is(t, err, backends.ErrUnavailable)
}

func TestDialContext_IsUsedAndCutShort(t *testing.T) {
	var dials atomic.Int64
	s := open(t, Config{Servers: fleet("db:1"), DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials.Add(1); network != "tcp" || addr != "db:1" {
			t.Errorf("dialled %s %s", network, addr)
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := s.Get(ctx, "k")
	is(t, err, context.DeadlineExceeded)
	is(t, err, backends.ErrUnavailable)
	if dials.Load() != 1 {
		t.Errorf("%d dials", dials.Load())
	}
}

func TestNew_SaysEverythingThatIsWrong(t *testing.T) {
	_, err := New(Config{})
	if err == nil || !strings.Contains(err.Error(), "no servers") {
		t.Errorf("no servers: %v", err)
	}
	_, err = New(Config{
		Servers: []Server{{Addr: "a:1"}, {Addr: "a:1"}, {Addr: "host"}, {}, {Addr: "b:1", Weight: -1}, {Addr: "c:1", Name: "b:1"}},
		Prefix:  "with blank ", Router: 9, LeaseKey: 9, MaxValueBytes: -1, Auth: &Auth{"a b", ""},
	})
	for _, want := range []string{"listed twice", "missing port", "no address", "weight -1", "named", "prefix", "router", "lease key", "MaxValueBytes", "user name"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("nothing about %q in: %v", want, err)
		}
	}
	s := open(t, Config{Servers: fleet("a:1", "/run/memcached.sock"), Router: Modulo, MaxIdleConns: 1, Timeout: time.Minute, Auth: &Auth{"a", "b"}, LeaseKey: Separate})
	if w := s.Warnings(); len(w) != 5 {
		t.Errorf("warnings: %q", w)
	}
	if w := open(t, Config{Servers: fleet("a:1"), Timeout: time.Second}).Warnings(); len(w) != 0 {
		t.Errorf("warnings: %q", w)
	}
}
