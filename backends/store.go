package backends

import (
	"context"
	"time"
)

// Store keeps bytes under string keys. It is the whole contract of a remote tier: everything
// else a server can do is an optional interface (see [Caps]).
//
// What an implementer is promised: ctx is never nil and carries the caller's deadline; keys are
// never empty; Item.Value is never modified by the caller after the call.
//
// What an implementer owes: no deadlines of its own, no retries of operations that are not
// idempotent, no counting, no logging, and errors that keep three things apart: a miss
// ([ErrMiss], an answer), a refusal (a sentinel of this package), and a failure (anything else:
// no answer). Keys are normalised for the server inside the driver.
//
// A Store is safe for concurrent use. It has no Close: whoever opened the client closes it.
type Store interface {
	// Get returns the item under key. Absent is [ErrMiss]; a key that is merely leased (see
	// [Leaser]) is [ErrLeased] and one that is held off (see [Tombstoner]) is [ErrHeldOff],
	// both of which are misses to errors.Is. Any other error means "no answer", never a miss.
	Get(ctx context.Context, key string) (Item, error)

	// Set puts it under key, whatever was there: value, lease or tombstone. A negative TTL is
	// refused with [ErrInvalidTTL]; a value the server cannot hold with [ErrTooLarge]. After a
	// refusal the old item is untouched; after any other error the key may hold either.
	Set(ctx context.Context, key string, it Item) error

	// Delete removes whatever is under key, leases and tombstones included. Absent is fine.
	Delete(ctx context.Context, key string) error
}

// TTLUnknown is what Get reports in [Item].TTL when the server did not say how long the item
// still lives. It is not a lifetime: Set refuses it.
const TTLUnknown time.Duration = -1

// Item is a value in a store, with what the store knows about it.
type Item struct {
	// Value is the bytes. Shared, never modified in place by either side. Empty is a value.
	Value []byte

	// TTL is the lifetime. To Set: how long to live, 0 = until evicted. From Get: what remains,
	// 0 = no expiry, or [TTLUnknown]. Stores round up to the resolution of their server, never
	// down, and never to 0.
	TTL time.Duration

	// Flags are the 32 opaque bits memcached keeps beside a value. Stores that have no place
	// for them drop them and report 0 (Caps.Flags says which).
	Flags uint32

	// Token is this version of the key, for [CASer]; zero where the store is no CASer.
	// Ignored by Set.
	Token Token
}

// KeyItem is one entry of a batch write.
type KeyItem struct {
	Key  string
	Item Item
}

// Result is the outcome for one key of a batch read: an Item, or an Err as [Store].Get has it.
type Result struct {
	Item Item
	Err  error
}
