package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/tier"
)

// service answers requests through a cache.
type service struct {
	work   *workload
	src    *source
	onLoad func(request int) // told of every load, and of the request that caused it

	swapping sync.RWMutex // write-locked while the cache is being replaced
	cache    *tier.Cache[Record]

	stale, wrong, failed atomic.Int64
	firstErr             atomic.Pointer[error]
}

// namespace is in front of the key of each record, with a colon.
const namespace = "record"

// l1Bytes holds about a thousand records: enough for the hottest, and little enough that nearly
// every record is asked of the remote server again and again.
const l1Bytes = 512 << 10

// lifetime of a cached record, longer than the program runs: what is loaded again has been
// changed, or lost by a server, and did not just expire.
const lifetime = 10 * time.Minute

func newService(w *workload, src *source) *service {
	return &service{work: w, src: src, onLoad: func(int) {}}
}

// over returns a cache over store.
func (s *service) over(name string, store backends.Store) (*tier.Cache[Record], error) {
	return tier.New(tier.Config[Record]{
		Namespace:   namespace,
		Local:       tier.Local[Record]{MaxBytes: l1Bytes},
		Remotes:     []tier.Remote{{Name: name, Store: store, Timeout: 2 * patience}},
		TTL:         lifetime,
		NegativeTTL: lifetime,
		Load:        tier.Load{MaxConcurrent: 4096},
	})
}

// fill puts every record into the cache.
func (s *service) fill(ctx context.Context) error {
	const atOnce = 1000
	for from := 0; from < len(s.work.names); from += atOnce {
		batch := make(map[string]Record, atOnce)
		for id := from; id < min(from+atOnce, len(s.work.names)); id++ {
			rec, err := s.src.now(uint32(id))
			if err != nil {
				return fmt.Errorf("fill the old server: %w", err)
			}
			batch[s.work.names[id]] = rec
		}
		if err := s.cache.SetMany(ctx, batch); err != nil {
			return fmt.Errorf("fill the old server: %w", err)
		}
	}
	return nil
}

// swap points the service at another cache, as a restart with another configuration would: the
// requests under way end first, and the L1 begins empty.
func (s *service) swap(ctx context.Context, next *tier.Cache[Record]) error {
	s.swapping.Lock()
	before := s.cache
	s.cache = next
	s.swapping.Unlock()
	return before.Close(ctx)
}

// request does what request i does, and judges what it read.
func (s *service) request(ctx context.Context, i int) {
	s.swapping.RLock()
	defer s.swapping.RUnlock()
	if c := s.work.changes[i]; c.kind != noChange {
		s.write(ctx, c)
	}
	s.read(ctx, i)
}

// write commits a change to the source, and then makes the caches forget.
func (s *service) write(ctx context.Context, c change) {
	version := s.src.commit(c.record, c.kind)
	var err error
	if c.kind == remove {
		err = s.cache.Delete(ctx, s.work.names[c.record])
	} else {
		err = s.cache.Invalidate(ctx, s.work.names[c.record])
	}
	if err != nil {
		s.fail(ctx, err) // not finished: nobody may rely on it
		return
	}
	s.src.settle(c.record, version)
}

// read reads what request i asks for. It brings its own loader, which knows on whose behalf it
// loads; usually a cache is given one for all with tier.Config.Loader.
func (s *service) read(ctx context.Context, i int) {
	id := s.work.reads[i]
	floor := s.src.floor(id)
	rec, err := s.cache.GetOrLoad(ctx, s.work.names[id], func(ctx context.Context, _ string) (Record, error) {
		s.onLoad(i)
		return s.src.load(ctx, id)
	})
	if err != nil && !errors.Is(err, tier.ErrMiss) {
		s.fail(ctx, err)
		return
	}
	switch s.src.judge(id, floor, rec, err != nil) {
	case stale:
		s.stale.Add(1)
	case wrong:
		s.wrong.Add(1)
	}
}

// fail counts a request without an answer; those that the user interrupted do not count.
func (s *service) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.failed.Add(1)
	s.firstErr.CompareAndSwap(nil, &err)
}
