package memory

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// alivePeriod is how often a watcher hears that the link stands: often enough for any watchdog
// that thinks in seconds.
const alivePeriod = time.Second

type watchers struct {
	mu  sync.Mutex
	all []*watcher
}

// watcher is one Watch call. Its lock orders what it reports: the first thing is a Flush, and
// after Watch has returned there is nothing.
type watcher struct {
	mu   sync.Mutex
	sink backends.Sink // nil once Watch is over
}

// Watch implements [backends.Invalidator]. Unlike what the contract asks of others, any number
// of Watch calls may listen to one store at a time; each hears every Publish, its own process's
// too. The clock of Alive is the real one.
func (s *Store) Watch(ctx context.Context, sink backends.Sink) error {
	w := &watcher{sink: sink}
	w.mu.Lock()
	s.watching.add(w)
	sink.Flush("connected")
	sink.Alive()
	w.mu.Unlock()
	defer s.watching.remove(w)

	tick := time.NewTicker(alivePeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			w.tell(backends.Sink.Alive)
		}
	}
}

// Pace implements [backends.Paced]: a second.
func (s *Store) Pace() time.Duration { return alivePeriod }

// Publish implements [backends.Invalidator]: every watcher has forgotten keys when it returns.
// A sink must not call back into Watch or Publish.
func (s *Store) Publish(ctx context.Context, keys []string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if slices.Contains(keys, "") {
		return backends.ErrEmptyKey
	}
	if len(keys) > 0 {
		s.watching.tell(func(to backends.Sink) { to.Forget(slices.Clone(keys)) })
	}
	return nil
}

// PublishFlush implements [backends.Invalidator].
func (s *Store) PublishFlush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.watching.tell(func(to backends.Sink) { to.Flush("published") })
	return nil
}

func (ws *watchers) add(w *watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.all = append(ws.all, w)
}

func (ws *watchers) remove(w *watcher) {
	ws.mu.Lock()
	ws.all = slices.DeleteFunc(slices.Clone(ws.all), func(x *watcher) bool { return x == w })
	ws.mu.Unlock()

	w.mu.Lock()
	w.sink = nil
	w.mu.Unlock()
}

func (ws *watchers) tell(what func(backends.Sink)) {
	ws.mu.Lock()
	all := slices.Clone(ws.all)
	ws.mu.Unlock()
	for _, w := range all {
		w.tell(what)
	}
}

func (w *watcher) tell(what func(backends.Sink)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sink != nil {
		what(w.sink)
	}
}
