// Package fence holds the switches that take single fences out of the cache, for tests and
// measuring programs alone: a hammer that sees no stale value proves something only if it does
// see them once the fence is gone.
//
// The switches are one word for the whole process. No fence is looked up on the path of an L1
// hit, and nothing outside this module can reach them.
package fence

import "sync/atomic"

// Fence names a fence.
type Fence uint32

// The fences.
const (
	// Lease: a fill is stored only under the lease taken before the load.
	Lease Fence = 1 << iota
	// Epoch: an L1 fill is stored only if the key was not invalidated since the read began.
	Epoch
	// Order: invalidations go from the source outwards, the tier that is read first last.
	Order
	// Outbox: a tier that owes an invalidation is not read for that key.
	Outbox
	// Flight: readers that start after a write do not join flights from before it.
	Flight
	// Seize: a write-through takes a lease over the key before it writes the source.
	Seize
	// Mark: a compare-and-swap whose answer was lost is looked for before it is tried again.
	Mark

	// MigrateOrder: in a migration a delete reaches the old store first.
	MigrateOrder
	// MigrateLease: a copy from the old store to the new one takes a lease there first.
	MigrateLease
	// MigrateBars: a store of a migration that is owed an invalidation is not read for that key.
	MigrateBars
	// MigrateTombstone: a delete that the old store was not told of closes the key in the new
	// one.
	MigrateTombstone
)

var removed atomic.Uint32

// Removed reports whether f has been taken out.
func Removed(f Fence) bool { return removed.Load()&uint32(f) != 0 }

// Remove takes fences out until the returned function puts them back. Not to be used by tests
// that run in parallel with others.
func Remove(fs ...Fence) (restore func()) {
	old := removed.Load()
	word := old
	for _, f := range fs {
		word |= uint32(f)
	}
	removed.Store(word)
	return func() { removed.Store(old) }
}

// names, for programs that remove them by name.
var names = map[Fence]string{
	Lease: "lease", Epoch: "epoch", Order: "order", Outbox: "outbox", Flight: "flight", Seize: "seize", Mark: "mark",
	MigrateOrder: "migrate-order", MigrateLease: "migrate-lease", MigrateBars: "migrate-bars", MigrateTombstone: "migrate-tombstone",
}

// String returns the fence's name.
func (f Fence) String() string { return names[f] }

// Parse returns the fence of that name.
func Parse(name string) (Fence, bool) {
	for f, n := range names {
		if n == name {
			return f, true
		}
	}
	return 0, false
}
