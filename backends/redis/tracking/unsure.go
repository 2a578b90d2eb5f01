package tracking

import (
	"context"
	"maps"
	"slices"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis/internal/link"
)

// A cluster's client turns to a node that it did not know when a slot moves there, and does so
// before the topology says that the node has any: it is told by a redirection (ASK). What it reads
// there goes into L1, so the node must be heard from that moment on. Until it is, the link is down.

// met is called by the client before it uses a node for the first time, with a lock of the client
// held: it must not wait for anybody.
func (s *Source) met(node *goredis.Client) {
	w := s.running.Load()
	if w == nil {
		return
	}
	o := node.Options()
	if slices.Contains(w.client.(*goredis.ClusterClient).Options().Addrs, o.Addr) {
		return // where to ask first, possibly by a name that no node has; see [link.Topology.Empty]
	}
	w.mu.Lock()
	w.unsure[o.Addr] = o
	w.mu.Unlock()
	wake(w.doubts)
}

// doubt takes the link down for nodes that the client has met, and has the topology looked at.
func (w *watch) doubt(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.doubts:
		}
		w.enter(w.unexplained())
		wake(w.look)
	}
}

// enter takes the link down for these nodes. They may be explained meanwhile: the look that comes after
// it sweeps them up.
func (w *watch) enter(unsure map[string]*goredis.Options) {
	for addr := range unsure {
		w.board.Doubt(addr)
	}
}

// sweep takes lines off the board that nobody listens to, or is about to.
func (w *watch) sweep() {
	lines := w.board.Lines()
	unsure := w.unexplained() // after the lines, so that none is missing of those that were entered
	for _, addr := range lines {
		if addr != topology && w.stop[addr] == nil && unsure[addr] == nil {
			w.board.Remove(addr)
		}
	}
}

func (w *watch) unexplained() map[string]*goredis.Options {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.unsure)
}

// explain settles what t, which was asked for after unsure was taken, has to say of these nodes.
// One that is neither a master nor a replica there is about to be given slots; t gets it as a
// master, so that it is listened to as one.
func (w *watch) explain(unsure map[string]*goredis.Options, t link.Topology) {
	for addr, node := range unsure {
		switch {
		case t.Nodes[addr] != nil:
			w.drop(addr)
		case t.Replicas[addr]:
			w.drop(addr)
			w.board.Remove(addr)
		default:
			t.Nodes[addr] = node
		}
	}
}

// drop takes a node for explained. One that has failed is no longer listened to unless the topology
// names it.
func (w *watch) drop(addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.unsure, addr)
}

// wake makes whoever receives from c look, once for many calls.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
