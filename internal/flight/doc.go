// Package flight lets callers that want the same key share one piece of work.
//
// The first to [Group.Join] a key is the leader: it does the work and says [Call.Finish]. All
// others are followers and [Call.Wait] for that. Whoever waits leaves at the end of its own
// context, and nobody's context ends the work of the others: work that outlives its leader runs
// on a detached context, and only when the last of them has left is it told to stop
// ([Call.OnAbandon]). [Group.Do] is all of this in one call for one key; batches join key by
// key and finish what they lead.
//
// [Group.Forget] parts present from future: those who wait get the result of the work in
// progress, those who join later start anew. A delete forgets its key, so that no reader that
// starts after it gets a value loaded before.
//
// A panic of the work becomes a [*PanicError] for everybody, runtime.Goexit becomes
// [ErrGoexit]; neither takes the process down, and neither leaves a waiter behind.
// (golang.org/x/sync/singleflight gives everybody the leader's cancellation and panics in a
// goroutine of its own, where nobody can recover.)
//
// A Call is not pooled: a leader and its followers hold on to it for as long as they like, and one
// allocation is cheaper than counting them. A batch that nobody followed can be used again
// ([Batch.Reuse]).
package flight
