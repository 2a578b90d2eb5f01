// Package ristretto is the local tier: decoded values of this process, in a bounded amount of memory,
// kept or dropped by ristretto's TinyLFU policy.
//
// # Two halves
//
// The index is ours: buckets of a cache line that are read without a lock, written under one of 256
// locks; an entry has its value in it. It holds every entry from the moment Put returns until it is
// invalidated, evicted, or swept.
// ristretto is the judge: it knows hashes and costs, not values, and says which entries have to go.
// One goroutine tells it of what is new, gone, or has another size, gathers changes while nobody waits
// for room, and waits for its answers every thousand changes.
//
// This is why, and not only for speed:
//
//   - ristretto drops what its buffer cannot take, silently and by the thousand in a burst. It has one
//     writer here, which never fills the buffer.
//   - A second Set of a key whose first is still queued keeps the old value there. Here the index has
//     the new one at once, and ristretto holds no values at all.
//   - A deleted value can be seen again for a moment there, when its Set was queued. Here nothing but
//     Put and Replace brings a value into the index.
//   - An entry that grows makes no room there. Here it is taken out and judged anew.
//   - Close beside any other call panics or races there. Here Close empties the index, which is all
//     that Get needs, and waits for the few readers that are telling ristretto of a hit.
//   - A time to live costs its readers a clock call. Deadlines are in our entries, compared with a
//     coarse clock, and expired entries are swept within 32 seconds.
//
// # Fences
//
// A fill can be overtaken: a read of the remote tier is under way while the key is invalidated, and
// what it brings is old. So a key has an epoch, shared with other keys, and the cache has a
// generation. Invalidate raises the first and takes the entry out, Flush raises the second.
// [Cache.Stamp] reads both before the remote is asked; [Cache.Put] stores only if they have not moved,
// compared with the lock held that Invalidate takes after it has raised the epoch. The entry keeps the
// generation, and every Get compares it. [Cache.Replace] goes further, for a value this process has just
// written: it stores only if it can itself count up the writes of the key from what it captured, so
// that of two concurrent writers none stores what the other may have overwritten.
//
// # Memory
//
// An entry is charged its key, the cost given with its value, and 176 bytes. Besides the entries there
// are the epochs (three quarters of a mebibyte) and the frequency sketch (about five per cent of
// MaxCost). The cache keeps the key string it is given: pass a copy if yours is a small part of a large
// one. Whoever keeps a value that Get returned keeps its entry.
package ristretto
