// Package talk is what the sources have in common whose processes tell each other what changed:
// settings, publishing, and what a message that was heard means. How messages travel is theirs.
package talk

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis/internal/link"
	"github.com/hearthcache/hearth/backends/redis/internal/note"
)

// Config are the settings of a [Talk].
type Config struct {
	Who       string // the package, for errors
	Namespace string // of the cache; messages of other namespaces are ignored

	Place  string // the channel or key that the processes share; empty: Namespace and Suffix
	Suffix string
	Field  string // what Place is called in the user's settings

	Timing  link.Timing
	Timeout time.Duration // of handing one batch to the server; 0 = 250 ms

	// Send hands messages to the server, in order. The first error ends it.
	Send func(ctx context.Context, messages []string) error
}

const defaultTimeout = 250 * time.Millisecond

// Talk is one process's part in the talk. Safe for concurrent use.
type Talk struct {
	Client  goredis.UniversalClient
	Place   string
	Timing  link.Timing
	Timeout time.Duration
	Sender  *note.Sender

	who      string
	watching atomic.Bool
}

// New returns a Talk through client, or an error that names the setting that cannot work. It sends
// nothing.
func New(client goredis.UniversalClient, cfg Config) (*Talk, error) {
	if err := link.Check(cfg.Who, client); err != nil {
		return nil, err
	}
	timing, err := cfg.Timing.WithDefaults(cfg.Who)
	if err != nil {
		return nil, err
	}
	switch {
	case cfg.Timeout < 0:
		return nil, fmt.Errorf("%s: Timeout %v is negative", cfg.Who, cfg.Timeout)
	case cfg.Timeout == 0:
		cfg.Timeout = defaultTimeout
	}
	if cfg.Place == "" {
		if cfg.Namespace == "" {
			return nil, fmt.Errorf("%s: neither Namespace nor %s is set", cfg.Who, cfg.Field)
		}
		cfg.Place = cfg.Namespace + cfg.Suffix
	}
	t := &Talk{Client: client, Place: cfg.Place, Timing: timing, Timeout: cfg.Timeout, who: cfg.Who}
	t.Sender = &note.Sender{Namespace: cfg.Namespace, Timeout: cfg.Timeout, Send: cfg.Send}
	rand.Read(t.Sender.Origin[:])
	return t, nil
}

// String names the source.
func (t *Talk) String() string { return t.who + " " + t.Place }

// Publish tells others that keys changed. It returns when the server has the message.
func (t *Talk) Publish(ctx context.Context, keys []string) error {
	return t.published(t.Sender.Keys(ctx, keys))
}

// PublishFlush tells others to forget everything.
func (t *Talk) PublishFlush(ctx context.Context) error { return t.published(t.Sender.All(ctx)) }

func (t *Talk) published(err error) error {
	if err != nil {
		return fmt.Errorf("%s: tell others: %w", t.who, err)
	}
	return nil
}

// Watch runs follow again and again until ctx ends or the server refuses; see [link.Retry]. failed
// hears why follow ended. A second Watch at the same time is an error.
func (t *Talk) Watch(ctx context.Context, follow func(context.Context) (worked bool, err error), failed func(error)) error {
	if t.watching.Swap(true) {
		return fmt.Errorf("%s: Watch runs already", t.who)
	}
	defer t.watching.Store(false)
	err := link.Retry(ctx, follow, func(err error) {
		failed(err)
		t.Reload(ctx)
	})
	if link.Refused(err) {
		return fmt.Errorf("%s: %w", t.who, err)
	}
	return err
}

// Node returns the server that has Place; it is asked for within DeadAfter.
func (t *Talk) Node(ctx context.Context) (*goredis.Options, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Timing.DeadAfter)
	defer cancel()
	return link.NodeOf(ctx, t.Client, t.Place)
}

// Reload lets the client of a Cluster look who has what, so that the next attempt finds it.
func (t *Talk) Reload(ctx context.Context) {
	if c, ok := t.Client.(*goredis.ClusterClient); ok {
		c.ReloadState(ctx)
	}
}

// Hear takes one message and tells board what follows. One that cannot be read may have said
// anything. missed reports whether one before it was lost.
func (t *Talk) Hear(board *link.Board, text string, missed func(note.Note) bool) {
	n, err := note.Parse(text)
	switch {
	case err != nil:
		board.Flush(err.Error())
	case n.Origin == t.Sender.Origin, n.Namespace != t.Sender.Namespace:
	case missed(n):
		board.Flush("a message was missed")
	case n.Kind == note.All:
		board.Flush("another process asked for it")
	case n.Kind == note.Keys:
		board.Forget(n.Keys)
	}
}
