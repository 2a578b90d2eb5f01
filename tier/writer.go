package tier

import (
	"context"
	"time"
)

// Mutation is one change of one record on its way to the source of record.
type Mutation[V any] struct {
	Key     string        // of the record, without the namespace
	Value   V             // the new record; zero for a Delete
	Delete  bool          // the record is to be gone
	TTL     time.Duration // SetOptions.TTL, how long the value is good for; 0 = no limit. A deadline, not a hint
	Version uint64        // the record's version where the application has one, else 0
}

// Writer is what a mutation passes before any cache changes: the source of record itself
// (package writethrough) or something that accepts it on the source's behalf (package
// writebehind). Set and Delete of a [Cache] with a Writer go through it first; Update and
// Increment are [ErrUnsupported] there.
//
// Write returns nil when all of ms were taken. Otherwise it returns an error; where outcomes
// differ, one that unwraps to a [*WriteError] with one error per mutation, in order. An outcome
// that [errors.Is] [ErrUnknown] may have reached the source: the cache then deletes the key
// instead of filling it. Any other error means that the source has not changed.
//
// Write is safe for concurrent use and keeps the order of mutations of one key.
type Writer[V any] interface {
	// Write takes ms, in order; nil when all of them were taken. ms has at least one mutation. ctx is
	// that of the caller of Set or Delete: when it ends before an outcome is known, that is
	// ErrUnknown.
	Write(ctx context.Context, ms []Mutation[V]) error
}

// Deferred is a [Writer] that accepts mutations before the source has them. Reads of the cache
// look at Pending before they ask any tier, so that a process reads its own accepted writes.
type Deferred[V any] interface {
	Writer[V]

	// Pending returns the newest mutation of key that was accepted and is not yet both applied
	// to the source and reported to OnApplied. It is asked on every read that L1 cannot answer,
	// so it must be quick, and quicker when nothing is pending.
	Pending(key string) (Mutation[V], bool)

	// OnApplied registers fn (once, by [New]). It is called after the source took ms and before
	// they leave Pending, so that caches change in between and no read sees the value from
	// before. An error of fn means that a tier could not be reached; it has queued the change
	// itself and ms are done all the same.
	OnApplied(fn func(ctx context.Context, ms []Mutation[V]) error)
}

// WriteError carries the outcome of each mutation of a batch.
type WriteError struct {
	Errs []error // in the order of the mutations; nil where one was taken
}

// Error implements error with the first failure and the number of all.
func (e *WriteError) Error() string { return joinedError("write", e.Errs) }

// Unwrap returns the failures, for errors.Is and errors.As.
func (e *WriteError) Unwrap() []error { return failures(e.Errs) }
