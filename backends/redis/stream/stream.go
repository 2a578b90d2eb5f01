package stream

import (
	"context"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis/internal/link"
	"github.com/hearthcache/hearth/backends/redis/internal/talk"
)

// Config are the settings of a [Source]. Namespace is required, unless Key is set.
type Config struct {
	// Namespace is that of the cache (tier.Config.Namespace). Entries of other namespaces in the
	// same stream are ignored.
	Namespace string

	// Key is the stream. Empty: the namespace and "!log".
	Key string

	// MaxEntries bounds the stream, roughly: Redis trims whole nodes of its list. A process that
	// falls further behind flushes. 0 = 10,000; an entry holds up to 512 keys.
	MaxEntries int64

	// Ping is how long one read waits for news. 0 = 1 s.
	Ping time.Duration

	// DeadAfter is how long the stream may be out of reach before the link counts as down. 0 =
	// three times Ping; at least twice Ping.
	DeadAfter time.Duration

	// Timeout bounds handing one batch to the server. 0 = 250 ms.
	Timeout time.Duration
}

// Source is a [backends.Invalidator] over a Redis stream. Safe for concurrent use, but for
// Watch, which may run once at a time.
type Source struct {
	talk       *talk.Talk
	maxEntries int64

	blind bool // tests only: nobody looks whether the log still reaches back
}

var (
	_ backends.Invalidator = (*Source)(nil)
	_ backends.Paced       = (*Source)(nil)
)

const (
	defaultMaxEntries = 10_000 // some 20 MB at worst, of 512 keys of 4 bytes; 1 MB of single keys
	field             = "n"    // the one field of an entry
)

// New returns a source that talks through client, a *Client (one server, or found through
// Sentinel) or a *ClusterClient. It sends nothing yet.
func New(client goredis.UniversalClient, cfg Config) (*Source, error) {
	s := &Source{maxEntries: cfg.MaxEntries}
	t, err := talk.New(client, talk.Config{
		Who:       "stream",
		Namespace: cfg.Namespace,
		Place:     cfg.Key,
		Suffix:    "!log",
		Field:     "Key",
		Timing:    link.Timing{Ping: cfg.Ping, DeadAfter: cfg.DeadAfter},
		Timeout:   cfg.Timeout,
		Send:      s.send,
	})
	if err != nil {
		return nil, err
	}
	switch {
	case cfg.MaxEntries < 0:
		return nil, fmt.Errorf("stream: MaxEntries %d is negative", cfg.MaxEntries)
	case cfg.MaxEntries == 0:
		s.maxEntries = defaultMaxEntries
	}
	s.talk = t
	return s, nil
}

// String names the source.
func (s *Source) String() string { return s.talk.String() }

// Pace implements [backends.Paced]: Config.Ping.
func (s *Source) Pace() time.Duration { return s.talk.Timing.Ping }

// Publish implements [backends.Invalidator]. It returns when the server has the entry. Calls
// that come while one is on its way go out together, at most 512 keys an entry.
func (s *Source) Publish(ctx context.Context, keys []string) error { return s.talk.Publish(ctx, keys) }

// PublishFlush implements [backends.Invalidator].
func (s *Source) PublishFlush(ctx context.Context) error { return s.talk.PublishFlush(ctx) }

// send appends messages to the log.
func (s *Source) send(ctx context.Context, messages []string) error {
	_, err := s.talk.Client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, m := range messages {
			p.XAdd(ctx, s.entry(m))
		}
		return nil
	})
	return err
}

func (s *Source) entry(message string) *goredis.XAddArgs {
	return &goredis.XAddArgs{Stream: s.talk.Place, MaxLen: s.maxEntries, Approx: true, Values: []string{field, message}}
}
