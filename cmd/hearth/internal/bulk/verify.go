package bulk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Check is what to compare. From and To must be set.
type Check struct {
	From, To *Endpoint
	Filter   Filter
	// Sample is about how many keys to compare, chosen at random over all of them. 0 = all.
	Sample int64
	// Seed chooses another sample.
	Seed uint64
	// Tolerance is how far lifetimes may be apart. 0 = 2 s.
	Tolerance time.Duration
	Workers   int     // 0 = 4
	Rate      float64 // keys per second; 0 = no limit
}

// Difference is a kind of difference between two servers.
type Difference uint8

// The differences. A key counts once, under the first that applies.
const (
	Missing Difference = iota // in the target
	Value
	Flags
	TTL
	Unreadable // the target's server failed for the key
	differences
)

var differenceNames = [differences]string{"missing", "value", "flags", "ttl", "failed"}

// String returns the name that reports use.
func (d Difference) String() string { return differenceNames[d] }

// Findings are what a check came to.
type Findings struct {
	Compared int64
	Equal    int64
	Left     int64 // of the sample: not values, or gone meanwhile
	Diffs    [differences]int64
	MaxDrift time.Duration // of lifetimes, among keys that both have
	Samples  []FoundKey    // the first few differences
	Seconds  float64
}

// FoundKey is a key that differs, and how.
type FoundKey struct {
	Key  string `json:"key"`
	What string `json:"what"`
	Old  string `json:"from"`
	New  string `json:"to"`
}

// Different returns the number of keys that differ.
func (f *Findings) Different() (n int64) {
	for _, d := range f.Diffs {
		n += d
	}
	return n
}

// Verify compares keys of two servers. It reads a key that differs once more, since the service
// may have changed it in between.
func Verify(ctx context.Context, v Check) (Findings, error) {
	if v.From == nil || v.To == nil {
		return Findings{}, errors.New("a comparison needs two servers")
	}
	if v.Workers <= 0 {
		v.Workers = 4
	}
	if v.Tolerance <= 0 {
		v.Tolerance = 2 * time.Second
	}
	began := time.Now()
	limit := uint64(math.MaxUint64)
	if n := v.From.estimate(ctx); v.Sample > 0 && n > v.Sample {
		limit = uint64(float64(v.Sample) / float64(n) * math.MaxUint64)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan batch, v.Workers)
	limiter := pace{rate: v.Rate}
	var (
		mu      sync.Mutex
		found   Findings
		workers sync.WaitGroup
	)
	for range v.Workers {
		workers.Go(func() {
			w := comparer{Check: &v, from: v.From.session(), to: v.To.session()}
			defer w.from.close()
			defer w.to.close()
			for b := range todo {
				for len(b.keys) > 0 && ctx.Err() == nil {
					n := min(200, len(b.keys))
					if err := errors.Join(limiter.wait(ctx, n), w.compare(ctx, b.server, b.keys[:n], true)); err != nil {
						cancel(err)
						break
					}
					b.keys = b.keys[n:]
				}
			}
			mu.Lock()
			defer mu.Unlock()
			found.add(w.found)
		})
	}
	err := v.From.scan(ctx, "", &v.Filter, func(b batch) error {
		kept := b.keys[:0]
		for _, k := range b.keys {
			if limit == math.MaxUint64 || sampled(k, v.Seed) <= limit {
				kept = append(kept, k)
			}
		}
		if b.keys = kept; len(kept) == 0 {
			return nil
		}
		select {
		case todo <- b:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	close(todo)
	workers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	found.Seconds = time.Since(began).Seconds()
	return found, err
}

// sampled gives every key a number, the same in every run with the same seed.
func sampled(key string, seed uint64) uint64 {
	h := xxhash.Sum64String(key) ^ seed
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}

// comparer is one worker of a check.
type comparer struct {
	*Check
	from, to session
	found    Findings
}

func (w *comparer) compare(ctx context.Context, server int, keys []string, again bool) error {
	olds, news := make([]Record, len(keys)), make([]Record, len(keys))
	refs := make([]*Record, len(keys))
	for i, k := range keys {
		olds[i].Listed, refs[i] = k, &olds[i]
	}
	if err := w.from.read(ctx, server, refs); err != nil {
		return fmt.Errorf("%s: %w", w.From, err)
	}
	var ask []*Record
	var at []int
	for i := range olds {
		if olds[i].Fate != Pending || !w.Filter.keeps(olds[i].Key) {
			w.found.Left++
			continue
		}
		news[i] = Record{Key: w.Filter.rename(olds[i].Key), Hashed: olds[i].Hashed}
		ask, at = append(ask, &news[i]), append(at, i)
	}
	if err := w.to.read(ctx, -1, ask); err != nil {
		return fmt.Errorf("%s: %w", w.To, err)
	}
	var retry []string
	for _, i := range at {
		d, drift, differ := w.differ(&olds[i], &news[i])
		if differ && again {
			retry = append(retry, keys[i])
			continue
		}
		w.found.Compared++
		if news[i].Fate == Pending {
			w.found.MaxDrift = max(w.found.MaxDrift, drift)
		}
		if !differ {
			w.found.Equal++
			continue
		}
		w.found.Diffs[d]++
		if len(w.found.Samples) < samples {
			w.found.Samples = append(w.found.Samples, FoundKey{printable(olds[i].Key), d.String(), describe(&olds[i], d), describe(&news[i], d)})
		}
	}
	if len(retry) == 0 {
		return nil
	}
	return w.compare(ctx, server, retry, false)
}

// differ tells how two records differ. Flags count only where both servers keep them.
func (w *comparer) differ(a, b *Record) (d Difference, drift time.Duration, differ bool) {
	switch {
	case b.Fate == Failed:
		return Unreadable, 0, true
	case b.Fate != Pending:
		return Missing, 0, true
	case a.Deadline.IsZero() != b.Deadline.IsZero():
		drift = math.MaxInt64
	default:
		drift = a.Deadline.Sub(b.Deadline).Abs()
	}
	switch {
	case !bytes.Equal(a.Value, b.Value):
		return Value, 0, true
	case a.Flags != b.Flags && w.From.keepsFlags() && w.To.keepsFlags():
		return Flags, 0, true
	case drift == math.MaxInt64:
		return TTL, 0, true
	case drift > w.Tolerance:
		return TTL, drift, true
	}
	return 0, drift, false
}

// describe shows what differs without showing a value.
func describe(r *Record, d Difference) string {
	switch {
	case r.Fate != Pending:
		return r.Fate.String()
	case d == Value:
		return fmt.Sprintf("%d bytes, hash %016x", len(r.Value), xxhash.Sum64(r.Value))
	case d == Flags:
		return fmt.Sprintf("flags %d", r.Flags)
	case d == TTL && r.Deadline.IsZero():
		return "no expiry"
	case d == TTL:
		return "expires in " + time.Until(r.Deadline).Round(time.Millisecond).String()
	}
	return fmt.Sprintf("%d bytes", len(r.Value))
}

func (f *Findings) add(o Findings) {
	f.Compared += o.Compared
	f.Equal += o.Equal
	f.Left += o.Left
	for i, n := range o.Diffs {
		f.Diffs[i] += n
	}
	f.MaxDrift = max(f.MaxDrift, o.MaxDrift)
	f.Samples = append(f.Samples, o.Samples[:min(len(o.Samples), samples-len(f.Samples))]...)
}
