package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

type memSide struct {
	addr   string
	before int // items stored before the last flush
}

func (s *memSide) url() string      { return "memcached://" + s.addr }
func (s *memSide) keepsFlags() bool { return true }

func (s *memSide) worker() (worker, error) { return s.dial() }

type memConn struct {
	net.Conn
	r   *bufio.Reader
	req []byte
}

func (s *memSide) dial() (*memConn, error) {
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	return &memConn{Conn: c, r: bufio.NewReaderSize(c, 64<<10)}, nil
}

func (c *memConn) close() { c.Close() }

// ask sends a command and calls line for each line of the answer until that says it was the last.
func (s *memSide) ask(command string, line func([]byte) (last bool)) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, command); err != nil {
		return err
	}
	for {
		text, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line(bytes.TrimRight(text, "\r\n")) {
			return nil
		}
	}
}

func (s *memSide) flush() error {
	if err := s.ask("flush_all\r\n", func([]byte) bool { return true }); err != nil {
		return err
	}
	// What is stored within the second of a flush may be taken for what was there before.
	time.Sleep(1100 * time.Millisecond)
	s.before = 0
	n, err := s.count()
	s.before = n
	return err
}

// count counts what was stored since the last flush: flushed items themselves stay until somebody
// looks.
func (s *memSide) count() (n int, err error) {
	err = s.ask("stats\r\n", func(line []byte) bool {
		if v, ok := bytes.CutPrefix(line, []byte("STAT total_items ")); ok {
			n, _ = strconv.Atoi(string(v))
		}
		return string(line) == "END"
	})
	return n - s.before, err
}

func (s *memSide) fill(a, b int, began time.Time) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	for ; a < b; a += plainBatch {
		var batch []entry
		for i := a; i < min(a+plainBatch, b); i++ {
			e := entryOf(i)
			if e.ttl > 0 {
				e.ttl -= time.Since(began)
			}
			batch = append(batch, e)
		}
		if err := c.write(batch); err != nil {
			return err
		}
	}
	return nil
}

func (s *memSide) list(yield func([]string)) error {
	var keys []string
	err := s.ask("lru_crawler metadump hash\r\n", func(line []byte) bool {
		if rest, ok := bytes.CutPrefix(line, []byte("key=")); ok {
			k, _, _ := strings.Cut(string(rest), " ")
			if strings.Contains(k, "%") {
				k, _ = url.PathUnescape(k)
			}
			keys = append(keys, k)
			return false
		}
		return string(line) == "END"
	})
	yield(keys)
	return err
}

func (c *memConn) read(keys []string, out []entry) error {
	c.req = c.req[:0]
	for _, k := range keys {
		c.req = append(append(append(c.req, "mg "...), k...), " v f t\r\n"...)
	}
	if _, err := c.Write(c.req); err != nil {
		return err
	}
	for i, k := range keys {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return err
		}
		out[i] = entry{key: k, ttl: -1}
		if strings.HasPrefix(line, "EN") {
			continue
		}
		var size, ttl int
		if size, out[i].flags, ttl, err = header(line); err != nil {
			return err
		}
		if out[i].ttl = time.Duration(ttl) * time.Second; ttl < 0 {
			out[i].ttl = 0
		}
		value := make([]byte, size+2)
		if _, err := io.ReadFull(c.r, value); err != nil {
			return err
		}
		out[i].value = value[:size]
	}
	return nil
}

// header reads "VA <size> f<flags> t<seconds>".
func header(line string) (size int, flags uint32, ttl int, err error) {
	f := strings.Fields(line)
	if len(f) != 4 || f[0] != "VA" {
		return 0, 0, 0, fmt.Errorf("unexpected answer %q", line)
	}
	size, err = strconv.Atoi(f[1])
	u, err2 := strconv.ParseUint(f[2][1:], 10, 32)
	ttl, err3 := strconv.Atoi(f[3][1:])
	return size, uint32(u), ttl, errors.Join(err, err2, err3)
}

// write is quiet: the server answers only to the mn at the end, and to what went wrong.
func (c *memConn) write(in []entry) error {
	c.req = c.req[:0]
	for _, e := range in {
		c.req = append(append(append(c.req, "ms "...), e.key...), ' ')
		c.req = strconv.AppendInt(c.req, int64(len(e.value)), 10)
		c.req = strconv.AppendInt(append(c.req, " T"...), int64((e.ttl+time.Second-1)/time.Second), 10)
		c.req = strconv.AppendUint(append(c.req, " F"...), uint64(e.flags), 10)
		c.req = append(append(append(c.req, " q\r\n"...), e.value...), "\r\n"...)
	}
	if _, err := c.Write(append(c.req, "mn\r\n"...)); err != nil {
		return err
	}
	line, err := c.r.ReadString('\n')
	if err == nil && line != "MN\r\n" {
		err = fmt.Errorf("unexpected answer %q", line)
	}
	return err
}
