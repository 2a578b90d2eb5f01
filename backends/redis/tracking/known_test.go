package tracking

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis/internal/link"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
)

// A node that nobody knows of may hold what is in L1. So the link is down once the masters have not been
// known for DeadAfter, whatever a question that is under way does.
func TestWatch_ATopologyThatIsNotKnownIsALinkThatIsDownAfterDeadAfter(t *testing.T) {
	const deadAfter, refresh = 3 * time.Second, time.Second
	gone := errors.New("gone")
	for _, c := range []struct {
		name   string
		answer func(context.Context) error
		reason error
	}{
		{"nodes that do not answer", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, errNoAnswer},
		{"and a client that keeps no deadline", func(context.Context) error { time.Sleep(10 * deadAfter); return gone }, errNoAnswer},
		{"nodes that refuse", func(context.Context) error { time.Sleep(time.Millisecond); return gone }, gone},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := sinktest.New()
				asked := 0
				w := &watch{
					Source:  &Source{cfg: Config{Refresh: refresh}, timing: link.Timing{Ping: time.Second, DeadAfter: deadAfter}},
					cluster: true,
					board:   link.NewBoard(l, deadAfter),
					look:    make(chan struct{}, 1),
					doubts:  make(chan struct{}, 1),
					stop:    map[string]func(){"a": func() {}}, // is listened to
				}
				w.ask = func(ctx context.Context, _ goredis.UniversalClient) (link.Topology, error) {
					asked++
					if asked == 1 || asked > 4 {
						return link.Topology{Nodes: map[string]*goredis.Options{"a": {}}}, nil
					}
					return link.Topology{}, c.answer(ctx)
				}
				w.board.Add("a")
				w.board.Up("a")
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- w.run(ctx) }()
				synctest.Wait()
				downs := func() int { return len(l.State().Downs) }
				if !l.State().Up {
					t.Fatal("the link is not up")
				}
				before := downs()
				time.Sleep(deadAfter - time.Millisecond)
				synctest.Wait()
				if !l.State().Up {
					t.Errorf("down too early: %v", l.State().Downs)
				}
				time.Sleep(time.Millisecond)
				synctest.Wait()
				if s := l.State(); s.Up || downs() != before+1 || !errors.Is(s.Downs[before], c.reason) {
					t.Errorf("%v after the topology was known last: up %v, downs %v", deadAfter, s.Up, s.Downs[before:])
				}
				time.Sleep(40 * deadAfter)
				synctest.Wait()
				if !l.State().Up {
					t.Error("known again, and the link is still down")
				}
				cancel()
				<-ended
				before = downs()
				time.Sleep(40 * deadAfter)
				if downs() != before {
					t.Error("it was told of after Watch had returned")
				}
			})
		})
	}
}
