package tier

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// probe is the memory store with a hook before each operation: it can fail, block and count.
type probe struct {
	*memory.Store
	mu     sync.Mutex
	before func(op, key string) error
	calls  map[string]int
}

func newProbe() *probe { return &probe{Store: memory.New(memory.Config{}), calls: map[string]int{}} }

// on installs the hook.
func (p *probe) on(before func(op, key string) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = before
}

// down makes every call fail with err; nil brings the store back.
func (p *probe) down(err error) {
	if err == nil {
		p.on(nil)
		return
	}
	p.on(func(string, string) error { return err })
}

func (p *probe) count(op string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[op]
}

func (p *probe) enter(op, key string) error {
	p.mu.Lock()
	p.calls[op]++
	before := p.before
	p.mu.Unlock()
	if before != nil {
		return before(op, key)
	}
	return nil
}

func (p *probe) Get(ctx context.Context, key string) (backends.Item, error) {
	if err := p.enter("get", key); err != nil {
		return backends.Item{}, err
	}
	return p.Store.Get(ctx, key)
}

func (p *probe) Set(ctx context.Context, key string, it backends.Item) error {
	if err := p.enter("set", key); err != nil {
		return err
	}
	return p.Store.Set(ctx, key, it)
}

func (p *probe) Delete(ctx context.Context, key string) error {
	if err := p.enter("delete", key); err != nil {
		return err
	}
	return p.Store.Delete(ctx, key)
}

func (p *probe) GetMany(ctx context.Context, keys []string) []backends.Result {
	if err := p.enter("get-many", keys[0]); err != nil {
		out := make([]backends.Result, len(keys))
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	return p.Store.GetMany(ctx, keys)
}

func (p *probe) SetMany(ctx context.Context, entries []backends.KeyItem) []error {
	if err := p.enter("set-many", entries[0].Key); err != nil {
		return same(err, len(entries))
	}
	return p.Store.SetMany(ctx, entries)
}

func (p *probe) DeleteMany(ctx context.Context, keys []string) []error {
	if err := p.enter("delete-many", keys[0]); err != nil {
		return same(err, len(keys))
	}
	return p.Store.DeleteMany(ctx, keys)
}

func (p *probe) Acquire(ctx context.Context, key string, hold time.Duration) (backends.Lease, backends.Item, error) {
	if err := p.enter("acquire", key); err != nil {
		return nil, backends.Item{}, err
	}
	lease, it, err := p.Store.Acquire(ctx, key, hold)
	if lease != nil {
		lease = probeLease{lease, p, key}
	}
	return lease, it, err
}

func (p *probe) AcquireMany(ctx context.Context, keys []string, hold time.Duration) []backends.LeaseResult {
	if err := p.enter("acquire-many", keys[0]); err != nil {
		out := make([]backends.LeaseResult, len(keys))
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	return p.Store.AcquireMany(ctx, keys, hold)
}

func (p *probe) FillMany(ctx context.Context, leases []backends.Lease, items []backends.Item) []error {
	plain := make([]backends.Lease, len(leases))
	for i, l := range leases {
		plain[i] = l
		if w, ok := l.(probeLease); ok {
			plain[i] = w.Lease
		}
	}
	if err := p.enter("fill-many", ""); err != nil {
		return same(err, len(leases))
	}
	return p.Store.FillMany(ctx, plain, items)
}

func (p *probe) Seize(ctx context.Context, key string, hold time.Duration) (backends.Lease, error) {
	if err := p.enter("seize", key); err != nil {
		return nil, err
	}
	return p.Store.Seize(ctx, key, hold)
}

type probeLease struct {
	backends.Lease
	p   *probe
	key string
}

func (l probeLease) Fill(ctx context.Context, it backends.Item) error {
	if err := l.p.enter("fill", l.key); err != nil {
		return err
	}
	return l.Lease.Fill(ctx, it)
}

func same(err error, n int) []error {
	out := make([]error, n)
	for i := range out {
		out[i] = err
	}
	return out
}

var errDown = errors.New("connection refused")

// source is a source of record that counts its loads.
type source struct {
	mu    sync.Mutex
	vals  map[string]string
	loads int
	err   error
}

func newSource(kv ...string) *source {
	s := &source{vals: map[string]string{}}
	for i := 0; i < len(kv); i += 2 {
		s.vals[kv[i]] = kv[i+1]
	}
	return s
}

func (s *source) Load(_ context.Context, key string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	if s.err != nil {
		return "", s.err
	}
	v, ok := s.vals[key]
	if !ok {
		return "", ErrMiss
	}
	return v, nil
}

func (s *source) set(key, v string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vals[key] = v
}

func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads
}

// open makes a cache that the test closes.
func open[V any](t testing.TB, cfg Config[V]) *Cache[V] {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// over is a cache without jitter and early refreshes over the given stores, nearest first.
func over(src *source, stores ...backends.Store) Config[string] {
	cfg := Config[string]{Namespace: "t", Jitter: -1, Load: Load{EarlyBeta: -1}}
	if src != nil {
		cfg.Loader = src
	}
	for i, s := range stores {
		cfg.Remotes = append(cfg.Remotes, Remote{Name: string(rune('a' + i)), Store: s})
	}
	return cfg
}

// quiet waits for background work.
func quiet[V any](t testing.TB, c *Cache[V]) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); len(c.busy) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("background work does not end")
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func want[V comparable](t testing.TB, got V, err error, exp V) {
	t.Helper()
	if err != nil || got != exp {
		t.Fatalf("got %v, %v; want %v", got, err, exp)
	}
}

func wantErr(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got error %v, want %v", err, target)
	}
}
