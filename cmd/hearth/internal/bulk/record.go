package bulk

import "time"

// Fate is what became of a key.
type Fate uint8

// The fates. All but Copied and Failed are reasons to leave a key alone.
const (
	Pending   Fate = iota
	Copied         // written, or in a dry run: would be
	Exists         // the target holds a value
	Changed        // the service changed the key while it was copied (fenced copies)
	Expired        // gone since it was listed
	Lease          // a placeholder of a load or a delete, not a value
	NotString      // Redis: a hash, list, set, ...
	TooLarge       // for the target
	BadKey         // the target cannot hold the key
	Unnamed        // memcached: kept under a hash that does not tell the key
	Misplaced      // memcached: on a server that is not the key's, left over from another list
	Filtered       // not asked for
	Failed         // an error, see Record.Err
	fates
)

// fateNames are what a report calls them.
var fateNames = [fates]string{
	Pending: "pending", Copied: "copied", Exists: "exists", Changed: "changed_meanwhile", Expired: "expired",
	Lease: "lease", NotString: "not_a_string", TooLarge: "too_large", BadKey: "key_not_holdable",
	Unnamed: "key_unknown", Misplaced: "not_on_its_server", Filtered: "filtered", Failed: "failed",
}

// String returns the name that reports use.
func (f Fate) String() string { return fateNames[f] }

// Record is one key on its way.
type Record struct {
	Listed   string // as the source listed it
	Key      string // as the service knows it, and after mapping
	Value    []byte
	Flags    uint32
	Deadline time.Time // when it expires; zero = never
	Hashed   bool      // memcached keeps it under its hash
	Fate     Fate
	Err      error // with Failed

	// prefix is what the store on the side that is asked next puts in front of its keys
	// (memcached.Config.Prefix), and is a part of Key: in memcached it stays in front of a hash.
	prefix string

	token []byte // the lease in the target, of a fenced copy
	cas   uint64 // and its id, where memcached keeps it
	seen  uint64 // the id of the value that was read, where memcached keeps it
	lost  bool   // had flags, and the target keeps none
}

// left returns the rest of the lifetime, 0 = no end; ok is false if it has ended.
func (r *Record) left(now time.Time) (d time.Duration, ok bool) {
	if r.Deadline.IsZero() {
		return 0, true
	}
	d = r.Deadline.Sub(now)
	return d, d > 0
}

func (r *Record) fail(err error) { r.Fate, r.Err = Failed, err }

// pending returns the records whose fate is open.
func pending(recs []*Record) []*Record {
	var open []*Record
	for _, r := range recs {
		if r.Fate == Pending {
			open = append(open, r)
		}
	}
	return open
}
