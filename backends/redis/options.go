package redis

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// The settings a cache needs of a client. A cache that answers later than the source of record
// is of no use, so connections give up after a quarter of a second at most, and callers'
// deadlines count. Retries are the caller's: the client's would carry a lost increment out
// again.
const (
	timeout     = 250 * time.Millisecond
	noRetries   = -1 // 0 would mean 3
	oneDial     = 1  // a dead port then fails at once, not after 5 dials and 400 ms
	slowTimeout = time.Second
)

// Options returns the options of a client for one server at addr (host:port) with the settings
// a cache needs: callers' deadlines respected, no retries, 250 ms for a dial, a read, a write
// and the wait for a connection. Change what you like; [Warnings] tells what hurts.
func Options(addr string) *goredis.Options {
	return tune(&goredis.Options{Addr: addr})
}

func tune(o *goredis.Options) *goredis.Options {
	o.ContextTimeoutEnabled = true
	orElse(&o.MaxRetries, noRetries)
	orElse(&o.DialerRetries, oneDial)
	for _, d := range []*time.Duration{&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout, &o.PoolTimeout} {
		orElse(d, timeout)
	}
	return o
}

// ClusterOptions is [Options] for a Redis Cluster; addrs are some of its nodes.
func ClusterOptions(addrs ...string) *goredis.ClusterOptions {
	return tuneCluster(&goredis.ClusterOptions{Addrs: slices.Clone(addrs)}) // the client appends to its list
}

func tuneCluster(o *goredis.ClusterOptions) *goredis.ClusterOptions {
	o.ContextTimeoutEnabled = true
	orElse(&o.MaxRetries, noRetries)
	orElse(&o.DialerRetries, oneDial)
	for _, d := range []*time.Duration{&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout, &o.PoolTimeout} {
		orElse(d, timeout)
	}
	return o
}

// FailoverOptions is [Options] for a server that Sentinel names; sentinels are their addresses.
func FailoverOptions(master string, sentinels ...string) *goredis.FailoverOptions {
	return tuneFailover(&goredis.FailoverOptions{MasterName: master, SentinelAddrs: sentinels})
}

func tuneFailover(o *goredis.FailoverOptions) *goredis.FailoverOptions {
	o.ContextTimeoutEnabled = true
	orElse(&o.MaxRetries, noRetries)
	orElse(&o.DialerRetries, oneDial)
	for _, d := range []*time.Duration{&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout, &o.PoolTimeout} {
		orElse(d, timeout)
	}
	return o
}

// orElse gives a setting that was left open its value.
func orElse[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// form is what [Open] takes, for those who gave it something else.
const form = "redis://user:password@host:port/db, user and db optional (rediss:// with TLS, unix:///path for a socket)"

// bare is a server without the rest of a URL: "localhost:6379", "10.0.0.1:6379", "[::1]:6379".
var bare = regexp.MustCompile(`^([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$`)

// Open returns a client for a URL, with the settings of [Options] wherever the URL does not say
// otherwise. Nothing is dialled yet; the caller closes the client.
//
//	redis://user:password@host:6379/0        one server (rediss:// with TLS, unix:// for a socket)
//	redis://host:6379?addr=other:6379        a cluster: at least one addr
//	redis://host:26379?master_name=mymaster  a server that Sentinel names
func Open(rawURL string) (goredis.UniversalClient, error) {
	switch {
	case rawURL == "":
		return nil, fmt.Errorf("redis: the URL is empty; its form is %s", form)
	case bare.MatchString(rawURL):
		return nil, fmt.Errorf("redis: %q is no URL, redis://%s/0 is one; its form is %s", rawURL, rawURL, form)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("redis: the URL cannot be read: %w; its form is %s", err.(*url.Error).Err, form) // without the password in it
	}
	if u.Scheme != "redis" && u.Scheme != "rediss" && u.Scheme != "unix" { // it is not shown: it may be a password
		return nil, fmt.Errorf("redis: the URL does not begin with redis://, rediss:// or unix://; its form is %s", form)
	}
	q := u.Query()
	switch {
	case q.Has("master_name"):
		o, err := goredis.ParseFailoverURL(rawURL)
		if err != nil {
			return nil, err
		}
		return goredis.NewFailoverClient(tuneFailover(o)), nil
	case q.Has("addr"):
		o, err := goredis.ParseClusterURL(rawURL)
		if err != nil {
			return nil, err
		}
		return goredis.NewClusterClient(tuneCluster(o)), nil
	}
	o, err := goredis.ParseURL(rawURL)
	if err != nil {
		return nil, err
	}
	return goredis.NewClient(tune(o)), nil
}

// OpenStore is [Open] and [New] in one, for a client that nobody but the cache needs: the store
// owns it, and [Store.Close] closes it.
func OpenStore(rawURL string, cfg Config) (*Store, error) {
	client, err := Open(rawURL)
	if err != nil {
		return nil, err
	}
	s, err := New(client, cfg)
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	s.owns = true
	return s, nil
}

// Close closes the client of a store that [OpenStore] made; later calls fail. A client that was
// given to [New] is left alone: whoever made it closes it. Idempotent.
func (s *Store) Close() error {
	if !s.owns {
		return nil
	}
	if err := s.client.Close(); !errors.Is(err, goredis.ErrClosed) {
		return err
	}
	return nil
}
