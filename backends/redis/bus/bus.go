package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis/internal/link"
	"github.com/hearthcache/hearth/backends/redis/internal/note"
)

// Config are the settings of a [Source]. Namespace is required, unless Channel is set.
type Config struct {
	// Namespace is that of the cache (tier.Config.Namespace). Messages of other namespaces on
	// the same channel are ignored.
	Namespace string

	// Channel is what the processes talk on. Empty: the namespace and "!bus".
	Channel string

	// Sharded uses SPUBLISH and SSUBSCRIBE (Redis 7): in a Cluster a message then reaches the
	// nodes of one shard instead of all of them. All processes use the same setting.
	Sharded bool

	// Ping is the pause between two questions whether the server is still there. 0 = 1 s.
	Ping time.Duration

	// DeadAfter is how long the server may be silent before the link counts as down. 0 = three
	// times Ping; at least twice Ping.
	DeadAfter time.Duration

	// Timeout bounds handing one batch to the server. 0 = 250 ms.
	Timeout time.Duration
}

// Source is a [backends.Invalidator] over Redis pub/sub. Safe for concurrent use, but for Watch,
// which may run once at a time.
type Source struct {
	client   goredis.UniversalClient
	cfg      Config
	timing   link.Timing
	sender   *note.Sender
	watching atomic.Bool

	blind bool // tests only: gaps are not looked for
}

var _ backends.Invalidator = (*Source)(nil)

const defaultTimeout = 250 * time.Millisecond

// New returns a source that talks through client, a *Client (one server, or found through
// Sentinel) or a *ClusterClient. It sends nothing yet.
func New(client goredis.UniversalClient, cfg Config) (*Source, error) {
	if err := link.Check("bus", client); err != nil {
		return nil, err
	}
	t, err := link.Timing{Ping: cfg.Ping, DeadAfter: cfg.DeadAfter}.WithDefaults("bus")
	if err != nil {
		return nil, err
	}
	switch {
	case cfg.Timeout < 0:
		return nil, fmt.Errorf("bus: Timeout %v is negative", cfg.Timeout)
	case cfg.Timeout == 0:
		cfg.Timeout = defaultTimeout
	}
	if cfg.Channel == "" {
		if cfg.Namespace == "" {
			return nil, errors.New("bus: neither Namespace nor Channel is set")
		}
		cfg.Channel = cfg.Namespace + "!bus"
	}
	s := &Source{client: client, cfg: cfg, timing: t}
	s.sender = &note.Sender{Namespace: cfg.Namespace, Timeout: cfg.Timeout, Send: s.send}
	rand.Read(s.sender.Origin[:])
	return s, nil
}

// String names the source.
func (s *Source) String() string { return "bus " + s.cfg.Channel }

// Publish implements [backends.Invalidator]. It returns when the server has the message. Calls
// that come while one is on its way go out together, at most 512 keys a message.
func (s *Source) Publish(ctx context.Context, keys []string) error {
	return published(s.sender.Keys(ctx, keys))
}

// PublishFlush implements [backends.Invalidator].
func (s *Source) PublishFlush(ctx context.Context) error { return published(s.sender.All(ctx)) }

func published(err error) error {
	if err != nil {
		return fmt.Errorf("bus: tell others: %w", err)
	}
	return nil
}

// send hands messages to the one node that all processes use, in order. In a Cluster any node
// would do, but on different ones messages overtake each other.
func (s *Source) send(ctx context.Context, messages []string) error {
	c, err := link.ClientOf(ctx, s.client, s.cfg.Channel)
	if err != nil {
		return err
	}
	publish := func(p goredis.Pipeliner, m string) { p.Publish(ctx, s.cfg.Channel, m) }
	if s.cfg.Sharded {
		publish = func(p goredis.Pipeliner, m string) { p.SPublish(ctx, s.cfg.Channel, m) }
	}
	_, err = c.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, m := range messages {
			publish(p, m)
		}
		return nil
	})
	if cluster, ok := s.client.(*goredis.ClusterClient); ok && err != nil {
		cluster.ReloadState(ctx) // the next attempt finds whoever has the channel now
	}
	return err
}
