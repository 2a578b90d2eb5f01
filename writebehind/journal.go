package writebehind

import (
	"context"
	"time"
)

// Kind says what a [Record] does to its key.
type Kind byte

// The kinds. Their values are part of the stored format.
const (
	Set    Kind = 1
	Delete Kind = 2
	Delta  Kind = 3

	// Unreadable is an entry that its journal could not read: Value has its bytes, Key is as much
	// as is known. It is never given to the sink, and becomes a dead letter. Once a newer version
	// of this program can read the bytes, it can be redriven.
	Unreadable Kind = 4
)

// Record is one accepted operation as a journal keeps it.
type Record struct {
	Seq      uint64 // the journal gives it; 0 in a record that is not stored yet
	ID       ID
	Key      string
	Kind     Kind
	Value    []byte // the codec's bytes of a Set, the payload of a Delta
	Version  uint64
	Deadline time.Time // zero = none
	Enqueued time.Time
	Attempts int
	Dead     string    // why it is a dead letter; "" = it waits for delivery
	Died     time.Time // since when; zero while it waits
}

// Ref names one stored record. The key says where it is, the sequence which one: a newer record
// of the same key is never meant.
type Ref struct {
	Key   string
	Seq   uint64
	State bool // it was a Set or Delete that is settled: older dead letters of the key are void
}

// Tx is what one commit changes.
type Tx struct {
	// Put stores records. Where Seq is 0, Commit assigns one that is larger than every Seq it
	// has given for that key, in the order of the slice. Otherwise the stored record with that
	// Seq is replaced: by one with Dead set (it becomes a dead letter) or without (redrive; a
	// journal may then assign a new Seq, larger still). One that is not there any more stays
	// away: it was applied, or a newer one has made it void.
	Put []Record
	// Remove deletes exactly these records; one that is not there is fine.
	Remove []Ref
}

// Journal makes accepted writes survive the process. Its methods are safe for concurrent use;
// after Close they return tier.ErrClosed. Package journaltest holds a journal to this contract.
type Journal interface {
	// Commit carries out all of tx, Put before Remove, or, when it returns an error, none of it;
	// where the answer was lost, or a disk did not confirm what was written, the error wraps
	// tier.ErrUnknown, and tx may have been carried out. What a nil return
	// confirmed is on stable storage, and the new sequences are in tx.Put. [ErrFull] says that
	// there is no room for Put. A ctx that has ended changes nothing.
	Commit(ctx context.Context, tx *Tx) error

	// Replay calls fn with every record, dead letters included, in the order of Seq per key, and
	// stops at fn's error, which it returns as it is. The record is fn's to keep. An empty
	// journal is nil without a call of fn.
	Replay(ctx context.Context, fn func(Record) error) error

	// Close releases what the journal holds; what is stored stays. A second Close is nil.
	Close() error
}

// Counted is a [Journal] that knows how far it has counted. [WriteThrough] needs one: a write
// around the journal comes after all that were in it before, also those that have left it.
type Counted interface {
	Journal

	// LastSeq returns the largest Seq that was ever given, 0 before the first.
	LastSeq() (uint64, error)
}

// Shared is a [Journal] that several processes append to, each of which may die. It decides
// which process delivers what: one owner at a time for every key.
type Shared interface {
	Journal

	// Consume hands to deliver what this process owns: first what a predecessor left unsettled,
	// then what anybody appends, in the order of Seq per key, until ctx ends. deliver may block
	// to hold back. It returns when ctx has ended and everything owned has been given up.
	Consume(ctx context.Context, deliver func(Delivery)) error

	// Fates tells what became of records, in the order of refs.
	Fates(ctx context.Context, refs []Ref) ([]Fate, error)
}

// Delivery is one portion of records that this process owns.
type Delivery struct {
	Records []Record // Attempts counts the deliveries before this one
	Owner   Owner
}

// Owner is the right to deliver some keys. It ends by itself when it is not renewed.
type Owner interface {
	// Context ends when the right is lost, or could have been.
	Context() context.Context
}

// Fate is what became of a record of a [Shared] journal.
type Fate byte

// The fates.
const (
	Waiting Fate = iota // it is in the journal
	Settled             // it was applied, or a newer one was in its place
	Parked              // it is a dead letter
)
