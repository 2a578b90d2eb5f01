package bus

import (
	"context"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis/internal/link"
	"github.com/hearthcache/hearth/backends/redis/internal/talk"
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
	talk    *talk.Talk
	sharded bool

	blind bool // tests only: gaps are not looked for
}

var (
	_ backends.Invalidator = (*Source)(nil)
	_ backends.Paced       = (*Source)(nil)
)

// New returns a source that talks through client, a *Client (one server, or found through
// Sentinel) or a *ClusterClient. It sends nothing yet.
func New(client goredis.UniversalClient, cfg Config) (*Source, error) {
	s := &Source{sharded: cfg.Sharded}
	t, err := talk.New(client, talk.Config{
		Who:       "bus",
		Namespace: cfg.Namespace,
		Place:     cfg.Channel,
		Suffix:    "!bus",
		Field:     "Channel",
		Timing:    link.Timing{Ping: cfg.Ping, DeadAfter: cfg.DeadAfter},
		Timeout:   cfg.Timeout,
		Send:      s.send,
	})
	if err != nil {
		return nil, err
	}
	s.talk = t
	return s, nil
}

// String names the source.
func (s *Source) String() string { return s.talk.String() }

// Pace implements [backends.Paced]: Config.Ping.
func (s *Source) Pace() time.Duration { return s.talk.Timing.Ping }

// Publish implements [backends.Invalidator]. It returns when the server has the message. Calls
// that come while one is on its way go out together, at most 512 keys a message.
func (s *Source) Publish(ctx context.Context, keys []string) error { return s.talk.Publish(ctx, keys) }

// PublishFlush implements [backends.Invalidator].
func (s *Source) PublishFlush(ctx context.Context) error { return s.talk.PublishFlush(ctx) }

// send hands messages to the one node that all processes use, in order. In a Cluster any node
// would do, but on different ones messages overtake each other.
func (s *Source) send(ctx context.Context, messages []string) error {
	c, err := link.ClientOf(ctx, s.talk.Client, s.talk.Place)
	if err != nil {
		return err
	}
	publish := func(p goredis.Pipeliner, m string) { p.Publish(ctx, s.talk.Place, m) }
	if s.sharded {
		publish = func(p goredis.Pipeliner, m string) { p.SPublish(ctx, s.talk.Place, m) }
	}
	_, err = c.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, m := range messages {
			publish(p, m)
		}
		return nil
	})
	if err != nil {
		s.talk.Reload(ctx)
	}
	return err
}
