package guard

import (
	"errors"
	"fmt"
	"time"

	"github.com/hearthcache/hearth/backends"
)

var (
	// ErrOpen: the breaker is open, the store was not asked. It is backends.ErrUnavailable.
	ErrOpen = fmt.Errorf("guard: breaker is open (%w)", backends.ErrUnavailable)

	// ErrBusy: the bulkhead stayed full, the store was not asked. It is
	// backends.ErrUnavailable.
	ErrBusy = fmt.Errorf("guard: too many calls in progress (%w)", backends.ErrUnavailable)
)

// errSlow is why a breaker opens that was told to mind slow answers.
var errSlow = errors.New("guard: the store answers slowly")

// AbandonedError says that the caller was sent on while the call is still running: it may or
// may not be carried out, so the error is backends.ErrUnknown (only operations that are not
// idempotent need to care). It is also context.DeadlineExceeded or context.Canceled.
type AbandonedError struct {
	Name    string        // of the store
	Timeout time.Duration // the guard's limit, if that ended the call; 0 = the caller's context did
	Err     error         // context.DeadlineExceeded or context.Canceled
}

// Error implements error.
func (e *AbandonedError) Error() string {
	if e.Timeout > 0 {
		return fmt.Sprintf("cache: no answer from %s within %v", e.Name, e.Timeout)
	}
	return fmt.Sprintf("cache: no answer from %s yet: %v", e.Name, e.Err)
}

// Unwrap returns the context's error.
func (e *AbandonedError) Unwrap() error { return e.Err }

// Is makes it backends.ErrUnknown.
func (e *AbandonedError) Is(target error) bool { return target == backends.ErrUnknown }
