package bulk

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/hearthcache/hearth/internal/wire"
)

// Check is what to compare. From and To must be set.
type Check struct {
	From, To *Endpoint
	Filter   Filter
	// Sample is how many keys to compare, chosen at random over all that the filter keeps. They
	// are held in memory until all are listed. 0 = all.
	Sample int64
	// Seed chooses another sample.
	Seed uint64
	// Tolerance is how far lifetimes may be apart. 0 = 2 s.
	Tolerance time.Duration
	Workers   int     // 0 = 4
	Rate      float64 // keys per second; 0 = no limit
	// BothWays also lists the target, for keys that the source does not have: what a client that
	// does not use hearth wrote to the target alone. With Sample as many keys again are compared.
	BothWays bool
	// Strict counts [Reframed] values as different.
	Strict bool
	// Patience is how long a server may be away before the comparison gives up. 0 = 30 s.
	Patience time.Duration
	// Trouble is called with what a server said when it is about to be asked again. It may be
	// called by several goroutines at a time. nil = nobody hears of it.
	Trouble func(string)
}

// Difference is a kind of difference between two servers.
type Difference uint8

// The differences. A key counts once, under the first that applies.
const (
	Missing Difference = iota // in the target
	Value
	Flags
	TTL
	Unreadable // a server failed for the key
	Extra      // missing in the source (BothWays)
	differences
)

var differenceNames = [differences]string{"missing", "value", "flags", "ttl", "failed", "only_in_target"}

// String returns the name that reports use.
func (d Difference) String() string { return differenceNames[d] }

// Findings are what a check came to.
type Findings struct {
	Compared int64
	Equal    int64
	// Reframed counts values of other clients in the source that the target has in a frame of
	// hearth's, as package fallback leaves them when it decodes them (Config.Legacy). Nobody here
	// can tell whether the two mean the same.
	Reframed int64
	Left     int64 // of the sample: not values, or gone meanwhile
	Back     int64 // keys of the target that were looked for in the source (BothWays)
	Diffs    [differences]int64
	MaxDrift time.Duration // of lifetimes, among keys that both have
	Samples  []FoundKey    // the first few differences
	Remarks  []string      // what is to be known of the lists of keys
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
// may have changed it in between. Where the two share servers, keys that begin with
// Filter.AddPrefix are the target's alone.
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
	if v.Patience <= 0 {
		v.Patience = defaultPatience
	}
	if v.Trouble == nil {
		v.Trouble = func(string) {}
	}
	began := time.Now()
	found, err := v.run(ctx)
	found.Seconds = time.Since(began).Seconds()
	found.Remarks = slices.Concat(v.From.remarks(), v.To.remarks())
	return found, err
}

func (v *Check) run(ctx context.Context) (found Findings, err error) {
	var shared bool
	if err := v.try(ctx, func() (bool, error) {
		shared, err = shares(ctx, v.From, v.To)
		return false, err
	}); err != nil {
		return found, err
	}
	limiter := &pace{rate: v.Rate}
	v.Filter = v.Filter.without(shared)
	err = v.sweep(ctx, &found, limiter, v.From, v.To, v.Filter, (*comparer).forth)
	if err == nil && v.BothWays {
		err = v.sweep(ctx, &found, limiter, v.To, v.From, v.Filter.back(shared), (*comparer).back)
	}
	return found, err
}

// try calls f until it succeeds, for as long as the servers may be away.
func (v *Check) try(ctx context.Context, f func() (progressed bool, err error)) error {
	return try(ctx, v.Patience, v.Trouble, f)
}

