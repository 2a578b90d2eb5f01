package writethrough

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hearthcache/hearth/internal/guard"
	"github.com/hearthcache/hearth/internal/iface"
	"github.com/hearthcache/hearth/tier"
)

// Sink is the source of record, as a Writer needs it.
type Sink[V any] interface {
	// Write carries out ms, in order, all or none where it can: a database does it in one
	// transaction. nil: all of them are done. An error is about all of them, unless it unwraps
	// to a [*tier.WriteError] with one outcome per mutation, in order. [Refused] and [Failed]
	// mark outcomes that are certain; any other error says that nobody knows.
	//
	// ctx carries the deadline, after which the outcome is unknown whatever Write returns. Write
	// is called by several goroutines, except with Config.MaxBatch. There may be several
	// mutations of one key in ms, and the last one decides.
	Write(ctx context.Context, ms []tier.Mutation[V]) error
}

// SinkFunc makes a Sink of a function.
type SinkFunc[V any] func(ctx context.Context, ms []tier.Mutation[V]) error

// Write calls f.
func (f SinkFunc[V]) Write(ctx context.Context, ms []tier.Mutation[V]) error { return f(ctx, ms) }

// Config describes a [Writer]. The zero value of every field but Sink is its documented default.
type Config[V any] struct {
	// Sink is the source of record. Required.
	Sink Sink[V]

	// Name is what errors call the source. "" = "source".
	Name string

	// Timeout bounds each call of Sink. 0 = 5 s. A lease over the key is held for as long as
	// tier's Load.Lease says; a write that takes longer is not stored in the cache.
	Timeout time.Duration

	// MaxConcurrent bounds the calls of Sink under way. 0 = 256. With MaxBatch there is one.
	MaxConcurrent int

	// MaxBatch, if above 1, hands concurrent writes over together: while one call of Sink is
	// under way the next ones gather, up to so many mutations. A single write waits for nobody.
	// 0 = every write is a call of its own.
	MaxBatch int

	// Breaker stops asking a source that does not answer. Refusals are answers.
	Breaker tier.Breaker

	// Classify says what an error of Sink means: [ErrRefused], [ErrFailed] or
	// [tier.ErrUnknown]. It is asked where the error itself does not tell. Nil: ErrUnknown.
	Classify func(error) error
}

const (
	defaultTimeout    = 5 * time.Second // a commit that waits for a lock is still alive then
	defaultConcurrent = 256
)

func (c Config[V]) withDefaults() (Config[V], error) {
	var errs []error
	if iface.IsNil(c.Sink) {
		errs = append(errs, errors.New("writethrough: Config.Sink: nil, or holds a nil pointer"))
	}
	if c.Timeout < 0 {
		errs = append(errs, fmt.Errorf("writethrough: Config.Timeout: %v is negative", c.Timeout))
	}
	if c.MaxConcurrent < 0 {
		errs = append(errs, fmt.Errorf("writethrough: Config.MaxConcurrent: %d is negative", c.MaxConcurrent))
	}
	if c.MaxBatch < 0 {
		errs = append(errs, fmt.Errorf("writethrough: Config.MaxBatch: %d is negative", c.MaxBatch))
	}
	if c.Name == "" {
		c.Name = "source"
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.MaxConcurrent == 0 {
		c.MaxConcurrent = defaultConcurrent
	}
	return c, errors.Join(errs...)
}

// guard is what every call of the Sink passes.
func (c Config[V]) guard() (*guard.Guard, error) {
	return guard.New(guard.Config{
		Name:          c.Name,
		Timeout:       c.Timeout,
		MaxConcurrent: c.MaxConcurrent,
		Classify:      c.verdict,
		Breaker: guard.BreakerConfig{
			Disabled:            c.Breaker.Disabled,
			Window:              c.Breaker.Window,
			MinCalls:            c.Breaker.MinCalls,
			FailureRatio:        c.Breaker.FailureRatio,
			ConsecutiveTimeouts: c.Breaker.Timeouts,
			OpenFor:             c.Breaker.OpenFor,
			MaxOpenFor:          c.Breaker.MaxOpenFor,
		},
	})
}
