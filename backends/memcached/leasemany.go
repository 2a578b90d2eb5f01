package memcached

import (
	"context"
	"sync"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// AcquireMany implements [backends.BatchLeaser]. The text protocol has no multi-add: the keys of
// each server are added a few at a time; the cas ids of those that were won are read in one go.
func (s *Store) AcquireMany(ctx context.Context, keys []string, hold time.Duration) []backends.LeaseResult {
	rs := make([]backends.LeaseResult, len(keys))
	groups := s.groups(len(keys), func(i int) string { return keys[i] }, func(i int, err error) { rs[i].Err = err })
	each(groups, func(g group) {
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
	})
	return rs
}

// FillMany implements [backends.BatchLeaser].
func (s *Store) FillMany(ctx context.Context, leases []backends.Lease, items []backends.Item) []error {
	return s.eachLease(leases, func(i int, l *lease) error { return l.Fill(ctx, items[i]) })
}

// ReleaseMany implements [backends.BatchLeaser].
func (s *Store) ReleaseMany(ctx context.Context, leases []backends.Lease) []error {
	return s.eachLease(leases, func(_ int, l *lease) error { return l.Release(ctx) })
}

func (s *Store) eachLease(leases []backends.Lease, fn func(i int, l *lease) error) []error {
	var f failures
	f.init(len(leases))
	own := make([]*lease, len(leases))
	for i, l := range leases {
		mine, ok := l.(*lease)
		if !ok || mine.store != s {
			f.set(i, backends.ErrBadToken)
			continue
		}
		own[i] = mine
	}
	byServer := make([]group, len(s.servers))
	for i, l := range own {
		if l == nil {
			continue
		}
		g := &byServer[l.place.server]
		g.srv = l.claim.srv
		g.at, g.places = append(g.at, i), append(g.places, l.place)
	}
	used := byServer[:0]
	for _, g := range byServer {
		if g.srv != nil {
			used = append(used, g)
		}
	}
	each(used, func(g group) {
		g.eachKey(func(i int, _ place) { f.set(i, fn(i, own[i])) })
	})
	return f.result()
}
