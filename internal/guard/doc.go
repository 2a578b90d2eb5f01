// Package guard is what every call to something remote passes: a deadline, a race against the
// caller's context, a bulkhead and a breaker.
//
// A cache must never be slower or less available than what it stands in front of. [Call] sees
// to that for one store:
//
//   - It ends with the caller's context, cancel or deadline, and after [Config].Timeout at the
//     latest, even where the client underneath looks at neither.
//   - A call that was left behind keeps its place in the bulkhead until it really ends. So a
//     server that swallows everything holds at most [Config].MaxConcurrent goroutines.
//   - When the server fails too often, or five times in a row does not answer in time, the
//     breaker opens and calls are refused with [ErrOpen] in well under a microsecond and without
//     an allocation. After a while, which doubles up to a limit, a few calls may try.
//
// What counts as a failure is one function, [Classify]: a miss or a conflict is an answer, a
// refused argument says nothing about the server, a caller that gives up does not either.
//
// Three errors come from here and not from the store: [ErrOpen] and [ErrBusy], which say that
// nothing was sent (both are backends.ErrUnavailable), and [*AbandonedError], which says that
// the call is still running somewhere (backends.ErrUnknown, and the context's error).
//
// The breaker is a state machine of its own (breaker.go) that knows no goroutines and no timers:
// it is told the time. While it is closed a call costs it a few atomic operations.
package guard
