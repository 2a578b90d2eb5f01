package servers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// respConn speaks as much RESP2 as starting a server needs, so that this package
// depends on no client whose tests depend on it.
type respConn struct {
	net.Conn
	r *bufio.Reader
}

// dialRESP connects; the whole conversation must be over within the time.
func dialRESP(addr string, within time.Duration) (*respConn, error) {
	c, err := net.DialTimeout("tcp", addr, within)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &respConn{Conn: c, r: bufio.NewReader(c)}, nil
}

// close hangs up; nothing of worth is lost with the connection.
func (c *respConn) close() { _ = c.Close() }

// do sends one command and returns its reply: a string (simple and bulk), an
// int64, a []any or nil. An error reply is an error with the server's text.
func (c *respConn) do(args ...string) (any, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(c.Conn, b.String()); err != nil {
		return nil, err
	}
	return c.reply()
}

// text is do for commands that answer with a string.
func (c *respConn) text(args ...string) (string, error) {
	v, err := c.do(args...)
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("servers: %s answered a %T", args[0], v)
	}
	return s, nil
}

func (c *respConn) reply() (any, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return nil, errors.New("servers: empty reply line")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return nil, errors.New(rest)
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("servers: reply %q: %w", line, err)
	}
	switch {
	case kind == ':':
		return n, nil
	case n < 0:
		return nil, nil
	case kind == '$':
		b := make([]byte, n+2)
		if _, err := io.ReadFull(c.r, b); err != nil {
			return nil, err
		}
		return string(b[:n]), nil
	case kind == '*':
		list := make([]any, n)
		for i := range list {
			if list[i], err = c.reply(); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return nil, fmt.Errorf("servers: reply %q", line)
}

// infoField returns the value of "name:value" in a text of lines, or "".
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
