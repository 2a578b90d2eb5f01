package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/tier"
)

// Record is what the service caches.
type Record struct {
	Number  uint32
	Version uint64
	Text    string
}

// source is the source of record: slow, counted, and with a memory of all that it has had.
type source struct {
	delay   time.Duration
	loads   atomic.Int64
	records []history
}

// history is what one record has been. Version 1 is there from the beginning.
type history struct {
	mu      sync.Mutex
	version uint64   // the newest that is committed
	settled uint64   // the newest whose write is finished: committed, and every cache told
	removed []uint64 // the versions that are deletes, ascending
}

func newSource(records int, delay time.Duration) *source {
	s := &source{delay: delay, records: make([]history, records)}
	for i := range s.records {
		s.records[i].version, s.records[i].settled = 1, 1
	}
	return s
}

const text = "What the source of record says about this record, at a length that is usual for one: a hundred bytes or so."

// load reads a record slowly, the reading itself in the middle, so that a write can fall on
// either side of it. A record that was deleted is tier.ErrMiss.
func (s *source) load(ctx context.Context, id uint32) (Record, error) {
	s.loads.Add(1)
	if err := sleep(ctx, s.delay/2); err != nil {
		return Record{}, err
	}
	rec, err := s.now(id)
	if late := sleep(ctx, s.delay-s.delay/2); late != nil {
		return Record{}, late
	}
	return rec, err
}

// now is a record as of now.
func (s *source) now(id uint32) (Record, error) {
	h := &s.records[id]
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.removed); n > 0 && h.removed[n-1] == h.version {
		return Record{}, tier.ErrMiss
	}
	return Record{Number: id, Version: h.version, Text: text}, nil
}

// commit changes a record and returns the version that it has from now on.
func (s *source) commit(id uint32, kind changeKind) uint64 {
	h := &s.records[id]
	h.mu.Lock()
	defer h.mu.Unlock()
	h.version++
	if kind == remove {
		h.removed = append(h.removed, h.version)
	}
	return h.version
}

// settle says that the write of version is finished: reads that begin from now on must see it.
func (s *source) settle(id uint32, version uint64) {
	h := &s.records[id]
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settled = max(h.settled, version)
}

// floor is the oldest version that a read which begins now may return.
func (s *source) floor(id uint32) uint64 {
	h := &s.records[id]
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.settled
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
