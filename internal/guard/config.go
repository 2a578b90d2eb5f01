package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hearthcache/hearth/internal/clock"
)

// Defaults of [Config] and [BreakerConfig].
const (
	DefaultTimeout             = 250 * time.Millisecond // some hundred times a healthy answer, and still bearable
	DefaultMaxConcurrent       = 256
	DefaultDrainTimeout        = 30 * time.Second
	DefaultWindow              = 10 * time.Second
	DefaultMinCalls            = 20
	DefaultFailureRatio        = 0.5
	DefaultConsecutiveTimeouts = 5 // a black hole is recognised after 5 timeouts, not after a window full
	DefaultOpenFor             = 500 * time.Millisecond
	DefaultMaxOpenFor          = 30 * time.Second
	DefaultHalfOpenProbes      = 3
)

// Config says what a [Guard] allows. The zero Config is good for a cache server nearby.
type Config struct {
	// Name is the store's name, for errors; "" = "the store".
	Name string

	// Timeout bounds each call. 0 = DefaultTimeout, negative = only the caller's context does.
	Timeout time.Duration

	// MaxConcurrent is how many calls may run at once, those left behind included.
	// 0 = DefaultMaxConcurrent, negative = no limit.
	MaxConcurrent int

	// MaxWait is how long a call waits for its place when the bulkhead is full, before ErrBusy.
	// 0 = as long as the call itself may take (the wait is part of its Timeout), so that a
	// burst is spread instead of refused; negative = not at all.
	MaxWait time.Duration

	// Breaker says when to stop asking.
	Breaker BreakerConfig

	// Classify replaces the function [Classify].
	Classify func(error) Verdict

	// OnStateChange is told each change of the breaker's state, in order, and the error that
	// caused it (nil when it closes or starts to probe). It runs in the goroutine of some call
	// and outside all locks: it must be quick and must not panic.
	OnStateChange func(from, to State, cause error)

	// BeforeClose runs when the probes of a half-open breaker have succeeded; the breaker
	// closes when it returns nil and opens again when it does not. What the store missed
	// meanwhile (undelivered invalidations) is delivered here, before the first read. Calls
	// made with its ctx pass the breaker. It runs in a goroutine of the guard.
	BeforeClose func(ctx context.Context) error

	// DrainTimeout bounds BeforeClose. 0 = DefaultDrainTimeout.
	DrainTimeout time.Duration

	// Clock tells the time; nil = the system clock (some 40 ns a call).
	Clock *clock.Clock
}

// BreakerConfig says when a breaker opens and how it closes again.
type BreakerConfig struct {
	// Disabled takes the breaker out.
	Disabled bool

	// Window is how far back calls are judged; MinCalls how many there must be for the ratio
	// to mean anything; FailureRatio (0 to 1) the share of failures that opens the breaker.
	// 0 = the Default of that name.
	Window       time.Duration
	MinCalls     int
	FailureRatio float64

	// ConsecutiveTimeouts opens the breaker whatever the ratio. 0 =
	// DefaultConsecutiveTimeouts, negative = off.
	ConsecutiveTimeouts int

	// OpenFor is how long the breaker stays open the first time; it doubles each time the
	// probes fail, or the breaker opens again within Window of closing, up to MaxOpenFor. Up to
	// a fifth is taken off at random, so that processes do not probe together. 0 = the Default.
	OpenFor    time.Duration
	MaxOpenFor time.Duration

	// HalfOpenProbes is how many calls are let through when that time is over, and how many
	// must succeed. 0 = DefaultHalfOpenProbes.
	HalfOpenProbes int

	// SlowCall makes an answer that took longer a failure, for the breaker only. 0 = off.
	SlowCall time.Duration
}

func (c Config) withDefaults() (Config, error) {
	c.Name = orDefault(c.Name, "the store")
	c.Timeout = orDefault(c.Timeout, DefaultTimeout)
	c.MaxConcurrent = orDefault(c.MaxConcurrent, DefaultMaxConcurrent)
	c.DrainTimeout = orDefault(c.DrainTimeout, DefaultDrainTimeout)
	if c.Classify == nil {
		c.Classify = Classify
	}
	b := &c.Breaker
	b.Window = orDefault(b.Window, DefaultWindow)
	b.MinCalls = orDefault(b.MinCalls, DefaultMinCalls)
	b.FailureRatio = orDefault(b.FailureRatio, DefaultFailureRatio)
	b.ConsecutiveTimeouts = orDefault(b.ConsecutiveTimeouts, DefaultConsecutiveTimeouts)
	b.OpenFor = orDefault(b.OpenFor, DefaultOpenFor)
	b.MaxOpenFor = orDefault(b.MaxOpenFor, max(DefaultMaxOpenFor, b.OpenFor))
	b.HalfOpenProbes = orDefault(b.HalfOpenProbes, DefaultHalfOpenProbes)
	return c, errors.Join(
		refuse(c.DrainTimeout < 0, "DrainTimeout is negative"),
		refuse(b.Window < buckets, "Breaker.Window is below 10 ns"),
		refuse(b.MinCalls < 0, "Breaker.MinCalls is negative"),
		refuse(!(b.FailureRatio > 0 && b.FailureRatio <= 1), "Breaker.FailureRatio is not in (0, 1]"),
		refuse(b.OpenFor < 0, "Breaker.OpenFor is negative"),
		refuse(b.MaxOpenFor < b.OpenFor, "Breaker.MaxOpenFor is below OpenFor"),
		refuse(b.HalfOpenProbes < 0, "Breaker.HalfOpenProbes is negative"),
		refuse(b.SlowCall < 0, "Breaker.SlowCall is negative"),
		refuse(b.SlowCall > 0 && c.Timeout > 0 && b.SlowCall >= c.Timeout, "Breaker.SlowCall is not below Timeout"),
	)
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

func refuse(wrong bool, why string) error {
	if !wrong {
		return nil
	}
	return fmt.Errorf("guard: %s", why)
}