// sweep lists the keys of one endpoint and has workers compare a sample of them with the other.
func (v *Check) sweep(ctx context.Context, found *Findings, limiter *pace, of, with *Endpoint, f Filter, compare func(*comparer, context.Context, int, []string) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan batch, v.Workers)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range v.Workers {
		workers.Go(func() {
			w := comparer{Check: v, of: of, with: with, filter: f, here: of.session(), there: with.session()}
			defer w.here.close()
			defer w.there.close()
			for b := range todo {
				for len(b.keys) > 0 && ctx.Err() == nil {
					n := min(200, len(b.keys))
					if err := errors.Join(limiter.wait(ctx, n), compare(&w, ctx, b.server, b.keys[:n])); err != nil {
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
	give := func(b batch) error {
		select {
		case todo <- b:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	chosen := lot{most: int(v.Sample), seed: v.Seed}
	from := ""
	err := v.try(ctx, func() (progressed bool, err error) {
		err = of.scan(ctx, from, &f, func(b batch) error {
			progressed = true
			if b.next != "" {
				from = b.next
			}
			if v.Sample > 0 {
				chosen.add(b)
				return ctx.Err()
			}
			return give(b)
		})
		return progressed, err
	})
	if err == nil {
		for _, b := range chosen.batches() {
			if err = give(b); err != nil {
				break
			}
		}
	}
	close(todo)
	workers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// comparer is one worker of a check.
type comparer struct {
	*Check
	of, with    *Endpoint
	filter      Filter
	here, there session // of the one that is listed, and of the other
	found       Findings
}

// pair is a key that was read on both sides.
type pair struct{ here, there *Record }

// read reads keys that one side listed there and, under their names, on the other; what has gone
// meanwhile or is no value is left out. An error counts nothing.
func (w *comparer) read(ctx context.Context, server int, keys []string) (pairs []pair, left int64, err error) {
	recs, refs := make([]Record, len(keys)), make([]*Record, len(keys))
	for i := range keys {
		refs[i] = &recs[i]
	}
	err = w.try(ctx, func() (bool, error) {
		for i, k := range keys {
			recs[i] = Record{Listed: k, prefix: w.filter.StripPrefix}
		}
		return false, w.here.read(ctx, server, refs)
	})
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", w.of, err)
	}
	var ask []*Record
	for _, r := range refs {
		if r.Fate != Pending || !w.filter.keeps(r.Key) {
			left++
			continue
		}
		other := new(Record)
		pairs, ask = append(pairs, pair{r, other}), append(ask, other)
	}
	err = w.try(ctx, func() (bool, error) { // the source may hold under its hash what the target holds by its name
		for _, p := range pairs {
			*p.there = Record{Key: w.filter.rename(p.here.Key), prefix: w.filter.AddPrefix, Hashed: p.here.Hashed || w.of == w.To}
		}
		return false, w.there.read(ctx, -1, ask)
	})
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", w.with, err)
	}
	if w.of.pads(w.with) {
		unpad(refs)
	}
	if w.with.pads(w.of) {
		unpad(ask)
	}
	return pairs, left, nil
}

// forth compares keys that the source listed.
func (w *comparer) forth(ctx context.Context, server int, keys []string) error {
	for again := range 2 {
		pairs, left, err := w.read(ctx, server, keys)
		if err != nil {
			return err
		}
		w.found.Left += left
		keys = nil
		for _, p := range pairs {
			d, drift, differ := w.differ(p.here, p.there)
			if differ && again == 0 {
				keys = append(keys, p.here.Listed)
				continue
			}
			w.found.Compared++
			if p.there.Fate == Pending {
				w.found.MaxDrift = max(w.found.MaxDrift, drift)
			}
			switch {
			case !differ:
				w.found.Equal++
			case d == Value && !w.Strict && reframed(p.here, p.there):
				w.found.Reframed++
			default:
				w.found.differs(d, p.here, p.there)
			}
		}
		if len(keys) == 0 {
			break
		}
	}
	return nil
}

// back looks for keys of the target that the source does not have. Those that it has are compared
// by forth.
func (w *comparer) back(ctx context.Context, server int, keys []string) error {
	for again := range 2 {
		pairs, left, err := w.read(ctx, server, keys)
		if err != nil {
			return err
		}
		if again == 0 {
			w.found.Back += int64(len(keys)) - left
		}
		keys = nil
		for _, p := range pairs {
			switch {
			case p.there.Fate != Expired:
			case !p.here.Deadline.IsZero() && time.Until(p.here.Deadline) < w.Tolerance: // both end about now
			case again == 0:
				keys = append(keys, p.here.Listed)
			default:
				w.found.differs(Extra, p.there, p.here)
			}
		}
		if len(keys) == 0 {
			break
		}
	}
	return nil
}

// reframed reports whether new may be what hearth made of a value of another client.
func reframed(old, new *Record) bool {
	return wire.KindOf(old.Value) == wire.Foreign && wire.KindOf(new.Value) == wire.Frame
}

// differs counts a key that differs.
func (f *Findings) differs(d Difference, old, new *Record) {
	f.Diffs[d]++
	if len(f.Samples) < samples {
		f.Samples = append(f.Samples, FoundKey{printable(cmp.Or(old.Key, new.Key)), d.String(), describe(old, d), describe(new, d)})
	}
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
	f.Reframed += o.Reframed
	f.Left += o.Left
	f.Back += o.Back
	for i, n := range o.Diffs {
		f.Diffs[i] += n
	}
	f.MaxDrift = max(f.MaxDrift, o.MaxDrift)
	f.Samples = append(f.Samples, o.Samples[:min(len(o.Samples), samples-len(f.Samples))]...)
}
