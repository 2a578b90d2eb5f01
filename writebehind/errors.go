package writebehind

import (
	"errors"
	"fmt"

	"github.com/hearthcache/hearth/tier"
)

var (
	// ErrFull: the queue or its journal has no room (Config.Overflow is Reject, or one write is
	// larger than the whole queue). Nothing was accepted.
	ErrFull = errors.New("writebehind: queue is full")

	// ErrClosed: used after Close. Nothing was accepted.
	ErrClosed = tier.ErrClosed

	// ErrExpired is an acknowledgement: the write's TTL ran out before the sink could take it,
	// and it was skipped.
	ErrExpired = errors.New("writebehind: expired before it was applied")
)

// DeadError is an acknowledgement: the operation is a dead letter now.
type DeadError struct {
	Key    string
	Reason string // the sink's last error
}

// Error implements error.
func (e *DeadError) Error() string {
	return fmt.Sprintf("writebehind: %q is a dead letter: %s", e.Key, e.Reason)
}

// DrainError says that Close ran out of time. With a journal the rest is delivered after the
// next start; without one it is lost.
type DrainError struct {
	Remaining int   // accepted operations that the sink has not taken
	Err       error // why Close stopped waiting
}

// Error implements error.
func (e *DrainError) Error() string {
	return fmt.Sprintf("writebehind: closed with %d operations not applied: %v", e.Remaining, e.Err)
}

// Unwrap returns the reason.
func (e *DrainError) Unwrap() error { return e.Err }
