package bulk

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/hearthcache/hearth/backends/memcached"
)

// memEnd is a fleet of memcached servers.
type memEnd struct {
	servers []*memServer
	layout  *memcached.Layout
	opt     Options

	mu   sync.Mutex
	said []string // remarks
}

// remarks implements endpoint.
func (e *memEnd) remarks() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.said)
}

// remark adds one, once.
func (e *memEnd) remark(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Contains(e.said, text) {
		e.said = append(e.said, text)
	}
}

func openMemcached(scheme, rawURL string, o Options) (endpoint, error) {
	conf, err := memcachedURL(scheme, rawURL)
	if err != nil {
		return nil, err
	}
	e := &memEnd{opt: o}
	for _, srv := range conf.Servers {
		s := &memServer{addr: srv.Addr, network: "tcp", timeout: o.Timeout}
		if strings.HasPrefix(srv.Addr, "/") {
			s.network = "unix"
		}
		if a := conf.Auth; a != nil {
			s.login = a.Username + " " + a.Password
		}
		if conf.TLS != nil {
			host, _, _ := net.SplitHostPort(s.addr)
			s.tls = conf.TLS.Clone()
			s.tls.ServerName = host
		}
		e.servers = append(e.servers, s)
	}
	e.layout, err = memcached.NewLayout(conf.Router, conf.Servers)
	return e, err
}

// memcachedURL reads memcached://[user:password@]host[:port][,host[:port]...][?router=...].
func memcachedURL(scheme, rawURL string) (c memcached.Config, err error) {
	_, rest, _ := strings.Cut(rawURL, "://")
	head, query, _ := strings.Cut(rest, "?")
	hosts := head
	if at := strings.LastIndexByte(head, '@'); at >= 0 {
		hosts = head[at+1:]
		user, password, _ := strings.Cut(head[:at], ":")
		u, err := url.PathUnescape(user)
		p, err2 := url.PathUnescape(password)
		if err := errors.Join(err, err2); err != nil {
			return c, &url.Error{Err: err}
		}
		c.Auth = &memcached.Auth{Username: u, Password: p}
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return c, &url.Error{Err: err}
	}
	for name := range q {
		if name != "router" {
			return c, fmt.Errorf("option %q is not known; there is router=rendezvous|ketama|modulo", name)
		}
	}
	switch q.Get("router") {
	case "", "rendezvous":
		c.Router = memcached.Rendezvous
	case "ketama":
		c.Router = memcached.Ketama
	case "modulo":
		c.Router = memcached.Modulo
	default:
		return c, fmt.Errorf("router %q is not known; there are rendezvous, ketama and modulo", q.Get("router"))
	}
	if scheme == "memcacheds" {
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if !strings.HasPrefix(hosts, "/") {
		hosts = strings.TrimSuffix(hosts, "/")
	}
	for addr := range strings.SplitSeq(hosts, ",") {
		if addr == "" {
			return c, errors.New("a server without an address")
		}
		if _, _, err := net.SplitHostPort(addr); err != nil && !strings.HasPrefix(addr, "/") {
			addr = net.JoinHostPort(strings.Trim(addr, "[]"), "11211")
		}
		c.Servers = append(c.Servers, memcached.Server{Addr: addr})
	}
	return c, nil
}

func (e *memEnd) keepsFlags() bool { return true }
func (e *memEnd) close() error     { return nil }

// ping asks every server for the size of its largest item, and whether it knows the meta
// commands.
func (e *memEnd) ping(ctx context.Context) error {
	for _, s := range e.servers {
		c, err := s.dial(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.addr, err)
		}
		err = s.inspect(ctx, c)
		c.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", s.addr, err)
		}
	}
	return nil
}

// inspect learns the item size. A value may have all but 2 KiB of it, less for the default of
// 1 MiB: see MaxValueBytes of the driver.
func (s *memServer) inspect(ctx context.Context, c *memConn) error {
	line, err := c.ask(ctx, "mn\r\n")
	if err != nil {
		return err
	}
	if line != "MN" {
		return fmt.Errorf("the server does not know the meta commands (memcached 1.6 does): %s", line)
	}
	stats, err := c.stats(ctx, "settings")
	size, _ := strconv.Atoi(stats["item_size_max"])
	if size == 0 {
		size = 1 << 20
	}
	s.maxValue = size - 1<<10 - 250
	return err
}

func (c *memConn) stats(ctx context.Context, what string) (map[string]string, error) {
	all := map[string]string{}
	err := c.exchange(ctx, []byte("stats "+what+"\r\n"), func() error {
		for {
			line, err := c.line()
			if err != nil || string(line) == "END" || !bytes.HasPrefix(line, []byte("STAT ")) {
				return err
			}
			name, value, _ := strings.Cut(string(line[5:]), " ")
			all[name] = value
		}
	})
	return all, err
}

func (e *memEnd) estimate(ctx context.Context) (n int64) {
	for _, s := range e.servers {
		c, err := s.dial(ctx)
		if err != nil {
			return 0
		}
		line, err := c.stats(ctx, "")
		c.Close()
		if err != nil {
			return 0
		}
		items, _ := strconv.ParseInt(line["curr_items"], 10, 64)
		n += items
	}
	return n
}
