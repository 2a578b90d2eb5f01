package tier

import (
	"context"
	"errors"
	"fmt"

	"github.com/hearthcache/hearth/backends"
)

// The errors a user of [Cache] meets, under one roof. They are the sentinels of package
// backends; use errors.Is.
var (
	// ErrMiss: the record does not exist, or is in no tier and there is no loader. A Loader
	// returns it for "the source has no such record", which is cached as a negative entry.
	ErrMiss = backends.ErrMiss
	// ErrConflict: Update gave up because others kept changing the key.
	ErrConflict = backends.ErrConflict
	// ErrUnknown: a write was sent and its answer was lost.
	ErrUnknown = backends.ErrUnknown
	// ErrUnavailable: a tier could not be asked.
	ErrUnavailable = backends.ErrUnavailable
	// ErrEmptyKey: keys have at least one byte.
	ErrEmptyKey = backends.ErrEmptyKey
	// ErrInvalidTTL: a negative lifetime.
	ErrInvalidTTL = backends.ErrInvalidTTL
	// ErrTooLarge: the encoded value is beyond what a tier can hold.
	ErrTooLarge = backends.ErrTooLarge
	// ErrUnsupported: the configured stores cannot do that.
	ErrUnsupported = backends.ErrUnsupported
	// ErrClosed: used after Close.
	ErrClosed = backends.ErrClosed

	// ErrUntold: other processes could not be told of a change now, so their L1 may hold the old
	// value. It is no failure of the change itself: that was carried out, or another error beside
	// this one says what became of it. They are told again until it gets through or the cache is
	// closed; do not undo anything.
	ErrUntold = errors.New("cache: other processes could not be told")

	// ErrLoadTimeout: Load.HardTimeout ended the wait. It is a context.DeadlineExceeded too. The
	// load goes on.
	ErrLoadTimeout = fmt.Errorf("cache: the load takes longer than Load.HardTimeout (%w)", context.DeadlineExceeded)
)

// failures returns the errors that are not nil.
func failures(errs []error) []error {
	var out []error
	for _, err := range errs {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}

// joinedError says in one line what went wrong with a batch: the count and the first failure.
func joinedError(op string, errs []error) string {
	bad := failures(errs)
	if len(bad) == 0 {
		return fmt.Sprintf("cache: %s: no failure", op)
	}
	return fmt.Sprintf("cache: %s: %d of %d failed, first: %v", op, len(bad), len(errs), bad[0])
}
