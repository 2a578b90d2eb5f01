package tier_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/faultproxy"
	"github.com/hearthcache/hearth/internal/faultproxy/faultproxytest"
	"github.com/hearthcache/hearth/internal/fence"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/tier"
)

// count is one operation on a counter: count up, or look. counted is what it returned.
type (
	count   struct{ up bool }
	counted struct {
		n       int
		unknown bool
	}
)

// counter is a counter that starts at 0 and, with an unknown outcome, has either counted or not.
var counter = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{0} },
	Step: func(state, input, output any) []any {
		n, out := state.(int), output.(counted)
		switch {
		case !input.(count).up && out.n == n:
			return []any{n}
		case !input.(count).up:
			return nil
		case out.unknown:
			return []any{n, n + 1}
		case out.n == n+1:
			return []any{n + 1}
		}
		return nil
	},
}).ToModel()

// history collects operations.
type history struct {
	start time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation

	unknown, failed int
}

// note runs one operation. A definite failure is no operation: nothing happened. An unknown one
// may take effect at any time from its call on.
func (h *history) note(client int, in count, do func() (int, error)) {
	call := time.Since(h.start).Nanoseconds()
	n, err := do()
	ret := time.Since(h.start).Nanoseconds()
	h.mu.Lock()
	defer h.mu.Unlock()
	out := counted{n: n}
	switch {
	case errors.Is(err, tier.ErrUnknown) && in.up:
		h.unknown++
		out, ret = counted{unknown: true}, math.MaxInt64
	case err != nil:
		h.failed++
		return
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: ret})
}

func (h *history) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// stores are the drivers against real servers behind a proxy.
var stores = map[string]func(t *testing.T) (backends.Store, *faultproxy.Proxy){
	"redis": func(t *testing.T) (backends.Store, *faultproxy.Proxy) {
		p := faultproxytest.New(t, serverstest.Redis(t).Addr())
		client := goredis.NewClient(redis.Options(p.Addr()))
		t.Cleanup(func() { client.Close() })
		s, err := redis.New(client, redis.Config{})
		if err != nil {
			t.Fatal(err)
		}
		return s, p
	},
	"memcached": func(t *testing.T) (backends.Store, *faultproxy.Proxy) {
		p := faultproxytest.New(t, serverstest.Memcached(t).Addr())
		s, err := memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: p.Addr()}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s, p
	},
}

// trouble resets connections and swallows replies, seldom enough that most operations go through,
// until ctx ends. It counts the replies that it swallowed.
func trouble(ctx context.Context, p *faultproxy.Proxy, swallowed *atomic.Int32) {
	for ctx.Err() == nil {
		var lost <-chan struct{}
		if rand.N(4) == 0 {
			p.ResetAll()
		} else {
			lost = p.SwallowReply(true)
		}
		select {
		case <-time.After(10*time.Millisecond + rand.N(20*time.Millisecond)):
		case <-ctx.Done():
		}
		if lost != nil { // never two at a time: on a busy machine they would add up
			select {
			case <-lost:
				swallowed.Add(1)
			case <-ctx.Done():
			}
		}
	}
}

// What a history has to contain to say something, and the time after which it has to do.
const (
	enoughOps     = 800
	enoughTrouble = 25
	raceTime      = 8 * time.Second
)

// race lets workers of several caches over s count under trouble, and returns their history.
func race(t *testing.T, s backends.Store, p *faultproxy.Proxy, up func(context.Context, *tier.Cache[int]) (int, error), look func(context.Context, *tier.Cache[int]) (int, error)) *history {
	ctx, cancel := context.WithTimeout(t.Context(), raceTime)
	defer cancel()
	var swallowed atomic.Int32
	h := &history{start: time.Now()}
	var wg sync.WaitGroup
	wg.Go(func() { trouble(ctx, p, &swallowed) })
	for i := range 6 {
		c, err := tier.New(tier.Config[int]{
			Namespace: "n",
			Remotes:   []tier.Remote{{Name: "far", Store: s, Breaker: tier.Breaker{Disabled: true}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer c.Close(context.Background())
			for ctx.Err() == nil {
				if swallowed.Load() >= enoughTrouble && h.len() >= enoughOps {
					cancel()
				}
				if rand.N(4) == 0 {
					h.note(i, count{}, func() (int, error) { return look(context.Background(), c) })
				} else {
					h.note(i, count{up: true}, func() (int, error) { return up(context.Background(), c) })
				}
			}
		})
	}
	wg.Wait()
	p.Clear()
	return h
}

var errLook = errors.New("only looking")

// look reads the counter at the authority: the read of an update that writes nothing.
func look(ctx context.Context, c *tier.Cache[int]) (n int, err error) {
	_, err = c.Update(ctx, "k", func(old int, _ bool) (int, error) { n = old; return 0, errLook })
	if errors.Is(err, errLook) {
		err = nil
	}
	return n, err
}

func update(ctx context.Context, c *tier.Cache[int]) (int, error) {
	return c.UpdateWith(ctx, "k", func(old int, _ bool) (int, error) { return old + 1, nil }, tier.UpdateOptions{Attempts: 30})
}

func verdict(t *testing.T, h *history) porcupine.CheckResult {
	t.Helper()
	r := porcupine.CheckOperationsTimeout(counter, h.ops, 10*time.Second)
	t.Logf("%d operations, %d of them unknown; %d failed: %v", len(h.ops), h.unknown, h.failed, r)
	if len(h.ops) < 100 {
		t.Errorf("only %d operations", len(h.ops))
	}
	return r
}

func TestUpdate_IsLinearizableUnderResetsAndLostReplies(t *testing.T) {
	for name, make := range stores {
		t.Run(name, func(t *testing.T) {
			s, p := make(t)
			if r := verdict(t, race(t, s, p, update, look)); r != porcupine.Ok {
				t.Errorf("the history is %v", r)
			}
		})
	}
}

func TestUpdate_RetriedBlindlyIsNotLinearizable(t *testing.T) {
	defer fence.Remove(fence.Mark)()
	for name, make := range stores {
		t.Run(name, func(t *testing.T) {
			s, p := make(t)
			if r := verdict(t, race(t, s, p, update, look)); r != porcupine.Illegal {
				t.Errorf("the history is %v: the check cannot see a write that was carried out twice", r)
			}
		})
	}
}

// increment counts on the server; look with delta 0 is a read there.
func increment(delta int64) func(context.Context, *tier.Cache[int]) (int, error) {
	return func(ctx context.Context, c *tier.Cache[int]) (int, error) {
		n, err := c.Increment(ctx, "i", delta, tier.IncrementOptions{})
		return int(n), err
	}
}

func TestIncrement_IsLinearizableUnderResetsAndLostReplies(t *testing.T) {
	for name, make := range stores {
		t.Run(name, func(t *testing.T) {
			s, p := make(t)
			if r := verdict(t, race(t, s, p, increment(1), increment(0))); r != porcupine.Ok {
				t.Errorf("the history is %v", r)
			}
		})
	}
}

func TestIncrement_RetriedBlindlyIsNotLinearizable(t *testing.T) {
	again := func(ctx context.Context, c *tier.Cache[int]) (n int, err error) {
		for {
			if n, err = increment(1)(ctx, c); !errors.Is(err, tier.ErrUnknown) {
				return n, err
			}
		}
	}
	for name, make := range stores {
		t.Run(name, func(t *testing.T) {
			s, p := make(t)
			if r := verdict(t, race(t, s, p, again, increment(0))); r != porcupine.Illegal {
				t.Errorf("the history is %v: the check cannot see an increment that was carried out twice", r)
			}
		})
	}
}
