package tracking

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis/internal/link"
)

// Watch implements [backends.Invalidator]. Besides ctx's error it returns one that [errors.Is]
// [backends.ErrUnsupported] when a server refuses to track; the error says what it refused.
func (s *Source) Watch(ctx context.Context, sink backends.Sink) error {
	if s.watching.Swap(true) {
		return errors.New("tracking: Watch runs already")
	}
	defer s.watching.Store(false)
	_, cluster := s.client.(*goredis.ClusterClient)
	w := &watch{
		Source:  s,
		cluster: cluster,
		board:   link.NewBoard(sink, s.timing.DeadAfter),
		look:    make(chan struct{}, 1),
		refused: make(chan error, 1),
		stop:    map[string]func(){},
		doubts:  make(chan struct{}, 1),
		unsure:  map[string]*goredis.Options{},
		ask:     link.TopologyOf,
	}
	w.board.Patience = 2 * s.timing.Ping
	w.board.Unflushed = s.unflushed
	s.running.Store(w)
	defer s.running.Store(nil)
	return w.run(ctx)
}

// watch is one run of Watch.
type watch struct {
	*Source
	cluster bool
	board   *link.Board
	look    chan struct{} // the topology is worth a look
	refused chan error
	slots   string
	ask     func(context.Context, goredis.UniversalClient) (link.Topology, error)
	known   known

	tasks sync.WaitGroup
	stop  map[string]func() // ends a node's listener, by address

	doubts chan struct{} // there is something new in unsure
	mu     sync.Mutex
	unsure map[string]*goredis.Options // nodes that the client has turned to and no topology has explained
}

// run keeps one listener per master until ctx ends or tracking is refused.
func (w *watch) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer w.tasks.Wait()
	defer cancel()
	defer w.known.end()
	tick := time.NewTicker(w.cfg.Refresh)
	defer tick.Stop()
	w.tasks.Go(func() { w.doubt(ctx) })
	if w.cluster {
		w.board.Add(topology)
	}
	for {
		err := w.refresh(ctx)
		switch {
		case err == nil, ctx.Err() != nil:
		case len(w.stop) == 0 && link.Refused(err):
			return err
		default:
			w.fail(err)
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
// more. A cluster that does not answer keeps the listeners it has, until DeadAfter.
func (w *watch) refresh(ctx context.Context) error {
	if !w.cluster && len(w.stop) > 0 {
		return nil
	}
	unsure := w.unexplained() // before the question: what comes after it is for the next one
	ask, cancel := context.WithTimeout(ctx, w.timing.DeadAfter)
	defer cancel()
	t, err := w.ask(ask, w.client)
	if err != nil {
		return link.Refusal(fmt.Errorf("tracking: list the nodes: %w", err))
	}
	changed := w.slots != "" && t.Slots != w.slots
	w.slots = t.Slots
	w.explain(unsure, t)
	for addr, node := range t.Nodes {
		if w.stop[addr] == nil && !(w.oneNode && len(w.stop) > 0) {
			w.board.Add(addr)
			w.listen(ctx, addr, node)
		} else if w.stop[addr] != nil {
			w.board.Doubt(addr) // it may have been empty, and not heard yet
		}
	}
	for addr, node := range t.Empty {
		if w.stop[addr] == nil && !w.oneNode {
			w.listen(ctx, addr, node) // it counts once it is heard: nothing in L1 is from there yet
		}
	}
	for addr, stop := range w.stop {
		if t.Nodes[addr] == nil && t.Empty[addr] == nil {
			stop()
			delete(w.stop, addr)
			w.board.Remove(addr)
		}
	}
	w.sweep()
	if w.cluster {
		w.know()
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
		var hangups link.Hangups
		err := link.Retry(ctx, func(ctx context.Context) (worked bool, err error) {
			greeted := false
			var p probe
			err = link.Line{
				Node:   node,
				Timing: w.timing,
				Setup: func(ctx context.Context, cn *goredis.Conn) error {
					greeted = true
					if err := w.track(ctx, cn); err != nil {
						return err
					}
					return w.prove(ctx, cn, addr, &p)
				},
				Up:    func() { worked = true; w.tracked.Store(true); w.board.Join(addr) },
				Heard: func() { w.board.Heard(addr) },
				Push:  func(frame []any) error { return w.push(frame, &p) },
			}.Run(ctx)
			return worked, hangups.Count(w.hungUp(ctx, node, greeted, err), err)
		}, func(err error) {
			w.board.Down(addr, err)
			w.drop(addr)
			wake(w.look)
		})
		if link.Refused(err) {
			select {
			case w.refused <- fmt.Errorf("tracking: %s: %w", addr, err):
			default:
			}
		}
	})
}

// errHungUp: the other side had answered, and closed the connection at CLIENT TRACKING.
var errHungUp = errors.New("closed instead of an answer")

// hungUp returns the command at which a proxy closed the connection that ended with err, because it
// does not know it; empty where that is not sure. Where tracking has ever worked it is not sure.
func (w *watch) hungUp(ctx context.Context, node *goredis.Options, greeted bool, err error) string {
	switch {
	case w.tracked.Load():
	case errors.Is(err, errHungUp):
		return "CLIENT TRACKING"
	case !greeted && link.Closed(err) && link.ClosesAtHello(ctx, node, w.timing):
		return "HELLO 3"
	}
	return ""
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
		args = append(args, "PREFIX", w.prefix)
	}
	if w.cfg.Namespace != "" { // else they begin with the prefix, and the server takes none twice
		args = append(args, "PREFIX", w.flushKey, "PREFIX", w.probes)
	}
	err = cn.Do(ctx, args...).Err()
	switch {
	case err == nil:
		return nil
	case link.Closed(err):
		return fmt.Errorf("CLIENT TRACKING: %w: %w", errHungUp, err)
	}
	return link.Refusal(fmt.Errorf("CLIENT TRACKING: %w", err))
}

// push takes one invalidation message; p is the probe of the connection that it came on.
func (w *watch) push(frame []any, p *probe) error {
	keys, all, err := parse(frame)
	switch {
	case err != nil:
		return err
	case all:
		w.board.Flush("the server was flushed")
		return nil
	}
	keys = w.heed(keys, p)
	for i, k := range keys {
		if k == w.flushKey {
			w.board.Flush("another process asked for it")
		}
		var ours bool
		if keys[i], ours = strings.CutPrefix(k, w.cfg.KeyPrefix); !ours {
			return fmt.Errorf("an invalidation of %.60q, which is outside the prefix %q", k, w.cfg.KeyPrefix)
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
