package tracking

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/tier"
)

// messages counts how often it was told to forget a key.
type messages struct {
	mu sync.Mutex
	n  map[string]int
	up chan struct{}
}

func (m *messages) Flush(string) {}
func (m *messages) Down(error)   {}

func (m *messages) Alive() {
	select {
	case m.up <- struct{}{}:
	default:
	}
}

func (m *messages) Forget(keys []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range keys {
		m.n[k]++
	}
}

func (m *messages) of(key string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.n[key]
}

// await polls until holds does.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for start := time.Now(); !holds(); time.Sleep(time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Why the echo of an own write is not taken for one: the server may say "changed" once for it and
// for what somebody else wrote right after it.
func TestEcho_AnOwnAndAForeignWriteCanBeOneMessage(t *testing.T) {
	srv := own(t)
	m := &messages{n: map[string]int{}, up: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	s := source(t, connect(t, srv.Addr()), calm("echo"))
	go func() { ended <- s.Watch(ctx, m) }()
	t.Cleanup(func() { cancel(); <-ended })
	<-m.up
	ours, others, admin := connect(t, srv.Addr()), connect(t, srv.Addr()), connect(t, srv.Addr())
	for try := range 50 {
		key, last := fmt.Sprintf("echo:%d", try), fmt.Sprintf("echo:last%d", try)
		var writes sync.WaitGroup
		writes.Go(func() { // meanwhile both writes arrive, and the server finds them together
			if err := admin.Do(t.Context(), "DEBUG", "SLEEP", "0.1").Err(); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(20 * time.Millisecond)
		writes.Go(func() { set(t, ours, key) })
		writes.Go(func() { set(t, others, key) })
		writes.Wait()
		set(t, admin, last)
		await(t, "the news", func() bool { return m.of(last) > 0 })
		if m.of(key) == 1 {
			return
		}
	}
	t.Error("50 times two writes, and each time two messages: own ones could be told apart after all")
}

// What that costs: what a process has loaded and filled is read once more before L1 keeps it.
func TestEcho_AnOwnLoadIsReadOnceMoreAndThenKept(t *testing.T) {
	c := connect(t, server(t))
	store, err := redis.New(c, redis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var loads atomic.Int64
	cache, err := tier.New(tier.Config[string]{
		Namespace: "cost",
		Local:     tier.Local[string]{Invalidator: source(t, c, calm("cost")), DeadAfter: 30 * time.Second, TTL: time.Hour},
		Remotes:   []tier.Remote{{Name: "redis", Store: store, Timeout: 10 * time.Second}},
		Loader: tier.LoaderFunc[string](func(context.Context, string) (string, error) {
			loads.Add(1)
			return "v", nil
		}),
		TTL: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.Close(context.Background()) })
	await(t, "the link is up", func() bool { return cache.Health().Link == "up" })
	const keys = 100
	reads := 0
	for i := range keys {
		key := fmt.Sprintf("%d-%d", time.Now().UnixNano(), i)
		if _, err := cache.Get(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		for try := 0; ; try++ {
			e, err := cache.Lookup(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if e.Source == "L1" {
				break
			}
			if reads++; try > 50 {
				t.Fatalf("key %d is not kept in L1", i)
			}
		}
	}
	if n := loads.Load(); n != keys {
		t.Errorf("%d loads for %d keys", n, keys)
	}
	t.Logf("%.2f reads of the remote tier after a load, until L1 answers", float64(reads)/keys)
}
