package fallback

import (
	"context"
	"errors"
	"sync"

	"github.com/hearthcache/hearth/backends"
)

// Watch implements [backends.Invalidator]: it listens to both stores. The link is alive when
// both links are, and down when either is.
func (s *Store) Watch(ctx context.Context, sink backends.Sink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	both := &joined{Sink: sink}
	errs := make(chan error, 2)
	for i, m := range []*member{s.new, s.old} {
		go func() { errs <- m.caps.Invalidator.Watch(ctx, &half{joined: both, index: i, s: s, old: m == s.old}) }()
	}
	err := <-errs
	cancel()
	<-errs
	return err
}

// joined makes one link of two.
type joined struct {
	backends.Sink
	mu    sync.Mutex
	alive [2]bool // heard from since both were last heard from
}

// half is what one of the two members reports to.
type half struct {
	*joined
	index int
	s     *Store
	old   bool
}

// Forget implements [backends.Sink].
func (h *half) Forget(keys []string) {
	if h.old {
		ours, all := h.s.ours(keys)
		if !all && h.s.cfg.FromOldKey == nil {
			h.Sink.Flush("a key that cannot be mapped")
			return
		}
		keys = ours
	}
	if len(keys) > 0 {
		h.Sink.Forget(keys)
	}
}

// Alive implements [backends.Sink].
func (h *half) Alive() {
	h.mu.Lock()
	h.alive[h.index] = true
	both := h.alive[0] && h.alive[1]
	if both {
		h.alive = [2]bool{}
	}
	h.mu.Unlock()
	if both {
		h.Sink.Alive()
	}
}

// Down implements [backends.Sink].
func (h *half) Down(reason error) {
	h.mu.Lock()
	h.alive = [2]bool{}
	h.mu.Unlock()
	h.Sink.Down(reason)
}

// Publish implements [backends.Invalidator], in both stores.
func (s *Store) Publish(ctx context.Context, keys []string) error {
	return errors.Join(
		s.old.wrap("publish", "", s.old.caps.Invalidator.Publish(ctx, s.old.keysOf(keys))),
		s.new.wrap("publish", "", s.new.caps.Invalidator.Publish(ctx, keys)),
	)
}

// PublishFlush implements [backends.Invalidator], in both stores.
func (s *Store) PublishFlush(ctx context.Context) error {
	return errors.Join(
		s.old.wrap("publishflush", "", s.old.caps.Invalidator.PublishFlush(ctx)),
		s.new.wrap("publishflush", "", s.new.caps.Invalidator.PublishFlush(ctx)),
	)
}
