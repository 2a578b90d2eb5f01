package guard

import (
	"sync"
	"sync/atomic"
	"time"
)

const buckets = 10

// window counts good and bad outcomes of the last while, in ten buckets of time. Counting is
// lock-free; a call that counts in the very moment in which its bucket is turned over may be
// lost, which no ratio notices.
type window struct {
	length int64 // of a bucket, ns
	ring   [buckets]bucket
	mu     sync.Mutex // turning a bucket over
}

type bucket struct {
	epoch     atomic.Int64 // which length of time since the start it counts
	good, bad atomic.Int64
}

func newWindow(d time.Duration) *window { return &window{length: int64(d) / buckets} }

// at returns the bucket of now.
func (w *window) at(now int64) *bucket {
	epoch := now / w.length
	b := &w.ring[epoch%buckets]
	if b.epoch.Load() == epoch {
		return b
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if b.epoch.Load() < epoch { // else it has been turned, or now is late by a whole window
		b.good.Store(0)
		b.bad.Store(0)
		b.epoch.Store(epoch)
	}
	return b
}

// sum returns the outcomes of the window that ends now.
func (w *window) sum(now int64) (good, bad int64) {
	epoch := now / w.length
	for i := range w.ring {
		b := &w.ring[i]
		if b.epoch.Load() > epoch-buckets {
			good += b.good.Load()
			bad += b.bad.Load()
		}
	}
	return good, bad
}

// reset forgets everything.
func (w *window) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.ring {
		w.ring[i].good.Store(0)
		w.ring[i].bad.Store(0)
	}
}
