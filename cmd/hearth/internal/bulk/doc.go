// Package bulk copies the keys of one cache server or fleet to another, compares them, and deletes
// those with a prefix.
//
// It talks to the servers in pipelines of its own rather than through a store, so that a million
// keys take seconds:
//
//	Redis      SCAN COUNT 1000, MULTI MGET PTTL... EXEC, and pipelines of SET NX PX
//	memcached  lru_crawler metadump hash into memory, pipelines of "mg k v f t" and of "ms k ... ME"
//
// A copy is a line of four stations: one goroutine lists keys, workers read and write them in
// batches, and the caller's goroutine counts what became of them and writes checkpoints. A
// checkpoint names the place in the list before which every key is done and counted: workers finish out of
// order, so it moves only over batches that follow each other. Whatever was copied beyond it is
// copied again after a kill, which is harmless since a copy never replaces a value.
//
// A value that is listed may be gone, too large or no value at all by the time it is written;
// [Fate] names what can become of a key, and a [Report] counts them.
//
// # Fenced copies
//
// Reading a value from one server and adding it to another leaves a moment in which the service
// can change the value and tell both servers, of which the second knows nothing yet: the old
// value is then added for good. With [Fenced] the copier first takes a lease on the key in the
// target, reads the source, and fills only if its lease is still there, as package fallback does.
package bulk
