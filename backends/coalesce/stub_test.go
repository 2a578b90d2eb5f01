package coalesce

import (
	"context"
	"slices"
	"sync"

	"github.com/hearthcache/hearth/backends"
)

// stub is a store whose requests come back when the test says so. The value of a key is "v:" and
// the key; keys that begin with '-' are not there.
type stub struct {
	mu      sync.Mutex
	asked   [][]string          // the keys of every request
	ctxs    []context.Context   // and its context
	arrived chan struct{}       // one for every request
	admit   chan struct{}       // one lets one request come back; nil = at once
	prompt  bool                // requests come back when their context ends
	trip    func(keys []string) // before the answer
}

func newStub() *stub {
	return &stub{arrived: make(chan struct{}, 1000), admit: make(chan struct{}, 1000), prompt: true}
}

func (s *stub) request(ctx context.Context, keys []string) error {
	s.mu.Lock()
	s.asked, s.ctxs = append(s.asked, slices.Clone(keys)), append(s.ctxs, ctx)
	s.mu.Unlock()
	s.arrived <- struct{}{}
	if s.trip != nil {
		s.trip(keys)
	}
	if s.admit == nil {
		return nil
	}
	var over <-chan struct{}
	if s.prompt {
		over = ctx.Done()
	}
	select {
	case <-s.admit:
		return nil
	case <-over:
		return ctx.Err()
	}
}

func (s *stub) requests() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func answer(key string) backends.Result {
	if key[0] == '-' {
		return backends.Result{Err: backends.ErrMiss}
	}
	return backends.Result{Item: backends.Item{Value: []byte("v:" + key)}}
}

func (s *stub) Get(ctx context.Context, key string) (backends.Item, error) {
	if err := s.request(ctx, []string{key}); err != nil {
		return backends.Item{}, err
	}
	r := answer(key)
	return r.Item, r.Err
}

func (s *stub) Set(ctx context.Context, key string, _ backends.Item) error {
	return s.request(ctx, []string{key})
}

func (s *stub) Delete(ctx context.Context, key string) error { return s.request(ctx, []string{key}) }

func (s *stub) GetMany(ctx context.Context, keys []string) []backends.Result {
	err := s.request(ctx, keys)
	rs := make([]backends.Result, len(keys))
	for i, k := range keys {
		if rs[i] = answer(k); err != nil {
			rs[i] = backends.Result{Err: err}
		}
	}
	return rs
}

func (s *stub) SetMany(ctx context.Context, entries []backends.KeyItem) []error {
	s.request(ctx, make([]string, len(entries)))
	return nil
}

func (s *stub) DeleteMany(ctx context.Context, keys []string) []error {
	if err := s.request(ctx, keys); err != nil {
		return slices.Repeat([]error{err}, len(keys))
	}
	return nil
}
