package containers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/tier"
)

// reading is a record of the source, as it was at one version.
type reading struct {
	Key     string
	Version int64
}

// source is a source of record with its history: a read may not be older than the newest
// version whose invalidation was over before the read began.
type source struct {
	keys      []string
	committed []atomic.Int64 // by key: the newest version of the record
	settled   []atomic.Int64 // by key: the newest version whose invalidation is over
	loads     atomic.Int64
	changes   atomic.Int64
}

func newSource(n int) *source {
	s := &source{committed: make([]atomic.Int64, n), settled: make([]atomic.Int64, n)}
	for i := range n {
		s.keys = append(s.keys, fmt.Sprintf("record:%d", i))
	}
	return s
}

func (s *source) Load(_ context.Context, key string) (reading, error) {
	var i int
	if _, err := fmt.Sscanf(key, "record:%d", &i); err != nil {
		return reading{}, err
	}
	s.loads.Add(1)
	return reading{Key: key, Version: s.committed[i].Load()}, nil
}

// change commits a new version and makes the cache forget the old one. Only one goroutine may
// change a key.
func (s *source) change(ctx context.Context, c *tier.Cache[reading], i int) error {
	s.changes.Add(1)
	v := s.committed[i].Add(1)
	err := c.Invalidate(ctx, s.keys[i])
	s.settled[i].Store(v)
	if errors.Is(err, tier.ErrQueued) {
		return nil // undelivered, so this process passes the tier by for this key
	}
	return err
}

// check reads a key and judges the answer.
func (s *source) check(ctx context.Context, c *tier.Cache[reading], i int) error {
	atLeast := s.settled[i].Load()
	began := time.Now()
	got, err := c.Get(ctx, s.keys[i])
	took := time.Since(began)
	switch {
	case err != nil:
		return fmt.Errorf("read of %s failed although the source answers: %w", s.keys[i], err)
	case got.Key != s.keys[i]:
		return fmt.Errorf("read of %s gave the record of %s", s.keys[i], got.Key)
	case got.Version < atLeast:
		return fmt.Errorf("stale read of %s: version %d, and %d was settled before the read began", s.keys[i], got.Version, atLeast)
	case got.Version > s.committed[i].Load():
		return fmt.Errorf("read of %s gave version %d, which was never written", s.keys[i], got.Version)
	case took > 5*time.Second:
		return fmt.Errorf("read of %s took %v", s.keys[i], took)
	}
	return nil
}

func TestGet_ServerKilledAndRestartedUnderLoad(t *testing.T) {
	for _, i := range []image{{"redis:8", "redis"}, {"valkey/valkey:8", "valkey"}, {"memcached:1.6", "memcached"}} {
		t.Run(i.tag, func(t *testing.T) {
			h := i.startHost(t, freePorts(t, 1, anyPort)[0])
			var store backends.Store
			if i.kind == "memcached" {
				store = memcachedStore(t, h.addr)
			} else {
				store, _ = redisStore(t, h.addr)
			}
			killUnderLoad(t, h, store)
		})
	}
}

// killUnderLoad kills the only remote tier and starts it again while records are read and
// changed. There is no L1, so every read is about the tier.
func killUnderLoad(t *testing.T, h *host, store backends.Store) {
	src := newSource(200)
	cache, err := tier.New(tier.Config[reading]{
		Namespace: "restart",
		Local:     tier.Local[reading]{Disabled: true},
		Remotes:   []tier.Remote{{Name: "server", Store: store, Breaker: tier.Breaker{MaxOpenFor: 500 * time.Millisecond}}},
		Loader:    src,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close(context.Background())

	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var reads atomic.Int64
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
	remote := func() tier.RemoteStats { return cache.Stats().Remotes[0] }
	hits := func() int64 { return remote().Hits }

	for range 2 {
		more(1000, hits, "the server has answered 1000 reads")
		h.kill(t)
		more(1000, reads.Load, "1000 reads were answered without the server")
		if got := cache.Health().Remotes[0].Breaker; got == "closed" && remote().Errors == 0 {
			t.Error("nobody has noticed that the server is dead")
		}
		h.again(t)
		more(1000, hits, "the server answers reads again")
		await(t, "nothing is owed", func() error {
			if owed := remote().Owed; owed > 1 { // one may just be under way
				return fmt.Errorf("%d invalidations are owed", owed)
			}
			return nil
		})
	}
	stop()
	load.Wait()
	t.Logf("%d reads, none stale: %+v", reads.Load(), remote())
}
