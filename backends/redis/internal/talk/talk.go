// Package talk is what the sources have in common whose processes tell each other what changed:
// settings, publishing, and what a message that was heard means. How messages travel is theirs.
package talk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis/internal/hashslot"
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

// Node returns the server that has Place; it is asked for within DeadAfter. A Cluster's client may
// name another one, even one that has left the Cluster, so a node of it has to agree. That this user
// may not ask is a [link.Refusal].
func (t *Talk) Node(ctx context.Context) (*goredis.Options, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Timing.DeadAfter)
	defer cancel()
	node, err := link.NodeOf(ctx, t.Client, t.Place)
	if err != nil {
		return nil, link.Refusal(err)
	}
	if c, ok := t.Client.(*goredis.ClusterClient); ok {
		err = owns(ctx, c, t.Place, node)
	}
	return node, link.Refusal(err)
}

// Follow returns why node is not the one that has Place any more, or ctx's error. A master of a
// Cluster that has lost its slots, or was taken out, may live on and answer pings, and hears nothing.
// It asks once a ping, and believes two answers in a row: one node may not have heard yet.
func (t *Talk) Follow(ctx context.Context, node *goredis.Options) error {
	c, ok := t.Client.(*goredis.ClusterClient)
	if !ok {
		<-ctx.Done()
		return ctx.Err()
	}
	tick := time.NewTicker(t.Timing.Ping)
	defer tick.Stop()
	for elsewhere := 0; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		ask, cancel := context.WithTimeout(ctx, t.Timing.DeadAfter)
		err := owns(ask, c, t.Place, node)
		cancel()
		switch {
		case err == nil:
			elsewhere = 0
		case errors.Is(err, errElsewhere):
			if elsewhere++; elsewhere == 2 {
				return err
			}
		}
	}
}

var errElsewhere = errors.New("has another master now")

// owns asks some node of a Cluster whether node is the master of place's slot. An error that is not
// errElsewhere says nothing.
func owns(ctx context.Context, c *goredis.ClusterClient, place string, node *goredis.Options) error {
	//lint:ignore SA1019 servers before 7.0 do not know the other one, and the client itself uses this
	slots, err := c.ClusterSlots(ctx).Result()
	if err != nil {
		return err
	}
	n := hashslot.Of(place)
	for _, s := range slots {
		if n < s.Start || n > s.End || len(s.Nodes) == 0 {
			continue
		}
		if !is(node, s.Nodes[0].Addr) {
			return fmt.Errorf("%s %w: %s, not %s", place, errElsewhere, s.Nodes[0].Addr, node.Addr)
		}
		return nil
	}
	return fmt.Errorf("%s has no master", place)
}

// is reports whether a Cluster that says addr means node. The client puts the host it knows for one
// that only the Cluster's machine knows, and its port for none.
func is(node *goredis.Options, addr string) bool {
	if addr == node.Addr || addr == node.NodeAddress {
		return true
	}
	_, known, _ := net.SplitHostPort(node.Addr)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	local := host == "" || host == "localhost" || ip != nil && ip.IsLoopback()
	sameHost := local || strings.HasPrefix(node.Addr, host+":")
	return sameHost && (port == known || port == "0" || port == "")
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
