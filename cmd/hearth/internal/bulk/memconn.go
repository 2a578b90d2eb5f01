package bulk

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// memServer is how to reach one memcached server.
type memServer struct {
	addr     string
	network  string
	tls      *tls.Config
	login    string // "user password"; "" = none
	timeout  time.Duration
	maxValue int // set by ping
}

// memConn is a connection that sends many commands and reads as many answers. Not safe for
// concurrent use.
type memConn struct {
	net.Conn
	r    *bufio.Reader
	wait time.Duration
}

// errReply is a line that the server says about one command.
type errReply struct{ line string }

func (e *errReply) Error() string { return "memcached: " + e.line }

func (s *memServer) dial(ctx context.Context) (*memConn, error) {
	ctx, cancel := context.WithTimeout(ctx, min(s.timeout, 3*time.Second))
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, s.network, s.addr)
	if err != nil {
		return nil, err
	}
	if s.tls != nil {
		secure := tls.Client(conn, s.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		conn = secure
	}
	c := &memConn{Conn: conn, r: bufio.NewReaderSize(conn, 64<<10), wait: s.timeout}
	if s.login != "" {
		line, err := c.ask(ctx, fmt.Sprintf("set auth 0 0 %d\r\n%s\r\n", len(s.login), s.login))
		if err == nil && line != "STORED" {
			err = errors.New("user or password was refused")
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
	}
	return c, nil
}

// ask sends one command and returns the first line of its answer.
func (c *memConn) ask(ctx context.Context, command string) (line string, err error) {
	err = c.exchange(ctx, []byte(command), func() error {
		text, err := c.line()
		line = string(text)
		return err
	})
	return line, err
}

// exchange sends req while answers reads what comes back: a server that waits for somebody to
// read its answers does not read commands.
func (c *memConn) exchange(ctx context.Context, req []byte, answers func() error) error {
	c.SetDeadline(time.Now().Add(c.wait))
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	const fits = 32 << 10 // a socket takes as much without anybody reading
	if len(req) <= fits {
		if _, err := c.Write(req); err != nil {
			return errors.Join(ctx.Err(), err)
		}
		return errors.Join(answers(), ctx.Err())
	}
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(req)
		sent <- err
	}()
	err := answers()
	if err != nil {
		c.Close() // ends the sender
	}
	return errors.Join(err, <-sent, ctx.Err())
}

// line reads a line without its end. It is valid until the next read.
func (c *memConn) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// complaint returns an error for a line that says one.
func complaint(line []byte) error {
	for _, p := range []string{"ERROR", "CLIENT_ERROR", "SERVER_ERROR"} {
		if bytes.HasPrefix(line, []byte(p)) {
			return &errReply{strings.ToValidUTF8(string(line), "?")}
		}
	}
	return nil
}
