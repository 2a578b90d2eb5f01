package tier

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
)

// openLevel is the one remote level of a cache, behind an open breaker.
func openLevel(t testing.TB, namespace string) (*level, *backendtest.Faulty) {
	t.Helper()
	f := backendtest.NewFaulty(memory.New(memory.Config{}), 1)
	cfg := over(nil, f)
	cfg.Namespace = namespace
	cfg.Remotes[0].Breaker = Breaker{Timeouts: 1, MinCalls: 1, OpenFor: time.Hour, MaxOpenFor: time.Hour}
	lv := open(t, cfg).levels[0]
	f.Down(true)
	for range 3 {
		_, _ = lv.get(context.Background(), "k")
	}
	if _, err := lv.get(context.Background(), "k"); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("the breaker is not open: %v", err)
	}
	return lv, f
}

// BenchmarkOpenBreaker is what a call costs that an open breaker refuses: the namespace put
// before the key, the guard, and the error that names tier and key.
func BenchmarkOpenBreaker(b *testing.B) {
	ctx := context.Background()
	lv, _ := openLevel(b, "t")
	for name, call := range refusedCalls(lv) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = call(ctx)
			}
		})
	}
}

// refusedCalls are calls of lv by name.
func refusedCalls(lv *level) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"get":    func(ctx context.Context) error { _, err := lv.get(ctx, "k"); return err },
		"lease":  func(ctx context.Context) error { _, _, err := lv.acquire(ctx, "k", time.Second); return err },
		"delete": func(ctx context.Context) error { return lv.delete(ctx, "k") },
	}
}

// A call that an open breaker refuses costs three small allocations at most: what it would have
// run, and the error that names the key, however long the outage and whatever the operation. (A
// namespace adds the name of the key in the tier.) It takes below a microsecond.
func TestFault_OpenBreakerRefusesWithoutAnAllocationStorm(t *testing.T) {
	lv, f := openLevel(t, "")
	ctx := context.Background()
	calls := f.Calls(backendtest.OpGet)
	for name, call := range refusedCalls(lv) {
		if n := testing.AllocsPerRun(1000, func() {
			if err := call(ctx); !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
		}); n > openAllocs {
			t.Errorf("%s: %v allocations of a refused call, allowed are %d", name, n, openAllocs)
		}
		if took := fastest(func() { _ = call(ctx) }); took > openTime && !raceEnabled {
			t.Errorf("%s: a refused call takes %v, allowed is %v", name, took, openTime)
		}
	}
	if f.Calls(backendtest.OpGet) != calls {
		t.Error("the open breaker let calls through")
	}
}

const (
	openAllocs = 3 // the functions that the call would have run, one or two, and the error
	openTime   = time.Microsecond
)

// fastest is how long one call takes, as the best of many short series: those in which nobody
// else had the processor.
func fastest(call func()) time.Duration {
	const n = 100
	best := time.Hour
	for range 1000 {
		start := time.Now()
		for range n {
			call()
		}
		best = min(best, time.Since(start)/n)
	}
	return best
}
