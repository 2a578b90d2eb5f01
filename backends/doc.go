// Package backends is the contract between hearth and the stores it keeps values in: Redis,
// memcached, the memory of this process, or one of your own.
//
// # A store is three methods
//
// [Store] has Get, Set and Delete over string keys and [Item] values. That is all a cache needs.
// What else a server can do (batches, compare-and-swap, leases, counters, ...) is one small
// optional interface each: [Batcher], [CASer], [Leaser] and so on. [CapsOf] tells what a store
// can do, as a record with one field per capability, nil where it cannot:
//
//	if c := backends.CapsOf(store).CASer; c != nil {
//		err = c.CompareAndSwap(ctx, key, item.Token, next)
//	}
//
// Do not use a type assertion for that. A store made of stores ([Composite]) has the methods of
// every capability and states in its record which of them work.
//
// # Three kinds of errors
//
// Every error of a store is one of three, and a cache that mixes them up loads what it need not
// or serves what it must not:
//
//   - an answer ([IsAnswer]): the store was asked and said so. [ErrMiss] is the usual one: the
//     key is not there. [ErrLeased] and [ErrHeldOff] are misses with a reason, [ErrExists],
//     [ErrConflict], [ErrLeaseLost] and [ErrOlder] say that a condition was not met;
//   - a refusal ([IsRefusal]): the call was wrong and nothing was sent: [ErrEmptyKey],
//     [ErrInvalidTTL], [ErrTooLarge], ...;
//   - a failure: anything else. There is no answer, which is never a miss. [ErrUnknown] adds
//     that the operation may have been carried out all the same.
//
// A batch has one outcome per key, in the order of the keys.
//
// # Lifetimes
//
// [Item].TTL is how long an item is to live; zero means until it is evicted, and negative is
// refused. Servers count in milliseconds or seconds: drivers round up, so that an item is never
// gone early and a short lifetime never becomes none.
//
// # Fences
//
// Between a miss and the fill that follows, the record may change. A [Lease] is the right to
// fill one key once, which any write or delete ends, so that a slow load cannot bring back what
// was invalidated meanwhile. [Refresher] is the same for a key that still has a value, [Fencer]
// for a writer, [Versioner] compares versions of the record instead, and [Tombstoner] keeps a
// deleted key from being filled for a while.
//
// # Using any store
//
// [GetMany], [SetMany], [DeleteMany], [GetTTL] and [GetTTLMany] work on every store, in as few
// round trips as it can. [Prefix] makes a namespace of a store.
//
// # Writing a store
//
// Implement the three methods and whatever optional interfaces the server has a native command
// or a script for, never one that can only be had by read, modify, write. Read the contract on
// each method: it says what an implementer is promised and what is owed. A store has no
// deadlines, retries, counters or logs of its own; its caller has. Then run package backendtest
// on it. Package memory is the reference.
package backends
