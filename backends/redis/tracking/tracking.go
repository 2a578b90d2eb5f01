package tracking

import (
	"context"
	"errors"
	"fmt"
	"sync"
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

	// Ping is the pause between two questions whether the server is still there. 0 = 1 s.
	Ping time.Duration

	// DeadAfter is how long a server may be silent before the link counts as down. 0 = three
	// times Ping; at least twice Ping.
	DeadAfter time.Duration

	// Refresh is how often a cluster is asked for its topology. It is also asked whenever a
	// connection fails. 0 = 1 s. It bounds how long changes on a master that was just added
	// stay unseen.
	Refresh time.Duration
}

// Source is a [backends.Invalidator] that is told by the server. Safe for concurrent use, but
// for Watch, which may run once at a time.
type Source struct {
	client   goredis.UniversalClient
	cfg      Config
	timing   link.Timing
	prefix   string // of the keys listened to
	flushKey string // a write to it means: forget everything
	watching atomic.Bool

	unflushed bool // tests only: a reconnect does not flush
	oneNode   bool // tests only: one master of a cluster stands for all
}

var _ backends.Invalidator = (*Source)(nil)

// New returns a source for the servers behind client, a *Client (one server, or found through
// Sentinel) or a *ClusterClient. It sends nothing; its connections are made by Watch, with the
// client's address, credentials and dialer.
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
		cfg.Refresh = time.Second
	}
	s := &Source{client: client, cfg: cfg, timing: t, flushKey: cfg.Namespace + "!flush"}
	if cfg.Namespace != "" {
		s.prefix = cfg.Namespace + ":"
	}
	return s, nil
}

// String names the source.
func (s *Source) String() string { return "tracking " + s.prefix + "*" }

// Publish does nothing: the server has seen the change.
func (s *Source) Publish(context.Context, []string) error { return nil }

// PublishFlush makes every process that listens to this namespace forget everything. It writes a
// key named after the namespace and "!flush".
func (s *Source) PublishFlush(ctx context.Context) error {
	if err := s.client.Set(ctx, s.flushKey, time.Now().UnixNano(), 0).Err(); err != nil {
		return fmt.Errorf("tracking: tell others to flush: %w", err)
	}
	return nil
}

// Watch implements [backends.Invalidator]. Besides ctx's error it returns one that [errors.Is]
// [backends.ErrUnsupported] when a server refuses to track; the error says what it refused.
func (s *Source) Watch(ctx context.Context, sink backends.Sink) error {
	if s.watching.Swap(true) {
		return errors.New("tracking: Watch runs already")
	}
	defer s.watching.Store(false)
	w := &watch{
		Source:  s,
		board:   link.NewBoard(sink, s.timing.DeadAfter),
		look:    make(chan struct{}, 1),
		refused: make(chan error, 1),
		stop:    map[string]func(){},
	}
	w.board.Unflushed = s.unflushed
	return w.run(ctx)
}

// watch is one run of Watch.
type watch struct {
	*Source
	board   *link.Board
	look    chan struct{} // the topology is worth a look
	refused chan error
	slots   string

	tasks sync.WaitGroup
	stop  map[string]func() // ends a node's listener, by address
}

// run keeps one listener per master until ctx ends or tracking is refused.
func (w *watch) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer w.tasks.Wait()
	defer cancel()
	tick := time.NewTicker(w.cfg.Refresh)
	defer tick.Stop()
	for {
		if err := w.refresh(ctx); err != nil && ctx.Err() == nil && len(w.stop) == 0 {
			if link.Refused(err) {
				return err
			}
			w.board.Down("topology", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-w.refused:
			return err
		case <-tick.C:
		case <-w.look:
			if !pause(ctx, w.cfg.Refresh/20) { // failures come in swarms
				return ctx.Err()
			}
		}
	}
}

