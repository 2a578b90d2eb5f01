package guard

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hearthcache/hearth/internal/clock"
)

// BenchmarkCall shows what the guard costs over a call that does nothing.
func BenchmarkCall(b *testing.B) {
	answer := func(context.Context) (int, error) { return 1, nil }
	cancellable, cancel := context.WithCancel(context.Background())
	defer cancel()
	clk := clock.New()
	defer clk.Stop()
	for _, row := range []struct {
		name   string
		ctx    context.Context
		prompt bool
		cfg    Config
	}{
		{"inline/untimed", context.Background(), true, Config{Timeout: -1, Clock: clk}},
		{"inline/timed", context.Background(), true, Config{Clock: clk}},
		{"raced", cancellable, false, Config{Clock: clk}},
		{"open", context.Background(), true, Config{Clock: clk, Breaker: BreakerConfig{MinCalls: 1, OpenFor: time.Hour}}},
	} {
		b.Run(row.name, func(b *testing.B) {
			g, err := New(row.cfg)
			if err != nil {
				b.Fatal(err)
			}
			if row.name == "open" {
				_ = g.Do(row.ctx, true, func(context.Context) error { return errors.New("down") })
			}
			b.ReportAllocs()
			for b.Loop() {
				_, _ = Call(row.ctx, g, row.prompt, answer)
			}
		})
	}
}

// BenchmarkBreaker is the closed breaker alone.
func BenchmarkBreaker(b *testing.B) {
	cfg, _ := Config{}.withDefaults()
	br := newBreaker(cfg.Breaker)
	b.ReportAllocs()
	for b.Loop() {
		t, _ := br.take(1)
		br.report(t, succeeded, 1, nil)
	}
}
