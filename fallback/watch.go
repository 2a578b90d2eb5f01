package fallback

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// hears reports whose news a process in p depends on. Where both are told of every change it is
// enough to hear one: from PhaseNew on all neighbours tell new, before PhaseMirror all tell old.
func (p Phase) hears(m mode) bool {
	if m.newAnswers() {
		return p > PhaseOld
	}
	return p < PhaseNew
}

// watchAgain is the pause after the link of a store that is not depended on has ended.
const watchAgain = time.Second

// Watch implements [backends.Invalidator]: it listens to both stores. The link is as good as those
// of the stores that the phase depends on: old's in PhaseOld, new's from PhaseNew on, else both. An
// outage of the other one is made good by a flush when it comes to be depended on.
func (s *Store) Watch(ctx context.Context, sink backends.Sink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	both := &joined{Sink: sink}
	errs := make(chan error, 2)
	for i, m := range []*member{s.new, s.old} {
		h := &half{joined: both, index: i, s: s, old: m == s.old}
		go func() { errs <- h.watch(ctx, m.caps.Invalidator) }()
	}
	err := <-errs
	cancel()
	<-errs
	return err
}

// joined makes one link of two.
type joined struct {
	backends.Sink
	mu     sync.Mutex
	alive  [2]bool // heard from since all that count were last heard from
	missed [2]bool // something may have been missed while it did not count
}

// half is what one of the two members reports to.
type half struct {
	*joined
	index int
	s     *Store
	old   bool
}

// counts reports whether the phase in force depends on this half.
func (h *half) counts() bool { return h.hears(h.index) }

func (h *half) hears(index int) bool {
	return h.s.Phase().hears([]mode{modeNew, modeOld}[index])
}

// watch listens until ctx ends, or until a link ends that the phase depends on.
func (h *half) watch(ctx context.Context, inv backends.Invalidator) error {
	for {
		err := inv.Watch(ctx, h)
		if ctx.Err() != nil || h.counts() {
			return err
		}
		h.miss()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(watchAgain):
		}
	}
}

func (h *half) miss() {
	h.mu.Lock()
	h.alive[h.index], h.missed[h.index] = false, true
	h.mu.Unlock()
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

// Flush implements [backends.Sink].
func (h *half) Flush(reason string) {
	if !h.counts() {
		h.miss()
		return
	}
	h.Sink.Flush(reason)
}

// Alive implements [backends.Sink].
func (h *half) Alive() {
	h.mu.Lock()
	h.alive[h.index] = true
	all, missed := true, false
	for i := range h.alive {
		if h.hears(i) {
			all, missed = all && h.alive[i], missed || h.missed[i]
		}
	}
	if all {
		for i := range h.alive {
			h.alive[i], h.missed[i] = false, h.missed[i] && !h.hears(i)
		}
	}
	h.mu.Unlock()
	if !all {
		return
	}
	if missed {
		h.Sink.Flush("a link that the phase did not depend on was down")
	}
	h.Sink.Alive()
}

// Down implements [backends.Sink].
func (h *half) Down(reason error) {
	h.miss()
	if h.counts() {
		h.Sink.Down(reason)
	}
}

// Publish implements [backends.Invalidator], in both stores; in PhaseRetire in new only. A failure is
// one if somebody in a neighbouring phase depends on that store's link alone.
func (s *Store) Publish(ctx context.Context, keys []string) error {
	return s.publish("publish", func(m *member) error {
		return m.caps.Invalidator.Publish(ctx, m.keysOf(keys))
	})
}

// PublishFlush implements [backends.Invalidator], as Publish.
func (s *Store) PublishFlush(ctx context.Context) error {
	return s.publish("publishflush", func(m *member) error { return m.caps.Invalidator.PublishFlush(ctx) })
}

func (s *Store) publish(op string, tell func(m *member) error) error {
	p := s.Phase()
	var oldErr, newErr error
	if p != PhaseRetire {
		oldErr = tell(s.old)
	}
	if newErr = tell(s.new); !p.hears(modeNew) {
		newErr = nil
	}
	if !p.hears(modeOld) {
		oldErr = nil
	}
	return errors.Join(s.old.wrap(op, "", oldErr), s.new.wrap(op, "", newErr))
}
