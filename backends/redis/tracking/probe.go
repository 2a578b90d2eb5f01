package tracking

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
)

// ErrNoPush is the refusal of a server, or of a proxy before one, that says OK to CLIENT TRACKING
// and to a write of a key that is tracked, and answers pings, but pushes no invalidation. It
// [errors.Is] [backends.ErrUnsupported].
var ErrNoPush = fmt.Errorf("it said OK, but pushes no invalidations (%w)", backends.ErrUnsupported)

// Whoever only says OK to CLIENT TRACKING looks healthy for ever: pings are answered, and that
// nothing is pushed means as well that nothing has changed. So each new connection writes a key that
// it tracks, and counts as up once it has heard of it.
const (
	probeLife  = time.Second // the key is for nobody, and gone by itself
	probeTries = 4096        // to find a key of one node: it may have one slot in a thousand
)

// probe is what one connection waits to hear of. It belongs to the goroutine of its line.
type probe struct {
	key   string
	heard bool
}

// prove writes the probe's key and waits for its push, for half of DeadAfter: a proxy may be slow. Where the server does not take the write
// (rights, no room, a replica, another node's slot) nothing is learned, and the connection counts.
func (w *watch) prove(ctx context.Context, cn *goredis.Conn, addr string, p *probe) error {
	if w.believing {
		return nil
	}
	var ok bool
	if p.key, ok = w.probeKey(ctx, addr); !ok {
		return nil
	}
	err := cn.Do(ctx, "SET", p.key, "", "PX", probeLife.Milliseconds()).Err()
	var reply goredis.Error
	switch {
	case errors.As(err, &reply):
		return nil
	case err != nil:
		return fmt.Errorf("SET of a probe: %w", err)
	}
	for late := time.Now().Add(w.timing.DeadAfter / 2); !p.heard; { // a server pushes before it answers
		if !pause(ctx, w.timing.DeadAfter/100) {
			return ctx.Err()
		}
		if err := cn.Ping(ctx).Err(); err != nil { // what was pushed is read with the answer
			return fmt.Errorf("waiting for the push of a probe: %w", err)
		}
		if !p.heard && time.Now().After(late) {
			return fmt.Errorf("CLIENT TRACKING: %w", ErrNoPush)
		}
	}
	return nil
}

// probeKey returns a key that nobody else uses, in a slot that the node at addr serves; false where
// none is found, since the node has no slots, or hardly any.
func (w *watch) probeKey(ctx context.Context, addr string) (string, bool) {
	key := w.probes + rand.Text()
	cluster, ok := w.client.(*goredis.ClusterClient)
	if !ok {
		return key, true
	}
	for i := range probeTries {
		k := key + strconv.Itoa(i)
		m, err := cluster.MasterForKey(ctx, k)
		if err != nil {
			return "", false
		}
		if m.Options().Addr == addr {
			return k, true
		}
	}
	return "", false
}

// heed takes note of the probe's own key and returns keys without probes. Without a namespace a key
// that looks like one may be anybody's.
func (w *watch) heed(keys []string, p *probe) []string {
	p.heard = p.heard || slices.Contains(keys, p.key)
	if w.cfg.Namespace == "" {
		return keys
	}
	return slices.DeleteFunc(keys, func(k string) bool { return strings.HasPrefix(k, w.probes) })
}
