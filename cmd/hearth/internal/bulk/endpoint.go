package bulk

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Endpoint is a server or a fleet to copy from or to.
type Endpoint struct {
	endpoint
	name     string // without the password
	hashKeys bool
}

// String returns the URL without its password.
func (e *Endpoint) String() string { return e.name }

// Close closes the connections.
func (e *Endpoint) Close() error { return e.close() }

// Ping reports whether every server answers, and asks what the copier has to know of them.
func (e *Endpoint) Ping(ctx context.Context) error {
	if err := e.ping(ctx); err != nil {
		return fmt.Errorf("%s: %w", e.name, err)
	}
	return nil
}

// endpoint is a kind of server.
type endpoint interface {
	ping(ctx context.Context) error
	// estimate returns about how many keys there are; 0 = not known.
	estimate(ctx context.Context) int64
	// scan lists keys from a cursor on ("" = the beginning) in batches.
	scan(ctx context.Context, from string, f *Filter, yield func(batch) error) error
	// session returns what one worker uses.
	session() session
	keepsFlags() bool
	// places names every server, so that two endpoints with a common one have a common name.
	places(ctx context.Context) ([]string, error)
	// remarks are what is to be known of the lists that scan has given so far.
	remarks() []string
	close() error
}

// session carries out batches for one worker. An error means that the whole batch may be tried
// again; what concerns one key is in its record.
type session interface {
	// read looks up records by Listed on the server that listed them (-1: by Key on the server
	// they belong to), and fills in the rest. A record that is not Pending afterwards was not there or is no value.
	read(ctx context.Context, server int, recs []*Record) error
	// write stores the records; without overwrite only where there is nothing.
	write(ctx context.Context, recs []*Record, overwrite bool) error
	// look finds out which keys exist, and changes nothing.
	look(ctx context.Context, recs []*Record) error
	// claim takes a lease on each key for hold, where there is nothing.
	claim(ctx context.Context, recs []*Record, hold time.Duration) error
	// fill stores the records whose lease is still there.
	fill(ctx context.Context, recs []*Record) error
	// release gives leases back that are still there.
	release(ctx context.Context, recs []*Record) error
	// remove deletes the records by Listed on the server that listed them, after read. What was
	// read as a value and is a placeholder by now stays. Fates are Expired, Changed or Failed.
	remove(ctx context.Context, server int, recs []*Record) error
	close()
}

// batch is some keys, and where to go on after them.
type batch struct {
	server int // that listed them
	keys   []string
	next   string // cursor; "" = not a place to go on from
	passed Tally  // fates known from the list alone
}

// Options are what the endpoints need to know besides their URLs.
type Options struct {
	// Timeout is how long a server may take for a batch. 0 = 10 s.
	Timeout time.Duration
	// Workers that will use the endpoint at a time. 0 = 4.
	Workers int
	// HashKeys lets memcached hold keys that it cannot hold under their hash, as hearth's
	// driver does. Other clients cannot find these.
	HashKeys bool
}

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Workers <= 0 {
		o.Workers = 4
	}
	return o
}

// Forms of URLs, for messages and help.
const Forms = `redis://[user:password@]host:port/db          one Redis (rediss:// with TLS, unix:///path)
redis+cluster://host:port[,host:port...]      a Redis Cluster (also redis://host:port?addr=host:port)
memcached://host:port[,host:port...]          memcached; with ?router=rendezvous|ketama|modulo for a list
                                              (memcacheds:// with TLS; user:password@ for -Y)`

// Open returns the endpoint that a URL names. It does not connect. Errors never hold a password.
func Open(rawURL string, o Options) (*Endpoint, error) {
	o = o.withDefaults()
	scheme := schemeOf(rawURL)
	if scheme == "" {
		return nil, fmt.Errorf("%q is no URL of a cache server; known are\n%s", Redact(rawURL), Forms)
	}
	var e endpoint
	var err error
	switch scheme {
	case "redis", "rediss", "unix", "redis+cluster", "rediss+cluster":
		e, err = openRedis(scheme, rawURL, o)
	case "memcached", "memcacheds":
		e, err = openMemcached(scheme, rawURL, o)
	default:
		return nil, fmt.Errorf("scheme %q is not known; known are\n%s", scheme, Forms)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Redact(rawURL), withoutURL(err))
	}
	return &Endpoint{endpoint: e, name: Redact(rawURL), hashKeys: o.HashKeys}, nil
}

// schemeOf returns what is in front of "://", "" if that is missing.
func schemeOf(rawURL string) string {
	scheme, _, ok := strings.Cut(rawURL, "://")
	if !ok {
		return ""
	}
	return scheme
}

// Redact returns a URL without its password. What cannot be read as a URL loses everything
// before its last '@'.
func Redact(rawURL string) string {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		scheme, rest = "", rawURL
	}
	head, query, _ := strings.Cut(rest, "?")
	if at := strings.LastIndexByte(head, '@'); at >= 0 {
		user, _, secret := strings.Cut(head[:at], ":")
		if secret || !ok {
			user += ":***"
		}
		head = user + head[at:]
	}
	out := head
	if ok {
		out = scheme + "://" + head
	}
	if query == "" {
		return out
	}
	// Only what is known to be harmless is shown.
	var shown []string
	for part := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(part, "=")
		switch name {
		case "addr", "router", "db", "master_name":
			shown = append(shown, part)
		default:
			shown = append(shown, name+"=***")
		}
	}
	return out + "?" + strings.Join(shown, "&")
}

// withoutURL takes the URL off an error of package net/url: it may hold a password.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return errors.New("the URL cannot be read (a special character in the password has to be percent-encoded)")
	}
	return err
}
