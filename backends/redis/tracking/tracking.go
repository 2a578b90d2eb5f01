package tracking

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis/internal/link"
)

// Config are the settings of a [Source]. The zero value listens to every key of the server.
type Config struct {
	// Namespace is that of the cache (tier.Config.Namespace): only keys that begin with it and
	// a ':' are listened to. Empty: all keys.
	Namespace string

	// KeyPrefix is what the cache's store puts before every key, where it is one of
	// [backends.Prefix]: that of all of them, the inner one first, where there are several. The keys
	// that the server pushes are cut by it. Empty: none.
	KeyPrefix string

	// Ping is the pause between two questions whether the server is still there. 0 = 1 s.
	Ping time.Duration

	// DeadAfter is how long a server may be silent before the link counts as down. 0 = three
	// times Ping; at least twice Ping. A longer one than tier.Local.DeadAfter lets the connection
	// live on, not L1 serve for longer: one that is late by two Pings ends the signs of life.
	DeadAfter time.Duration

	// Refresh is how often a cluster is asked for its topology. It is also asked whenever a
	// connection fails, and when the client turns to a node for the first time. 0 = 1 s, or a
	// third of DeadAfter if that is less; at most half of DeadAfter.
	Refresh time.Duration
}

// Source is a [backends.Invalidator] that is told by the server. Safe for concurrent use, but
// for Watch, which may run once at a time.
type Source struct {
	client   goredis.UniversalClient
	cfg      Config
	timing   link.Timing
	prefix   string // of the keys listened to, as the server knows them
	flushKey string // a write to it means: forget everything
	probes   string // what the keys of probes begin with
	watching atomic.Bool
	running  atomic.Pointer[watch]
	tracked  atomic.Bool // a server has tracked for this source at least once

	unflushed bool // tests only: a reconnect does not flush
	oneNode   bool // tests only: one master of a cluster stands for all
	believing bool // tests only: a server that says OK is believed
}

var (
	_ backends.Invalidator = (*Source)(nil)
	_ backends.StoredOnly  = (*Source)(nil)
	_ backends.Selective   = (*Source)(nil)
	_ backends.Paced       = (*Source)(nil)
	_ backends.Fitting     = (*Source)(nil)
)

// New returns a source for the servers behind client, a *Client (one server, or found through
// Sentinel) or a *ClusterClient. It sends nothing; its connections are made by Watch, with the
// client's address, credentials and dialer. Give it the client that the cache's store uses: where
// that turns to a node of a cluster for the first time, the source hears of it. What makes a
// ClusterClient tell it so cannot be taken back, so a source lives as long as the client: make one
// for each client and namespace, not one for each cache that comes and goes.
func New(client goredis.UniversalClient, cfg Config) (*Source, error) {
	if err := link.Check("tracking", client); err != nil {
		return nil, err
	}
	t, err := link.Timing{Ping: cfg.Ping, DeadAfter: cfg.DeadAfter}.WithDefaults("tracking")
	if err != nil {
		return nil, err
	}
	if cfg.Refresh < 0 {
		return nil, fmt.Errorf("tracking: Refresh %v is negative", cfg.Refresh)
	}
	if cfg.Refresh == 0 {
		cfg.Refresh = min(time.Second, t.DeadAfter/3)
	}
	if cfg.Refresh > t.DeadAfter/2 {
		return nil, fmt.Errorf("tracking: Refresh %v is more than half of DeadAfter (%v)", cfg.Refresh, t.DeadAfter)
	}
	root := cfg.KeyPrefix + cfg.Namespace
	s := &Source{client: client, cfg: cfg, timing: t, prefix: root, flushKey: root + "!flush", probes: root + "!probe:"}
	if cfg.Namespace != "" {
		s.prefix += ":"
	}
	if c, ok := client.(*goredis.ClusterClient); ok {
		c.OnNewNode(s.met)
	}
	return s, nil
}

// String names the source.
func (s *Source) String() string { return "tracking " + s.prefix + "*" }

// StoredOnly implements [backends.StoredOnly]: true, since a server tells nothing of keys that it
// does not hold.
func (s *Source) StoredOnly() bool { return true }

// Hears implements [backends.Selective]: Config.Namespace, or all where that is empty.
func (s *Source) Hears(namespace string) bool {
	return s.cfg.Namespace == "" || s.cfg.Namespace == namespace
}

// Fits implements [backends.Fitting]: one remote tier, whose prefix is Config.KeyPrefix.
func (s *Source) Fits(remotes []backends.Caps) error {
	return backends.FitsOne(s.cfg.KeyPrefix, remotes)
}

// Pace implements [backends.Paced]: Config.Ping.
func (s *Source) Pace() time.Duration { return s.timing.Ping }

// Publish does nothing: the server has seen the change.
func (s *Source) Publish(context.Context, []string) error { return nil }

// PublishFlush makes every process that listens to this namespace forget everything. It writes a
// key named after the namespace and "!flush", which stays: its expiry would be another flush.
func (s *Source) PublishFlush(ctx context.Context) error {
	if err := s.client.Set(ctx, s.flushKey, time.Now().UnixNano(), 0).Err(); err != nil {
		return fmt.Errorf("tracking: tell others to flush: %w", err)
	}
	return nil
}
