package coalesce

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/internal/memcachedtest"
)

// gate is a memcached that tells of the changes that arrive, and holds them.
type gate struct {
	on      atomic.Bool
	changes atomic.Int64 // commands that were not quiet
	arrived chan struct{}
	open    chan struct{}
}

func (g *gate) before(line []byte) {
	verb, _, _ := bytes.Cut(line, []byte(" "))
	switch string(verb) {
	case "delete", "add", "cas", "md", "ms", "mn":
	default:
		return
	}
	if !g.on.Load() || bytes.Contains(line, []byte(" q ")) {
		return
	}
	g.changes.Add(1)
	g.arrived <- struct{}{}
	<-g.open
}

// gated returns a Store over a memcached with a gate.
func gated(t *testing.T, over memcached.Transport) (*Store, *gate) {
	g := &gate{arrived: make(chan struct{}, 1000), open: make(chan struct{})}
	srv := memcachedtest.New(memcachedtest.Config{Before: g.before})
	t.Cleanup(func() { srv.Close() })
	if err := srv.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	// Batches leave only when what is under way has come back.
	return wrap(t, onMemcached(t, srv.Addr(), over), Config{Step: 1000, Patience: time.Hour, Timeout: patience}), g
}

// changes is what callers do to one key each.
var changes = map[string]func(ctx context.Context, s *Store, key string) func() error{
	"delete": func(ctx context.Context, s *Store, key string) func() error {
		return func() error { return s.Delete(ctx, key) }
	},
	"acquire": func(ctx context.Context, s *Store, key string) func() error {
		return func() error { _, _, err := s.Caps().Leaser.Acquire(ctx, key, time.Hour); return err }
	},
	"fill": func(ctx context.Context, s *Store, key string) func() error {
		l, _, err := s.Caps().Leaser.Acquire(ctx, key, time.Hour)
		if err != nil {
			return func() error { return err }
		}
		return func() error { return l.Fill(ctx, backends.Item{Value: []byte("v")}) }
	},
}

// Over the text protocol there is no command for many changes: gathered, callers would wait for
// each other, a few at a time. All are under way at once, as they are without this package.
func TestMemcached_ChangesThatCannotBeOneRequestAreNotGathered(t *testing.T) {
	const callers = 64
	for what, change := range changes {
		s, g := gated(t, memcached.Gomemcache)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		var calls []func() error
		for _, k := range numbered("k", callers) {
			calls = append(calls, change(ctx, s, k))
		}
		g.on.Store(true)
		var wg sync.WaitGroup
		for _, call := range calls {
			wg.Go(func() {
				if err := call(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		for n := range callers {
			select {
			case <-g.arrived:
			case <-ctx.Done():
				t.Errorf("%s: %d of %d callers are under way", what, n, callers)
			}
		}
		close(g.open)
		wg.Wait()
		cancel()
	}
}

// Over Meta there is one: those who come while something is under way are one request, not one
// request a few at a time.
func TestMemcached_ChangesThatAreOneRequestTravelTogether(t *testing.T) {
	const callers = 64
	for what, change := range changes {
		s, g := gated(t, memcached.Meta)
		var calls []func() error
		for _, k := range numbered("k", callers) {
			calls = append(calls, change(t.Context(), s, k))
		}
		var joined atomic.Int64
		hook := func(point string) {
			if point == "joined" && joined.Add(1) == callers-1 {
				close(g.open)
			}
		}
		s.deletes.hook, s.acquires.hook, s.fills.hook = hook, hook, hook
		g.on.Store(true)
		var wg sync.WaitGroup
		for i, call := range calls {
			wg.Go(func() {
				if err := call(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			})
			if i == 0 {
				<-g.arrived // the others find it under way
			}
		}
		wg.Wait()
		// The first caller's, one for the others, and of fills another one beside it for the leases
		// whose cas id was still being read.
		if n := g.changes.Load(); n > 3 || n == 3 && what != "fill" {
			t.Errorf("%s: %d requests", what, n)
		}
	}
}
