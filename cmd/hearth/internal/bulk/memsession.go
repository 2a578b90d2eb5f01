package bulk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/hearthcache/hearth/backends/memcached"
)

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
		if w, _, err := memcached.PrefixedWireKey(r.prefix, r.behind()); err == nil {
			return w
		}
	}
	return r.Key
}

// behind is the key without the prefix of its store.
func (r *Record) behind() string { return strings.TrimPrefix(r.Key, r.prefix) }

func (s *memSession) read(ctx context.Context, server int, recs []*Record) error {
	if server < 0 {
		for _, r := range recs {
			s.name(r)
		}
		if err := s.each(ctx, pending(recs), askValue, takeValue(time.Now())); err != nil {
			return err
		}
		for _, r := range recs {
			if r.Fate == Pending && r.Hashed {
				if value, ok := bytes.CutPrefix(r.Value, memcached.Pack(r.behind(), nil)); ok { // counters have no label
					r.setValue(value)
				}
			}
		}
		return nil
	}
	for _, r := range recs {
		r.Key, r.Hashed = r.Listed, false
	}
	if err := s.pipeline(ctx, server, recs, askValue, takeValue(time.Now())); err != nil {
		return err
	}
	for _, r := range recs {
		wire, kind := kindOf(r.Listed, r.prefix)
		if r.Fate != Pending || kind != memcached.Hashed {
			continue
		}
		key, rest, ok := memcached.Unpack(wire, r.Value)
		if !ok {
			r.Fate = Unnamed
			continue
		}
		r.Key, r.Hashed = strings.TrimSuffix(r.Listed, wire)+key, true
		r.setValue(rest)
	}
	return nil
}

func askValue(req []byte, r *Record) []byte {
	return append(append(append(req, "mg "...), wireKey(r)...), " v f t c\r\n"...)
}

// takeValue returns what reads "VA size f<flags> t<seconds> c<id>" and the value, or "EN" for none.
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
		if field[0] == 'c' {
			if r.seen, err = strconv.ParseUint(string(field[1:]), 10, 64); err != nil {
				return fmt.Errorf("unexpected answer %.60q", line)
			}
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
	_, hashed, err := memcached.PrefixedWireKey(r.prefix, r.behind())
	switch {
	case r.Fate != Pending:
	case err != nil, hashed && !r.Hashed && !s.opt.HashKeys:
		r.Fate = BadKey
	default:
		r.Hashed = hashed
	}
}
