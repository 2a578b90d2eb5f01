// Package checker decides exactly whether a read was stale.
//
// The promise it checks is that of a regular register: a read returns the value of the newest
// write that completed before the read began, or of a write that was under way meanwhile. It may
// return nothing older. That is cheap to check while a hammer runs, without a history to search:
//
//	h := checker.New(keys)
//
//	// a writer
//	id := h.Write(key)              // the source of record commits a new value, named id
//	err := cache.Invalidate(ctx, k) // ...
//	if err == nil {
//		h.Complete(key, id) // from here on, reads that begin must not return less
//	}
//
//	// the loader
//	id := h.Current(key) // what the source holds
//
//	// a reader
//	r := h.Begin(key)
//	id := ... // read through the cache
//	switch r.End(id) {
//	case checker.Stale: // a write that completed before Begin was overlooked
//	case checker.Invented: // nobody ever wrote that
//	}
//
// Values are compared by the order in which the source committed them, not by their names: a
// writer that has to name its value before the source takes it uses [History.Name] and
// [History.Commit] instead of Write.
//
// [Open] keeps a History in a file that several processes map into their memory, so that a read
// in one process is held against the writes of all others.
package checker
