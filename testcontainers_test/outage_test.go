package containers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/fallback"
	"github.com/hearthcache/hearth/tier"
)

func TestMigration_ServersKilledAndRestartedInTheMiddle(t *testing.T) {
	for _, m := range []struct{ old, new image }{
		{image{"memcached:1.6", "memcached"}, image{"redis:8", "redis"}},
		{image{"redis:7", "redis"}, image{"valkey/valkey:8", "valkey"}},
	} {
		t.Run(m.old.tag+" to "+m.new.tag, func(t *testing.T) {
			ports := freePorts(t, 2, anyPort)
			loseServers(t, m.old.startHost(t, ports[0]), m.new.startHost(t, ports[1]))
		})
	}
}

// store returns a store on h.
func (h *host) store(t *testing.T) backends.Store {
	t.Helper()
	if h.kind == "memcached" {
		return memcachedStore(t, h.addr)
	}
	s, _ := redisStore(t, h.addr)
	return s
}

// loseServers migrates under load and kills each server in every phase in which both are read:
// no read may fail or be stale while it is away, nor once it is back and empty.
func loseServers(t *testing.T, old, new *host) {
	member := func(h *host) fallback.Member {
		return fallback.Member{Store: h.store(t), Timeout: time.Second, MaxOpenFor: 500 * time.Millisecond}
	}
	both, err := fallback.New(fallback.Config{New: member(new), Old: []fallback.Member{member(old)}})
	if err != nil {
		t.Fatal(err)
	}
	defer both.Close()
	src := newSource(200)
	cache, err := tier.New(tier.Config[reading]{
		Namespace: "outage",
		Local:     tier.Local[reading]{Disabled: true}, // so every read is about the servers
		Remotes:   []tier.Remote{{Name: "servers", Store: both, Timeout: 3 * time.Second, Breaker: tier.Breaker{MaxOpenFor: 500 * time.Millisecond}}},
		Loader:    src,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close(context.Background())

	var reads atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	defer load.Wait()
	defer stop()
	fail := func(err error) {
		if ctx.Err() == nil {
			t.Error(err)
			stop()
		}
	}
	for range 8 {
		load.Go(func() {
			for ctx.Err() == nil {
				if err := src.check(ctx, cache, rand.IntN(len(src.keys))); err != nil {
					fail(err)
				}
				reads.Add(1)
			}
		})
	}
	load.Go(func() {
		for ctx.Err() == nil {
			if err := src.change(ctx, cache, rand.IntN(len(src.keys))); err != nil {
				fail(err)
			}
		}
	})
	more := func(n int64, of func() int64, what string) {
		t.Helper()
		from := of()
		await(t, what, func() error {
			if got := of() - from; got < n && ctx.Err() == nil {
				return fmt.Errorf("%d of %d", got, n)
			}
			return nil
		})
	}
	hits := map[*host]func() int64{
		old: func() int64 { return both.Progress().HitsOld },
		new: func() int64 { return both.Progress().HitsNew },
	}
	for _, step := range []struct {
		phase   fallback.Phase
		answers []*host // who gives hits in this phase
	}{
		{fallback.PhaseMirror, []*host{old}},
		{fallback.Ramp(50), []*host{old, new}},
		{fallback.PhaseNew, []*host{new}},
		{fallback.Ramp(20), []*host{old, new}}, // and back
	} {
		if err := both.SetPhase(step.phase); err != nil {
			t.Fatal(err)
		}
		for _, h := range []*host{new, old} {
			h.kill(t)
			more(500, reads.Load, fmt.Sprintf("500 reads in phase %v without %s", step.phase, h.addr))
			h.again(t)
			for _, a := range step.answers {
				more(200, hits[a], fmt.Sprintf("%s gives hits again in phase %v", a.addr, step.phase))
			}
		}
	}
	t.Logf("%d reads, none stale, %d changes: %+v", reads.Load(), src.changes.Load(), both.Progress())
}
