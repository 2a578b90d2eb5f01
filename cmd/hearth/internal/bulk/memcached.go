package bulk

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/internal/wire"
)

// memEnd is a fleet of memcached servers.
type memEnd struct {
	servers []*memServer
	layout  *memcached.Layout
	opt     Options
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

func (e *memEnd) session() session {
	return &memSession{memEnd: e, conns: make([]*memConn, len(e.servers))}
}

// memSession has one connection to each server.
type memSession struct {
	*memEnd
	conns []*memConn
	req   []byte
}

func (s *memSession) close() {
	for i := range s.conns {
		s.drop(i)
	}
}

func (s *memSession) drop(i int) {
	if s.conns[i] != nil {
		s.conns[i].Close()
		s.conns[i] = nil
	}
}

// pipeline sends a command per record and hands each answer's first line to answer, which may
// read on. A connection that failed is not used again.
func (s *memSession) pipeline(ctx context.Context, server int, recs []*Record, command func([]byte, *Record) []byte, answer func(*Record, []byte, *memConn) error) error {
	if len(recs) == 0 {
		return nil
	}
	if s.conns[server] == nil {
		c, err := s.servers[server].dial(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.servers[server].addr, err)
		}
		s.conns[server] = c
	}
	c := s.conns[server]
	s.req = s.req[:0]
	for _, r := range recs {
		s.req = command(s.req, r)
	}
	err := c.exchange(ctx, s.req, func() error {
		for _, r := range recs {
			line, err := c.line()
			if err != nil {
				return err
			}
			if err := complaint(line); err != nil {
				r.fail(err)
				continue
			}
			if err := answer(r, line, c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.drop(server)
		return fmt.Errorf("%s: %w", s.servers[server].addr, err)
	}
	return nil
}

// each runs a pipeline on every server for the records that it owns.
func (s *memSession) each(ctx context.Context, recs []*Record, command func([]byte, *Record) []byte, answer func(*Record, []byte, *memConn) error) error {
	if len(s.servers) == 1 {
		return s.pipeline(ctx, 0, recs, command, answer)
	}
	of := make([][]*Record, len(s.servers))
	for _, r := range recs {
		i := s.layout.Owner(wireKey(r))
		of[i] = append(of[i], r)
	}
	for i := range of {
		if err := s.pipeline(ctx, i, of[i], command, answer); err != nil {
			return err
		}
	}
	return nil
}

// wireKey is the key that the server knows.
func wireKey(r *Record) string {
	if r.Hashed {
		if w, _, err := memcached.WireKey(r.Key); err == nil {
			return w
		}
	}
	return r.Key
}

func (s *memSession) read(ctx context.Context, server int, recs []*Record) error {
	if server < 0 {
		for _, r := range recs {
			s.name(r)
		}
		return s.each(ctx, pending(recs), askValue, takeValue(time.Now()))
	}
	for _, r := range recs {
		r.Key, r.Hashed = r.Listed, false
	}
	if err := s.pipeline(ctx, server, recs, askValue, takeValue(time.Now())); err != nil {
		return err
	}
	for _, r := range recs {
		if r.Fate != Pending || memcached.KindOf(r.Listed) != memcached.Hashed {
			continue
		}
		key, rest, ok := memcached.Unpack(r.Listed, r.Value)
		if !ok {
			r.Fate = Unnamed
			continue
		}
		r.Key, r.Hashed = key, true
		r.setValue(rest)
	}
	return nil
}

func askValue(req []byte, r *Record) []byte {
	return append(append(append(req, "mg "...), wireKey(r)...), " v f t\r\n"...)
}

// takeValue returns what reads "VA size f<flags> t<seconds>" and the value, or "EN" for none.
// Lifetimes count from asked: an answer that was long on its way makes nothing live longer.
func takeValue(asked time.Time) func(*Record, []byte, *memConn) error {
	return func(r *Record, line []byte, c *memConn) error { return r.takeAnswer(asked, line, c) }
}

func (r *Record) takeAnswer(asked time.Time, line []byte, c *memConn) error {
	if bytes.HasPrefix(line, []byte("EN")) {
		r.Fate = Expired
		return nil
	}
	rest, ok := bytes.CutPrefix(line, []byte("VA "))
	field, rest, _ := bytes.Cut(rest, []byte{' '})
	size, err := strconv.Atoi(string(field))
	if !ok || err != nil || size < 0 || size > 1<<30 {
		return fmt.Errorf("unexpected answer %.60q", line)
	}
	for len(rest) > 0 {
		field, rest, _ = bytes.Cut(rest, []byte{' '})
		if len(field) < 2 {
			continue
		}
		n, err := strconv.ParseInt(string(field[1:]), 10, 64)
		if err != nil {
			return fmt.Errorf("unexpected answer %.60q", line)
		}
		switch {
		case field[0] == 'f':
			r.Flags = uint32(n)
		case field[0] == 't' && n == 0:
			r.Fate = Expired // in this very second
		case field[0] == 't' && n > 0:
			r.Deadline = asked.Add(time.Duration(n) * time.Second)
		}
	}
	value := make([]byte, size+2)
	if _, err := io.ReadFull(c.r, value); err != nil {
		return err
	}
	if !bytes.HasSuffix(value, []byte("\r\n")) {
		return errors.New("a value does not end where it should")
	}
	if value = value[:size:size]; r.Fate == Pending {
		r.setValue(value)
	}
	return nil
}

// name decides under which key memcached holds a record.
func (s *memSession) name(r *Record) {
	_, hashed, err := memcached.WireKey(r.Key)
	switch {
	case r.Fate != Pending:
	case err != nil, hashed && !r.Hashed && !s.opt.HashKeys:
		r.Fate = BadKey
	default:
		r.Hashed = hashed
	}
}

// storable settles the records that memcached cannot hold or that have ended.
func (s *memSession) storable(recs []*Record) []*Record {
	now := time.Now()
	for _, r := range recs {
		s.name(r)
		if r.Fate != Pending {
			continue
		}
		if _, alive := r.left(now); !alive {
			r.Fate = Expired
			continue
		}
		if len(packed(r)) > s.servers[s.layout.Owner(wireKey(r))].maxValue {
			r.Fate = TooLarge
		}
	}
	return pending(recs)
}

func packed(r *Record) []byte {
	if r.Hashed {
		return memcached.Pack(r.Key, r.Value)
	}
	return r.Value
}

func (s *memSession) write(ctx context.Context, recs []*Record, overwrite bool) error {
	mode := " ME"
	if overwrite {
		mode = ""
	}
	now := time.Now()
	return s.each(ctx, s.storable(recs), func(req []byte, r *Record) []byte {
		return appendSet(req, r, mode, now)
	}, func(r *Record, line []byte, _ *memConn) error { return stored(r, line, Exists) })
}

// appendSet appends "ms key size T<expiry> F<flags> <mode>" and the value.
func appendSet(req []byte, r *Record, mode string, now time.Time) []byte {
	value := packed(r)
	req = append(append(append(req, "ms "...), wireKey(r)...), ' ')
	req = strconv.AppendInt(req, int64(len(value)), 10)
	if !r.Deadline.IsZero() {
		req = strconv.AppendInt(append(req, " T"...), expiry(r, now), 10)
	}
	if r.Flags != 0 {
		req = strconv.AppendUint(append(req, " F"...), uint64(r.Flags), 10)
	}
	req = append(append(req, mode...), "\r\n"...)
	return append(append(req, value...), "\r\n"...)
}

// expiry returns the rest of a lifetime in seconds, to the nearest one: the server counts no less,
// and cuts the first one short, so that a copy ends within a second and a half of the original and
// outlives it by half a second at most. More than 30 days are a date, and end in 2038, with the
// server's 31 bits for them.
func expiry(r *Record, now time.Time) int64 {
	const month = 30 * 24 * 60 * 60
	left, _ := r.left(now)
	s := max(int64((left+time.Second/2)/time.Second), 1)
	if s > month {
		s = min(s+now.Unix(), math.MaxInt32)
	}
	return s
}

// stored reads the answer to a write; no is the fate of a record that was not stored.
func stored(r *Record, line []byte, no Fate) error {
	if len(line) < 2 {
		return fmt.Errorf("unexpected answer %.60q", line)
	}
	switch string(line[:2]) {
	case "HD":
		r.Fate = Copied
	case "NS", "EX", "NF":
		r.Fate = no
	default:
		return fmt.Errorf("unexpected answer %.60q", line)
	}
	return nil
}

func (s *memSession) look(ctx context.Context, recs []*Record) error {
	return s.each(ctx, s.storable(recs), func(req []byte, r *Record) []byte {
		return append(append(append(req, "mg "...), wireKey(r)...), "\r\n"...)
	}, func(r *Record, line []byte, _ *memConn) error {
		r.Fate = Exists
		if bytes.HasPrefix(line, []byte("EN")) {
			r.Fate = Copied
		}
		return nil
	})
}

func (s *memSession) claim(ctx context.Context, recs []*Record, hold time.Duration) error {
	for _, r := range recs {
		s.name(r)
	}
	return s.each(ctx, pending(recs), func(req []byte, r *Record) []byte {
		r.token = wire.NewLease()
		req = append(append(append(req, "ms "...), wireKey(r)...), ' ')
		req = strconv.AppendInt(req, int64(len(r.token)), 10)
		req = strconv.AppendInt(append(req, " T"...), int64(hold/time.Second)+1, 10)
		return append(append(append(req, " ME c\r\n"...), r.token...), "\r\n"...)
	}, func(r *Record, line []byte, _ *memConn) error {
		id, mine := bytes.CutPrefix(line, []byte("HD c"))
		if !mine {
			r.Fate = Exists
			return nil
		}
		var err error
		r.cas, err = strconv.ParseUint(string(id), 10, 64)
		return err
	})
}

func (s *memSession) fill(ctx context.Context, recs []*Record) error {
	now := time.Now()
	return s.each(ctx, s.storable(recs), func(req []byte, r *Record) []byte {
		return appendSet(req, r, " C"+strconv.FormatUint(r.cas, 10), now)
	}, func(r *Record, line []byte, _ *memConn) error { return stored(r, line, Changed) })
}

func (s *memSession) release(ctx context.Context, recs []*Record) error {
	return s.each(ctx, recs, func(req []byte, r *Record) []byte {
		req = append(append(append(req, "md "...), wireKey(r)...), " C"...)
		return append(strconv.AppendUint(req, r.cas, 10), "\r\n"...)
	}, func(*Record, []byte, *memConn) error { return nil })
}
