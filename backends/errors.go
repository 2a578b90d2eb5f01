package backends

import (
	"errors"
	"fmt"
)

// Answers. A store that says one of these has answered; the breaker does not count them.
var (
	// ErrMiss: the key is not there.
	ErrMiss = errors.New("cache: miss")

	// ErrLeased: there is no value, and somebody holds the right to fill it ([Leaser]). It is a
	// miss: errors.Is(ErrLeased, ErrMiss).
	ErrLeased = fmt.Errorf("cache: leased to another loader (%w)", ErrMiss)

	// ErrHeldOff: the key was deleted with a hold-off that still runs ([Tombstoner]); it may be
	// loaded, not filled. It is a miss: errors.Is(ErrHeldOff, ErrMiss).
	ErrHeldOff = fmt.Errorf("cache: fills are held off (%w)", ErrMiss)

	// ErrExists: Add found the key taken.
	ErrExists = errors.New("cache: key exists")

	// ErrConflict: the key changed since its token was read.
	ErrConflict = errors.New("cache: changed meanwhile")

	// ErrLeaseLost: the key was written, deleted or evicted, or the lease ran out, before Fill.
	ErrLeaseLost = errors.New("cache: lease lost")

	// ErrOlder: the store already holds this version of the record or a newer one.
	ErrOlder = errors.New("cache: a newer version is stored")

	// ErrNotNumber: Increment met a value that is no number.
	ErrNotNumber = errors.New("cache: value is not a number")
)

// Refusals. The call was wrong; nothing was sent and nothing has changed.
var (
	// ErrEmptyKey: keys have at least one byte.
	ErrEmptyKey = errors.New("cache: empty key")

	// ErrInvalidTTL: a negative lifetime. Zero means "until evicted".
	ErrInvalidTTL = errors.New("cache: negative TTL")

	// ErrTooLarge: the value is beyond what the store can hold.
	ErrTooLarge = errors.New("cache: value too large")

	// ErrBadToken: a token that this store did not give, or the zero token.
	ErrBadToken = errors.New("cache: token is not of this store")

	// ErrUnsupported: the store lacks the capability.
	ErrUnsupported = fmt.Errorf("cache: not supported by the store (%w)", errors.ErrUnsupported)

	// ErrClosed: used after Close.
	ErrClosed = errors.New("cache: closed")
)

// Failures. There is no answer.
var (
	// ErrUnavailable: the server could not be asked (breaker open, no connection, not ready).
	// The operation was not carried out.
	ErrUnavailable = errors.New("cache: store unavailable")

	// ErrOneServer: one server of the several behind the store does not answer. The failure
	// concerns the keys of that server; nothing is said about the others.
	ErrOneServer = errors.New("cache: one server of several does not answer")

	// ErrFull: the server is out of memory and evicts nothing. Writes that need room fail; reads
	// and deletes go on. For a health check the server has answered.
	ErrFull = errors.New("cache: server out of memory")

	// ErrUnknown: the operation was sent and the answer was lost: it may or may not have been
	// carried out. Only operations that are not idempotent (Add, CompareAndSwap, Increment,
	// Fill) need to tell it from other failures.
	ErrUnknown = errors.New("cache: outcome unknown")

	// ErrWrongType: the key holds something that is not a plain value (a Redis list, say).
	// Nothing was changed.
	ErrWrongType = errors.New("cache: key holds another type")
)

// IsAnswer reports whether err is nil or one of the answers: the store is alive and said so.
func IsAnswer(err error) bool {
	if err == nil {
		return true
	}
	for _, a := range [...]error{ErrMiss, ErrExists, ErrConflict, ErrLeaseLost, ErrOlder, ErrNotNumber, ErrWrongType} {
		if errors.Is(err, a) {
			return true
		}
	}
	return false
}

// IsRefusal reports whether err says that the call itself was wrong, so that the store's health
// is not in question and a retry is pointless.
func IsRefusal(err error) bool {
	for _, r := range [...]error{ErrEmptyKey, ErrInvalidTTL, ErrTooLarge, ErrBadToken, ErrUnsupported, ErrClosed} {
		if errors.Is(err, r) {
			return true
		}
	}
	return false
}

// Error says which operation on which store and key went wrong. It wraps the store's own error
// once, at the level that called the store; [ErrMiss] is never wrapped.
type Error struct {
	Op    string // "get", "set", ...
	Store string // the store's name in the configuration
	Key   string // "" for an operation that has no single key
	Err   error
}

// Error implements error. The key is quoted, since it is the user's.
func (e *Error) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("cache: %s on %s: %v", e.Op, e.Store, e.Err)
	}
	return fmt.Sprintf("cache: %s %q on %s: %v", e.Op, e.Key, e.Store, e.Err)
}

// Unwrap returns the store's error.
func (e *Error) Unwrap() error { return e.Err }
