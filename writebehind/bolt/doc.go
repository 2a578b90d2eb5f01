// Package bolt keeps the journal of a write-behind queue in one local file, with bbolt.
//
//	journal, err := bolt.Open(bolt.Config{Path: "/var/lib/app/writes.db"})
//	w, err := writebehind.New(writebehind.Config[User]{Sink: sink, Journal: journal})
//
// A write that was accepted is on disk: it survives kill -9, and a power failure where the disk
// keeps what it confirmed. The file belongs to one process at a time, which holds a lock on it;
// another that opens it gets [ErrInUse]. One fsync takes all writes that came during the one
// before.
//
// The file grows to what was waiting at the worst moment, never beyond Config.MaxBytes, and
// keeps that size: freed pages are used again. A file that is mostly free is compacted by Open,
// except on Windows.
package bolt
