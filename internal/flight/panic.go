package flight

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// ErrGoexit is the result of work that ended its goroutine with runtime.Goexit.
var ErrGoexit = errors.New("flight: the work called runtime.Goexit")

// PanicError is the result of work that panicked.
type PanicError struct {
	Value any    // what it panicked with
	Stack []byte // where
}

// NewPanicError makes a PanicError of a recovered value; call it in the deferred function that
// recovered, while the stack is still there.
func NewPanicError(value any) *PanicError {
	return &PanicError{Value: value, Stack: debug.Stack()}
}

// Error implements error, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
