// Package coalesce turns concurrent reads of one store into multi-gets: a [Store] around any
// store that has a [backends.Batcher].
//
// A server answers one command for 64 keys in little more than the time of one for a single key,
// and so do the connections and the client on the way. Many callers that ask for one key each at
// the same moment can share that, if somebody gathers them. This package does, without making
// anybody wait for company:
//
//   - A caller that finds nothing under way sends at once, by itself, on its own goroutine. A
//     lone caller is as fast as without this package.
//   - Callers that come while something is under way form the next batch. It leaves when what is
//     under way has come back, or as soon as it is large enough to be worth a further trip: with n
//     requests under way another one leaves when 32*n keys wait, up to 16 at once. On a fast
//     network that makes few large batches, on a slow one many.
//   - A batch stays open until it really leaves.
//   - No timer delays anything. One timer watches over requests that do not come back: keys that
//     waited for [Config].Patience leave beside them.
//
// On a Redis Cluster and on a fleet of memcached servers a batch is one request to each server that
// owns keys of it, side by side. It comes back when the last of them has, so a slow server holds up
// those who read from others with it, for as long as their contexts allow; a server that is known to be
// down does not.
//
// Batches are bounded by count and by bytes; values that are not known yet count for a sixteenth of
// what a batch may carry. Keys whose value was seen to be large travel alone, so that a large value
// holds up nobody but its own readers.
//
// Every caller keeps its own context: one that leaves gets its context's error at once, and the
// others of its batch get their values. A batch runs until the latest deadline among its callers,
// and ends early when all of them have left.
//
// Gathered are Get, GetTTL, Delete, and acquiring, filling and releasing of leases; the last four
// only where a batch of them is one request ([backends.Caps].OneByOne), as it is on Redis and over
// the Meta transport of package memcached. A plain Set passes through: in a batch it could be carried
// out after its caller has given it up and deleted the key, which would bring the value back. (A fill
// cannot: its lease is gone by then. A late delete costs a miss.) All else that the store can do
// passes through as well.
package coalesce
