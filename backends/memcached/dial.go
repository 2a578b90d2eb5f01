package memcached

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// dialFunc opens a connection to one server, ready for commands.
type dialFunc func(ctx context.Context) (net.Conn, error)

// dialer returns how to reach addr: connect, TLS, log in, all within Timeout and ctx. The address
// is resolved anew each time.
func (c *Config) dialer(addr string) dialFunc {
	network := "tcp"
	if strings.Contains(addr, "/") {
		network = "unix"
	}
	dial := c.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conf, auth, timeout := tlsFor(c.TLS, addr), c.Auth, c.Timeout
	return func(ctx context.Context) (net.Conn, error) {
		if timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if conf != nil {
			secure := tls.Client(conn, conf)
			if err := secure.HandshakeContext(ctx); err != nil {
				conn.Close()
				return nil, err
			}
			conn = secure
		}
		if auth != nil {
			if err := login(ctx, conn, *auth); err != nil {
				conn.Close()
				return nil, err
			}
		}
		return conn, nil
	}
}

func tlsFor(conf *tls.Config, addr string) *tls.Config {
	if conf == nil || conf.ServerName != "" || conf.InsecureSkipVerify {
		return conf
	}
	conf = conf.Clone()
	if host, _, err := net.SplitHostPort(addr); err == nil {
		conf.ServerName = host
	}
	return conf
}

// login speaks memcached's ASCII authentication: the first command is a set of any key whose
// value is "user password".
func login(ctx context.Context, conn net.Conn, a Auth) error {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := fmt.Fprintf(conn, "set auth 0 0 %d\r\n%s %s\r\n", len(a.Username)+1+len(a.Password), a.Username, a.Password); err != nil {
		return err
	}
	line, err := bufio.NewReaderSize(conn, 128).ReadString('\n') // nothing follows that line unasked
	if err != nil {
		return err
	}
	if line != "STORED\r\n" {
		return fmt.Errorf("user %q was refused (%s): %w", a.Username, strings.TrimSpace(line), backends.ErrUnavailable)
	}
	if !stop() {
		return ctx.Err()
	}
	return conn.SetDeadline(time.Time{})
}
