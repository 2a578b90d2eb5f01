package writebehind

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/hearthcache/hearth/tier"
)

// ID names one accepted operation. It stays the same over retries, a replay after a crash and a
// redrive, so a sink that remembers the ids it has seen takes no operation twice.
type ID [16]byte

// String returns the id in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Change is what [Writer.Enqueue] accepts: a mutation, or a delta.
type Change[V any] struct {
	tier.Mutation[V]

	// Delta makes the change an ordered operation ("add 3", "append this line") in the
	// application's own encoding. Deltas never coalesce: each reaches the sink, in the order of
	// its key, also relative to the mutations of that key. Value, Delete and Version are not
	// used then. Nil = a mutation; an empty, non-nil slice is a delta.
	Delta []byte
}

// Op is one operation as the sink sees it.
type Op[V any] struct {
	tier.Mutation[V] // TTL is what remains of it

	Delta    []byte    // set for a delta, nil for a mutation
	ID       ID        // the idempotency token
	Seq      uint64    // grows with every operation of a key in one journal: "store if newer" makes replays harmless
	Attempt  int       // how often Apply has been given this operation, counting this call
	Enqueued time.Time // when the first write that this one stands for was accepted
}

// Sink is the source of record, as seen from the queue.
//
// Apply writes ops, at most one per key, and returns nil when all of them are in. It returns a
// [*BatchError] when some are: those without an error are done. Any other error means that none
// can be relied on, and the batch is tried again in halves, to find the operation at fault.
// Errors are taken to be passing unless they are marked by [Permanent].
//
// An operation may arrive again after a crash or a lost answer (at least once); Op.ID and Op.Seq
// are there to tell. Seq also grows from a journal to a new one in its place, where its clock does
// (bolt begins a file at the time of day), and from Memory to Journal to Stream, but not back. The
// Seqs of two processes with a file each say nothing about each other: let one of them write a key.
// The context ends at Config.ApplyTimeout, with a lost lease, or when Close
// runs out of time. Apply is called from up to Config.Concurrency goroutines, never twice at a
// time for one key. A panic counts as a permanent error.
type Sink[V any] interface {
	// Apply writes ops: nil = all are in, [*BatchError] = one outcome for each, any other error =
	// none can be relied on. ops is the sink's to keep.
	Apply(ctx context.Context, ops []Op[V]) error
}

// SinkFunc makes a Sink of a function.
type SinkFunc[V any] func(ctx context.Context, ops []Op[V]) error

// Apply calls f.
func (f SinkFunc[V]) Apply(ctx context.Context, ops []Op[V]) error { return f(ctx, ops) }

// BatchError is a sink's answer with one outcome per operation.
type BatchError struct {
	Errs []error // in the order of ops; nil where one was written
}

// Error implements error with the number of failures and the first of them.
func (e *BatchError) Error() string {
	n, first := 0, error(nil)
	for _, err := range e.Errs {
		if err == nil {
			continue
		}
		if n++; first == nil {
			first = err
		}
	}
	return fmt.Sprintf("writebehind: %d of %d operations failed, first: %v", n, len(e.Errs), first)
}

// Unwrap returns the failures, for errors.Is and errors.As.
func (e *BatchError) Unwrap() []error {
	var out []error
	for _, err := range e.Errs {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}

// Permanent marks err as one that no retry will cure: a record that breaks a constraint. Its
// operation goes to the dead letters at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

// IsPermanent reports whether err or something it wraps was marked by [Permanent].
func IsPermanent(err error) bool {
	var p *permanent
	return errors.As(err, &p)
}

type permanent struct{ err error }

func (p *permanent) Error() string { return p.err.Error() }
func (p *permanent) Unwrap() error { return p.err }
