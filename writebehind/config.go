package writebehind

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hearthcache/hearth/internal/iface"
	"github.com/hearthcache/hearth/tier"
)

// Codec turns values into bytes for the journal and back. Every codec of package codec is one.
// It is used by several goroutines at a time.
type Codec[V any] interface {
	// Append appends the bytes of v to dst and returns the result. An error refuses the write.
	Append(dst []byte, v V) ([]byte, error)

	// Decode returns the value that Append made p of. An error makes a dead letter of the
	// record, with p in DeadLetter.Raw. It must not modify p.
	Decode(p []byte) (V, error)
}

// Overflow says what becomes of a write that finds the queue full. None of the answers drops it
// in silence.
type Overflow int

// The answers to a full queue.
const (
	Block        Overflow = iota // wait for room, as long as the caller's context allows
	Reject                       // refuse with ErrFull
	WriteThrough                 // apply to the sink now, after what waits for the key; the caller waits
)

// Config sets up a [Writer]. Only Sink is needed; every zero is a sensible value.
type Config[V any] struct {
	Sink Sink[V] // where writes go in the end

	// Journal keeps accepted writes until they are applied. Nil is the level Memory: what has
	// not been applied is lost when the process dies. See packages bolt and redisstream. The
	// writer owns it: Close closes it, and so does New when it fails.
	Journal Journal
	// Codec encodes values for the journal; nil = JSON.
	Codec Codec[V]

	// Linger is how long a key stays quiet before its newest value is written; each further
	// write of the key starts it anew. Zero = 10 ms, negative = none.
	Linger time.Duration
	// MaxDelay bounds that from the first write that is not applied yet. Zero = 1 s, negative =
	// none, so that Linger alone counts from the first write.
	MaxDelay time.Duration

	MaxBatch      int     // operations in one Apply; a full batch does not linger; zero = 128
	MaxBatchBytes int     // their bytes; zero = 1 MiB; a larger operation goes alone
	Concurrency   int     // calls of Apply at a time; zero = 4
	Rate          float64 // operations per second to the sink; zero = no limit

	MaxEntries int      // operations that may wait; zero = 100,000
	MaxBytes   int64    // their bytes (keys and encoded values); zero = 64 MiB
	Overflow   Overflow // what happens beyond that

	// Size tells the bytes of a value where there is no journal to encode it; nil counts
	// strings and byte slices as they are and nothing for other types.
	Size func(V) int

	ApplyTimeout time.Duration // for one Apply; zero = 30 s
	RetryMin     time.Duration // ceiling of the first pause after a failure; zero = 50 ms
	RetryMax     time.Duration // ceiling that doubling the pause ends at; zero = 30 s

	// MaxAttempts is how many failures make a dead letter of an operation, not counting those
	// that it shared with a whole batch. Zero = 20, counted only while the sink takes other
	// operations: an outage parks nothing, however long. Negative = never.
	MaxAttempts int

	faults faults
	jitter func(ceiling time.Duration) time.Duration
}

// faults remove one guard each. Only tests set them, to see that they can see the bug.
type faults struct {
	removeByKey     bool // a finished operation takes newer ones of its key with it
	ackBeforeCommit bool // accept before the journal has it
	anyOrder        bool // several applies of a key at a time
}

func (c Config[V]) withDefaults() (Config[V], error) {
	var bad []error
	if iface.IsNil(c.Sink) {
		bad = append(bad, errors.New("Sink is nil, or holds a nil pointer"))
	}
	if c.Journal != nil && iface.IsNil(c.Journal) {
		bad = append(bad, fmt.Errorf("Journal is a nil %T; leave it out for the level Memory", c.Journal))
	}
	if c.Codec != nil && iface.IsNil(c.Codec) {
		bad = append(bad, fmt.Errorf("Codec is a nil %T; leave it out for JSON", c.Codec))
	}
	if c.Overflow < Block || c.Overflow > WriteThrough {
		bad = append(bad, fmt.Errorf("Overflow is %d", c.Overflow))
	}
	for _, n := range []struct {
		name string
		v    float64
	}{
		{"MaxBatch", float64(c.MaxBatch)}, {"MaxBatchBytes", float64(c.MaxBatchBytes)},
		{"Concurrency", float64(c.Concurrency)}, {"Rate", c.Rate}, {"MaxEntries", float64(c.MaxEntries)},
		{"MaxBytes", float64(c.MaxBytes)}, {"ApplyTimeout", float64(c.ApplyTimeout)},
		{"RetryMin", float64(c.RetryMin)}, {"RetryMax", float64(c.RetryMax)},
	} {
		if !(n.v >= 0) { // NaN too
			bad = append(bad, fmt.Errorf("%s is negative", n.name))
		}
	}
	if bad != nil {
		return c, fmt.Errorf("writebehind: %w", errors.Join(bad...))
	}
	setDefault(&c.Linger, 10*time.Millisecond)
	setDefault(&c.MaxDelay, time.Second)
	setDefault(&c.MaxBatch, 128)
	setDefault(&c.MaxBatchBytes, 1<<20)
	setDefault(&c.Concurrency, 4)
	setDefault(&c.MaxEntries, 100_000)
	setDefault(&c.MaxBytes, 64<<20)
	setDefault(&c.ApplyTimeout, 30*time.Second)
	setDefault(&c.RetryMin, 50*time.Millisecond)
	setDefault(&c.RetryMax, 30*time.Second)
	if c.RetryMax < c.RetryMin {
		c.RetryMax = c.RetryMin
	}
	if c.Codec == nil {
		c.Codec = jsonCodec[V]{}
	}
	if c.Size == nil {
		c.Size = plainSize[V]
	}
	if c.jitter == nil {
		c.jitter = func(ceiling time.Duration) time.Duration { return rand.N(ceiling) + 1 }
	}
	return c, nil
}

func setDefault[T comparable](field *T, v T) {
	if *field == *new(T) {
		*field = v
	}
}

func plainSize[V any](v V) int {
	switch v := any(v).(type) {
	case string:
		return len(v)
	case []byte:
		return len(v)
	}
	return 0
}

func checkChange[V any](c *Change[V]) error {
	if c.Key == "" {
		return tier.ErrEmptyKey
	}
	if c.TTL < 0 {
		return tier.ErrInvalidTTL
	}
	return nil
}