// refresh starts listeners on masters that are new and ends those on nodes that are none any
// more. A cluster that does not answer keeps the listeners it has: they know best.
func (w *watch) refresh(ctx context.Context) error {
	_, cluster := w.client.(*goredis.ClusterClient)
	if !cluster && len(w.stop) > 0 {
		return nil
	}
	ask, cancel := context.WithTimeout(ctx, w.timing.DeadAfter)
	defer cancel()
	t, err := link.TopologyOf(ask, w.client)
	if err != nil {
		return link.Refusal(fmt.Errorf("tracking: list the nodes: %w", err))
	}
	changed := w.slots != "" && t.Slots != w.slots
	w.slots = t.Slots
	for addr, node := range t.Nodes {
		if w.stop[addr] == nil && !(w.oneNode && len(w.stop) > 0) {
			w.board.Add(addr)
			w.listen(ctx, addr, node)
		}
	}
	for addr, stop := range w.stop {
		if t.Nodes[addr] == nil {
			stop()
			delete(w.stop, addr)
			w.board.Remove(addr)
		}
	}
	if changed {
		w.board.Flush("the topology of the cluster has changed")
	}
	return nil
}

// listen keeps a line to one node.
func (w *watch) listen(ctx context.Context, addr string, node *goredis.Options) {
	ctx, w.stop[addr] = context.WithCancel(ctx)
	w.tasks.Go(func() {
		err := link.Retry(ctx, func(ctx context.Context) (worked bool, err error) {
			err = link.Line{
				Node:   node,
				Timing: w.timing,
				Setup:  w.track,
				Up:     func() { worked = true; w.board.Up(addr) },
				Heard:  func() { w.board.Heard(addr) },
				Push:   w.push,
			}.Run(ctx)
			return worked, err
		}, func(err error) {
			w.board.Down(addr, err)
			select {
			case w.look <- struct{}{}:
			default:
			}
		})
		if link.Refused(err) {
			select {
			case w.refused <- fmt.Errorf("tracking: %s: %w", addr, err):
			default:
			}
		}
	})
}

// track asks the server to push what changes. A connection on which it cannot push is refused.
func (w *watch) track(ctx context.Context, cn *goredis.Conn) error {
	hello, err := cn.Do(ctx, "HELLO").Result()
	if err != nil {
		return link.Refusal(fmt.Errorf("HELLO: %w", err))
	}
	if _, resp3 := hello.(map[any]any); !resp3 {
		return fmt.Errorf("HELLO: %w: the connection speaks RESP2, which has no push messages", backends.ErrUnsupported)
	}
	args := []any{"CLIENT", "TRACKING", "ON", "BCAST"}
	if w.prefix != "" {
		args = append(args, "PREFIX", w.prefix, "PREFIX", w.flushKey)
	}
	if err := cn.Do(ctx, args...).Err(); err != nil {
		return link.Refusal(fmt.Errorf("CLIENT TRACKING: %w", err))
	}
	return nil
}

// push takes one invalidation message.
func (w *watch) push(frame []any) error {
	keys, all, err := parse(frame)
	switch {
	case err != nil:
		return err
	case all:
		w.board.Flush("the server was flushed")
		return nil
	}
	for _, k := range keys {
		if k == w.flushKey {
			w.board.Flush("another process asked for it")
		}
	}
	w.board.Forget(keys)
	return nil
}

// parse reads the frame of an invalidation: its name, and nothing or a list of keys.
func parse(frame []any) (keys []string, all bool, err error) {
	if len(frame) != 2 || frame[0] != "invalidate" {
		return nil, false, fmt.Errorf("an invalidation of unknown shape: %d parts", len(frame))
	}
	if frame[1] == nil {
		return nil, true, nil
	}
	list, ok := frame[1].([]any)
	if !ok || len(list) == 0 {
		return nil, false, fmt.Errorf("an invalidation of unknown shape: %T", frame[1])
	}
	keys = make([]string, len(list))
	for i, k := range list {
		s, ok := k.(string)
		if !ok {
			return nil, false, fmt.Errorf("an invalidation of unknown shape: a key is %T", k)
		}
		keys[i] = s
	}
	return keys, false, nil
}

// pause reports whether it lasted to its end.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
