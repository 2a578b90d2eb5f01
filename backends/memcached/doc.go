// Package memcached is a [backends.Store] over a fleet of memcached servers, by way of
// github.com/bradfitz/gomemcache.
//
//	store, err := memcached.New(memcached.Config{
//		Servers: []memcached.Server{{Addr: "cache-1:11211"}, {Addr: "cache-2:11211"}},
//	})
//
// # Fleet
//
// Every server has connections, errors and limits of its own. A server that does not answer fails
// the keys it owns, alone and at once in a batch; it is never taken for a miss, and its keys are
// not moved to others behind the user's back. Which server owns a key is decided by the [Router].
//
// # Keys
//
// A key is sent as it is where memcached can hold it (1 to 250 bytes with the prefix, no blanks or
// control characters; UTF-8 is fine), so fleets filled by other clients are read, and other
// clients find what hearth wrote. Anything else is kept under '#', 'H' and its SHA-256 in base64,
// as is a key that looks like that itself. Values under such keys begin with a label that names
// the key they belong to (except counters, which the server has to read) and is checked on every
// read; a value without it is no value. The empty key is refused: memcached would take the value
// for the next command.
//
// # Values and flags
//
// Bytes and all 32 flags are the user's. Leases and tombstones are told apart by their first
// bytes, see package internal/wire, not by flags. The only thing changed on the way: a value that
// is a number followed by blanks, at most 20 bytes in all, is read without the blanks, since decr
// leaves them behind.
//
// # Lifetimes
//
// The server counts in whole seconds and its clock ticks once a second. Lifetimes are rounded up
// and one second is added, so nothing goes sooner than asked and everything at most two seconds
// later; months and years are sent as a date, and end in 2038.
//
// # Transports
//
// [Gomemcache], the default, speaks the text protocol to any server. [Meta] speaks the meta
// protocol on connections of our own: a Get tells the remaining lifetime, as GetTTL and GetTTLMany
// do over both, batches of reads, sets, deletes and leases are one trip, the small values of a batch
// share memory, each reply names the key it is for, and a size that was garbled on the way costs no more
// memory than the bytes that come. A call has a connection for itself while it lasts; many callers
// share one by gathering in batches, see package coalesce.
//
// # Failures
//
// Get, Set, Delete and Touch are sent again once if the connection turns out to have been closed
// while it lay idle. Add, compare-and-swap and increments are never sent twice: their connection
// is looked at first, and when the answer is lost nevertheless the error is
// [backends.ErrUnknown]; one that was not sent at all is [backends.ErrUnavailable]. A complaint of
// the server is a [*ReplyError]. Calls end with their ctx, cancelled or expired, although
// gomemcache knows none: every connection takes its deadlines from the call that uses it, so no
// goroutine and no connection is left behind.
//
// # Leases
//
// Acquire is one add of a token that is unique per acquisition. Its cas id is read beside the
// caller's load and kept only if the token is seen with it; Fill is a cas with that id. So nothing
// that was set or deleted since can be overwritten by a late load, however late. memcached starts
// its cas ids anew when it restarts: a lease that was taken before a restart fills over another's
// only if both got the same id, which only the very first keys of a server do.
package memcached
