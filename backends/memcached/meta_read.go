package memcached

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/hearthcache/hearth/backends"
)

const (
	// stretch is the number of replies that the server has one Timeout for.
	stretch = 32

	// Values up to slabValue share slabs of up to slabSize: fewer allocations, and one value
	// that is kept keeps at most a slab.
	slabValue, slabSize = 1 << 10, 16 << 10

	// trusted is the size up to which room is made before the bytes are there. A size that was
	// garbled on the way must not cost more memory than the bytes that really come.
	trusted = 64 << 10
)

// read reads the replies to the lane's job.
func (m *metaPool) read(l *metaLane) error {
	j := &l.job
	switch j.kind {
	case jobGet:
		for ; j.done < len(j.keys); j.done++ {
			if j.done%stretch == stretch-1 {
				m.extend(l)
			}
			if err := m.readValue(l, j.keys[j.done], &j.out[j.done]); err != nil {
				return err
			}
		}
		return nil
	case jobGets:
		return m.readGets(l)
	case jobQuiet:
		return m.readQuiet(l)
	case jobCount:
		return m.readNumber(l)
	}
	line, err := m.line(l)
	if err != nil {
		return err
	}
	if len(line) < 2 || len(line) > 2 && line[2] != ' ' {
		return unexpected(line)
	}
	switch status := string(line[:2]); status {
	case "HD", "NS", "EX", "NF", "EN":
		j.status = status
		return nil
	}
	return unexpected(line)
}

// line reads a line without its end. It is good until the next read.
func (m *metaPool) line(l *metaLane) ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	line = bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'})
	for _, prefix := range [...]string{"ERROR", "CLIENT_ERROR", "SERVER_ERROR"} {
		if len(line) >= len(prefix) && string(line[:len(prefix)]) == prefix {
			e, _ := complaint(m.server, string(line))
			return nil, e
		}
	}
	return line, nil
}

func unexpected(line []byte) error { return fmt.Errorf("unexpected reply %s", quote(line)) }

// readValue reads "EN" or "VA <size> <flags>*" and the value.
func (m *metaPool) readValue(l *metaLane, key string, out *reply) error {
	line, err := m.line(l)
	if err != nil {
		return err
	}
	kind, rest := word(line)
	if string(kind) == "EN" {
		*out = reply{}
		return nil
	}
	first, rest := word(rest)
	size, ok := number(first)
	if string(kind) != "VA" || !ok || size > 1<<30 {
		return unexpected(line)
	}
	r, ok := details(rest, key)
	if !ok {
		return unexpected(line)
	}
	if r.value, err = m.body(l, int(size)); err != nil {
		return err
	}
	*out = r
	return nil
}

// body reads a value of size bytes and the end of its line.
func (m *metaPool) body(l *metaLane, size int) (value []byte, err error) {
	if size > trusted {
		m.extend(l)
		var b bytes.Buffer
		if _, err := io.CopyN(&b, l.r, int64(size)); err != nil {
			return nil, err
		}
		value = b.Bytes()
	} else {
		value = l.room(size)
		if _, err := io.ReadFull(l.r, value); err != nil {
			return nil, err
		}
	}
	for _, want := range []byte("\r\n") {
		if c, err := l.r.ReadByte(); err != nil {
			return nil, err
		} else if c != want {
			return nil, errors.New("reply without its end")
		}
	}
	return value, nil
}

// room returns size bytes, from the slab if several small values are expected.
func (l *metaLane) room(size int) []byte {
	left := len(l.job.keys) - l.job.done
	if size > slabValue || left <= 1 && size > len(l.slab) {
		return make([]byte, size)
	}
	if size > len(l.slab) {
		l.slab = make([]byte, max(size, min(slabSize, left*(size+size/8))))
	}
	v := l.slab[:size:size]
	l.slab = l.slab[size:]
	return v
}

// details reads k (the key), f (client flags), c (cas id) and t (seconds left).
func details(rest []byte, key string) (r reply, ok bool) {
	r.found = true
	seen := 0
	for len(rest) > 0 {
		var w []byte
		if w, rest = word(rest); len(w) == 0 {
			continue
		}
		switch arg := w[1:]; w[0] {
		case 'k':
			if string(arg) != key {
				return r, false
			}
			seen |= 1
		case 'f':
			n, ok := number(arg)
			if !ok || n > 1<<32-1 {
				return r, false
			}
			r.flags = uint32(n)
			seen |= 2
		case 'c':
			if r.cas, ok = number(arg); !ok {
				return r, false
			}
			seen |= 4
		case 't':
			n, err := strconv.ParseInt(string(arg), 10, 64)
			if err != nil {
				return r, false
			}
			r.ttl = remaining(n)
			r.timed = true
			seen |= 8
		}
	}
	return r, seen == 15
}

// readNumber reads the reply to ma.
func (m *metaPool) readNumber(l *metaLane) error {
	line, err := m.line(l)
	if err != nil {
		return err
	}
	kind, rest := word(line)
	switch string(kind) {
	case "NF", "NS", "EX":
		l.job.status = string(kind)
		return nil
	case "VA":
	default:
		return unexpected(line)
	}
	first, _ := word(rest)
	size, ok := number(first)
	if !ok || size > 20 {
		return unexpected(line)
	}
	digits, err := m.body(l, int(size))
	if err != nil {
		return err
	}
	if l.job.number, ok = number(bytes.TrimRight(digits, " ")); !ok {
		return unexpected(digits)
	}
	l.job.status = "HD"
	return nil
}

// readQuiet reads what quiet changes have to say, up to the MN behind them. Each line names its
// request by an opaque, but for complaints, which the server does not label.
func (m *metaPool) readQuiet(l *metaLane) error {
	for n := 0; ; n++ {
		if n%stretch == stretch-1 {
			m.extend(l)
		}
		line, err := m.line(l)
		var e *ReplyError
		if errors.As(err, &e) {
			if errors.Is(e, backends.ErrUnsupported) {
				return err
			}
			l.job.all = err
			continue
		}
		if err != nil {
			return err
		}
		status, rest := word(line)
		if string(status) == "MN" {
			return nil
		}
		i := -1
		for len(rest) > 0 {
			var w []byte
			if w, rest = word(rest); len(w) > 1 && w[0] == 'O' {
				if n, ok := number(w[1:]); ok && n < uint64(len(l.job.errs)) {
					i = int(n)
				}
			}
		}
		if i < 0 {
			return unexpected(line)
		}
		if l.job.errs[i], err = meaning(string(status)); err != nil {
			return unexpected(line)
		}
	}
}

// word cuts the first word off a line.
func word(line []byte) (w, rest []byte) {
	for len(line) > 0 && line[0] == ' ' {
		line = line[1:]
	}
	if i := bytes.IndexByte(line, ' '); i >= 0 {
		return line[:i], line[i:]
	}
	return line, nil
}

// number reads decimal digits, without allocating.
func number(b []byte) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 || n > (1<<64-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}
