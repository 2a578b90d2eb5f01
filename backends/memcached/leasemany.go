package memcached

import (
	"context"
	"sync"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// AcquireMany implements [backends.BatchLeaser]. The text protocol has no multi-add: over
// [Gomemcache], and with [Separate] leases, the keys of each server are added a few at a time; over
// [Meta] they are one trip, and a second one if some were not free. The cas ids of those that were
// won are read in one go.
func (s *Store) AcquireMany(ctx context.Context, keys []string, hold time.Duration) []backends.LeaseResult {
	rs := make([]backends.LeaseResult, len(keys))
	groups := s.groups(len(keys), func(i int) string { return keys[i] }, func(i int, err error) { rs[i].Err = err })
	each(groups, func(g group) {
		if b := bulkOf(g.srv.transport); b != nil && !s.separate && hold > 0 {
			s.acquireBulk(ctx, b, g, hold, rs)
			return
		}
		s.acquireEach(ctx, g, hold, rs)
	})
	return rs
}

// acquireEach acquires the leases of g one by one.
func (s *Store) acquireEach(ctx context.Context, g group, hold time.Duration, rs []backends.LeaseResult) {
	var mu sync.Mutex
	var claims []*claim
	g.eachKey(func(i int, p place) {
		l, it, err := s.acquire(ctx, p.key, hold)
		if l == nil {
			rs[i] = backends.LeaseResult{Item: it, Err: err}
			return
		}
		rs[i].Lease = l
		mu.Lock()
		claims = append(claims, l.claim)
		mu.Unlock()
	})
	if len(claims) > 0 && !s.separate {
		s.follow(ctx, claims...)
	}
}

// FillMany implements [backends.BatchLeaser], as AcquireMany does.
func (s *Store) FillMany(ctx context.Context, leases []backends.Lease, items []backends.Item) []error {
	return s.endMany(ctx, leases, ending{
		one: func(i int, l *lease) error { return l.Fill(ctx, items[i]) },
		pack: func(i int, l *lease) (record, int32, error) {
			if err := s.check(items[i]); err != nil {
				return record{}, 0, err
			}
			r, exp := l.place.pack(items[i])
			return r, exp, nil
		},
		ended: (*lease).filled,
	})
}

// ReleaseMany implements [backends.BatchLeaser], as AcquireMany does.
func (s *Store) ReleaseMany(ctx context.Context, leases []backends.Lease) []error {
	return s.endMany(ctx, leases, ending{
		one:   func(_ int, l *lease) error { return l.Release(ctx) },
		pack:  func(int, *lease) (record, int32, error) { return record{}, gone, nil },
		ended: (*lease).released,
	})
}

// ending is a way for leases to end: filled or released.
type ending struct {
	one   func(i int, l *lease) error                  // the whole of it, for one lease
	pack  func(i int, l *lease) (record, int32, error) // what takes the token's place
	ended func(l *lease, err error) error              // notes how the attempt to put it there went
}

func (s *Store) endMany(ctx context.Context, leases []backends.Lease, e ending) []error {
	var f failures
	f.init(len(leases))
	own := make([]*lease, len(leases))
	byServer := make([]group, len(s.servers))
	for i, l := range leases {
		mine, ok := l.(*lease)
		if !ok || mine.store != s {
			f.set(i, backends.ErrBadToken)
			continue
		}
		own[i] = mine
		g := &byServer[mine.place.server]
		g.srv = mine.claim.srv
		g.add(i, mine.place)
	}
	used := byServer[:0]
	for _, g := range byServer {
		if g.srv != nil {
			used = append(used, g)
		}
	}
	each(used, func(g group) {
		if b := bulkOf(g.srv.transport); b != nil && !s.lateCAS {
			g = s.endBulk(ctx, b, g, own, e, &f)
		}
		g.eachKey(func(i int, _ place) { f.set(i, e.one(i, own[i])) })
	})
	return f.result()
}
