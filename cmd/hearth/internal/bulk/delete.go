package bulk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Removal is which keys to delete. At and one of Filter.Prefix and Filter.Except must be set.
type Removal struct {
	At     *Endpoint
	Filter Filter // Prefix, Match and Except
	DryRun bool   // count them, and delete nothing

	Workers  int           // 0 = 4
	Rate     float64       // keys per second; 0 = no limit
	Patience time.Duration // how long a server may be away; 0 = 30 s
	// Trouble is called with what a server said when it is about to be asked again. It may be
	// called by several goroutines at a time. nil = nobody hears of it.
	Trouble func(string)

	between func() // tests only: runs between reading and deleting
}

// Removed is what a removal came to.
type Removed struct {
	Deleted int64    // in a dry run: would be
	Left    int64    // begin like the others and are no values (placeholders, lists, hashes), or changed meanwhile
	Remarks []string // what is to be known of the list of keys
	Seconds float64
}

// Delete deletes the values whose keys begin with Filter.Prefix and not with Filter.Except, while services go on: what they
// write meanwhile may be deleted or not. Placeholders of loads and deletes stay, since they end by
// themselves and keep older values from coming back, those too that replace a value after it was
// read. Where a memcached holds keys under their hash
// the prefix is looked for in what they stand for.
func Delete(ctx context.Context, d Removal) (Removed, error) {
	if d.At == nil || d.Filter.Prefix == "" && d.Filter.Except == "" {
		return Removed{}, errors.New("a removal needs a server, and a prefix or an exception")
	}
	if d.Workers <= 0 {
		d.Workers = 4
	}
	if d.Patience <= 0 {
		d.Patience = defaultPatience
	}
	if d.Trouble == nil {
		d.Trouble = func(string) {}
	}
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		todo    = make(chan batch, d.Workers)
		limiter = &pace{rate: d.Rate}
		mu      sync.Mutex
		sum     Removed
		workers sync.WaitGroup
	)
	for range d.Workers {
		workers.Go(func() {
			at := d.At.session()
			defer at.close()
			for b := range todo {
				for len(b.keys) > 0 && ctx.Err() == nil {
					n := min(200, len(b.keys))
					deleted, left, err := d.remove(ctx, limiter, at, b.server, b.keys[:n])
					mu.Lock()
					sum.Deleted += deleted
					sum.Left += left
					mu.Unlock()
					if err != nil {
						cancel(err)
						break
					}
					b.keys = b.keys[n:]
				}
			}
		})
	}
	from := ""
	err := try(ctx, d.Patience, d.Trouble, func() (progressed bool, err error) {
		err = d.At.scan(ctx, from, &d.Filter, func(b batch) error {
			select {
			case todo <- b:
			case <-ctx.Done():
				return ctx.Err()
			}
			progressed = true
			if b.next != "" {
				from = b.next
			}
			return nil
		})
		return progressed, err
	})
	close(todo)
	workers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	sum.Remarks, sum.Seconds = d.At.remarks(), time.Since(began).Seconds()
	return sum, err
}

// remove deletes those of some keys that are values and wanted.
func (d *Removal) remove(ctx context.Context, limiter *pace, at session, server int, keys []string) (deleted, left int64, err error) {
	if err := limiter.wait(ctx, len(keys)); err != nil {
		return 0, 0, err
	}
	recs, refs := make([]Record, len(keys)), make([]*Record, len(keys))
	for i := range recs {
		refs[i] = &recs[i]
	}
	err = try(ctx, d.Patience, d.Trouble, func() (bool, error) {
		for i, k := range keys {
			recs[i] = Record{Listed: k}
		}
		return false, at.read(ctx, server, refs)
	})
	if err != nil {
		return 0, 0, err
	}
	var gone []*Record
	for _, r := range refs {
		switch {
		case r.Fate == Pending && d.Filter.keeps(r.Key):
			gone = append(gone, r)
		case r.Fate != Pending && r.Fate != Expired:
			left++
		}
	}
	if d.DryRun {
		return int64(len(gone)), left, nil
	}
	if d.between != nil {
		d.between()
	}
	err = try(ctx, d.Patience, d.Trouble, func() (bool, error) { return false, at.remove(ctx, server, gone) })
	for _, r := range gone {
		switch r.Fate {
		case Expired:
			deleted++
		case Changed:
			left++
		case Failed:
			err = errors.Join(err, fmt.Errorf("%s: %w", printable(r.Key), r.Err))
		}
	}
	return deleted, left, err
}
