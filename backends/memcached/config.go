package memcached

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Config describes a fleet of memcached servers and how to talk to it. The zero value of every
// field but Servers is the documented default.
type Config struct {
	// Servers is the fleet; at least one.
	Servers []Server

	// Router chooses the server of a key. Every client of a fleet must use the same router and
	// the same list (for Modulo: in the same order).
	Router Router

	// Prefix is put in front of every key, so that several users can share a server. It takes
	// part in routing, as it would for any other client that was given the whole key. Only what
	// memcached allows in keys, at most 100 bytes.
	Prefix string

	// Timeout is how long a server may take to accept a connection or to go on answering, where
	// the ctx of the call does not end sooner. 0 = 250 ms, negative = only the ctx counts.
	Timeout time.Duration

	// MaxIdleConns is the number of connections kept open to each server. 0 = 64: fewer than
	// there are concurrent callers means dialling for most calls.
	MaxIdleConns int

	// MaxConns caps the connections to each server, and with them the calls that can hang on a
	// silent one; further calls wait for one, for as long as their ctx and Timeout allow. 0 =
	// four times MaxIdleConns, negative = no cap.
	MaxConns int

	// DialContext opens connections; nil = a net.Dialer. It must obey its ctx.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// TLS, if set, wraps every connection. An empty ServerName is taken from the address.
	TLS *tls.Config

	// Auth, if set, logs every connection in (memcached -Y).
	Auth *Auth

	// MaxValueBytes is the largest value that is sent; a larger one is [backends.ErrTooLarge]
	// and leaves the old value alone, where memcached itself would drop it. 0 fits the servers'
	// default item size of 1 MiB (-I) with any key. Servers that were given more can take up to
	// their size less 2 KiB.
	MaxValueBytes int

	// LeaseKey says where leases and tombstones are kept.
	LeaseKey LeaseKey

	// Transport says how to talk to the servers. Clients of one fleet may differ in it.
	Transport Transport
}

// Transport is a way to talk to a server.
type Transport uint8

const (
	// Gomemcache is the text protocol, through github.com/bradfitz/gomemcache. Any server.
	Gomemcache Transport = iota

	// Meta is the meta protocol on connections of our own: the remaining lifetime comes with a
	// Get, batches of sets, deletes and leases are one trip, and values of a batch share memory. GetMany
	// is a gets of the text protocol, which costs the server half as much and tells no lifetimes.
	// Servers from 1.6 on; older ones get [backends.ErrUnsupported].
	Meta
)

// Server is one memcached server.
type Server struct {
	// Addr is "host:port", or the path of a unix socket (anything with a slash).
	Addr string

	// Name identifies the server to the Rendezvous router, so that it keeps its keys when it
	// moves to another address. "" = Addr. Ketama and Modulo do not look at it.
	Name string

	// Weight is the server's share of the keys, relative to the others'. 0 = 1.
	Weight int
}

// LeaseKey says where leases and tombstones are kept.
type LeaseKey uint8

const (
	// InData keeps them under the key of the data itself. One operation kills value and lease
	// together, which makes the fence exact. Clients that know nothing of hearth see the
	// placeholder of a key that is being loaded as a value of 18 bytes.
	InData LeaseKey = iota

	// Separate keeps them under a key of their own, for fleets shared with clients that must
	// never see a placeholder. memcached has no operation over two keys, so the fence is weaker:
	// a fill that races with a delete may be read for the moment until the filler notices and
	// takes it back, and for up to two seconds if the filler dies in that moment. Writes and
	// deletes cost one more round trip, fills four.
	Separate
)

// Auth is a user of memcached's ASCII authentication.
type Auth struct {
	Username string
	Password string
}

// String hides the password.
func (a Auth) String() string { return a.Username + ":***" }

// GoString hides the password.
func (a Auth) GoString() string { return "memcached.Auth{" + a.String() + "}" }

// Defaults, and their reasons.
const (
	defaultTimeout      = 250 * time.Millisecond // a cache that is slower than this is of no use
	defaultMaxIdleConns = 64                     // with 2, as gomemcache has it, 70 % of 64 callers dial
	defaultMaxValue     = 1<<20 - 1<<10 - maxKey // what every build of memcached stores with -I 1m
	maxPrefix           = 100
)

// withDefaults validates c as a whole and fills in the defaults.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if len(c.Servers) == 0 {
		bad("no servers")
	}
	servers := make([]Server, len(c.Servers))
	addrs, names := map[string]bool{}, map[string]bool{}
	for i, s := range c.Servers {
		if s.Name == "" {
			s.Name = s.Addr
		}
		switch _, _, err := net.SplitHostPort(s.Addr); {
		case s.Addr == "":
			bad("server %d has no address", i)
		case err != nil && !strings.Contains(s.Addr, "/"):
			bad("server %d: %v", i, err)
		case addrs[s.Addr]:
			bad("server %s is listed twice (use Weight)", s.Addr)
		case names[s.Name]:
			bad("two servers are named %q", s.Name)
		}
		if s.Weight < 0 || s.Weight > 1<<16 {
			bad("server %s: weight %d is not in 0..65536", s.Addr, s.Weight)
		}
		if s.Weight == 0 {
			s.Weight = 1
		}
		addrs[s.Addr], names[s.Name] = true, true
		servers[i] = s
	}
	c.Servers = servers
	if c.Router > Modulo {
		bad("unknown router %d", c.Router)
	}
	if c.Transport > Meta {
		bad("unknown transport %d", c.Transport)
	}
	if c.LeaseKey > Separate {
		bad("unknown lease key %d", c.LeaseKey)
	}
	if len(c.Prefix) > maxPrefix || !legal(c.Prefix) {
		bad("prefix %q is not a memcached key of at most %d bytes", c.Prefix, maxPrefix)
	}
	if a := c.Auth; a != nil && (a.Username == "" || strings.ContainsAny(a.Username, " \t\r\n") || strings.ContainsAny(a.Password, " \t\r\n")) {
		bad("user name and password must not be empty or hold blanks")
	}
	if c.MaxValueBytes < 0 {
		bad("MaxValueBytes is negative")
	}
	if c.MaxValueBytes == 0 {
		c.MaxValueBytes = defaultMaxValue
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.MaxIdleConns <= 0 {
		c.MaxIdleConns = defaultMaxIdleConns
	}
	if c.MaxConns == 0 {
		c.MaxConns = 4 * c.MaxIdleConns
	}
	if err := errors.Join(errs...); err != nil {
		return c, fmt.Errorf("memcached: bad configuration: %w", err)
	}
	return c, nil
}
