package fallback

import (
	"context"
	"errors"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// AcquireMany implements [backends.BatchLeaser] in a round trip to each store. Copies of what was
// found in old go on behind it where new takes its time.
func (s *Store) AcquireMany(ctx context.Context, keys []string, hold time.Duration) []backends.LeaseResult {
	rs := make([]backends.LeaseResult, len(keys))
	t := s.begin(ctx)
	defer t.end()
	phase := t.phase
	var parts [2][]int
	for i, key := range keys {
		if rs[i].Err = check(ctx, key); rs[i].Err == nil && hold <= 0 {
			rs[i].Err = backends.ErrInvalidTTL
		}
		if rs[i].Err != nil {
			continue
		}
		m := s.authority(phase.mode(key))
		if rs[i].Err = s.settle(ctx, m, key); rs[i].Err == nil {
			parts[m.index] = append(parts[m.index], i)
		}
	}
	for index, m := range []*member{s.new, s.old} {
		s.acquirePart(ctx, m, keys, parts[index], hold, rs)
	}
	var look []int // in old, before anything is granted
	for _, i := range parts[s.new.index] {
		if r := rs[i]; (r.Lease != nil || r.Err != nil) && s.fallsBack(phase.mode(keys[i]), keys[i], r.Err) {
			look = append(look, i)
		}
	}
	s.lookMany(ctx, t, keys, look, hold, rs)
	for _, i := range parts[s.old.index] {
		if l, ok := rs[i].Lease.(*lease); ok {
			l.mirror = phase.mode(keys[i]) == modeMirror
		}
	}
	return rs
}

func (s *Store) acquirePart(ctx context.Context, m *member, keys []string, at []int, hold time.Duration, rs []backends.LeaseResult) {
	if len(at) == 0 {
		return
	}
	own := make([]string, len(at))
	for j, i := range at {
		own[j] = m.keyOf(keys[i])
	}
	got, err := call(ctx, m, func(ctx context.Context) ([]backends.LeaseResult, error) {
		got := m.caps.BatchLeaser.AcquireMany(ctx, own, hold)
		return got, firstFailure(len(got), func(i int) error { return got[i].Err })
	})
	for j, i := range at {
		switch {
		case len(got) != len(at):
			rs[i].Err = m.wrap("acquire", keys[i], err)
		case got[j].Err != nil:
			rs[i].Err = m.wrap("acquire", keys[i], got[j].Err)
		case got[j].Lease != nil:
			rs[i].Lease = &lease{s: s, key: keys[i], at: m, lease: got[j].Lease}
		default:
			rs[i].Item, rs[i].Err = m.read(keys[i], got[j].Item)
		}
	}
}

// lookMany reads old for keys that new leased, or could not. With Config.Both old's leases are
// taken key by key, since they are few.
func (s *Store) lookMany(ctx context.Context, t *term, keys []string, at []int, hold time.Duration, rs []backends.LeaseResult) {
	type found struct {
		lease backends.Lease
		item  backends.Item
	}
	copies, of := map[string]found{}, []string(nil)
	if len(at) == 0 {
		return
	}
	some := make([]string, len(at))
	for j, i := range at {
		some[j] = keys[i]
	}
	for j, r := range s.old.rawMany(ctx, some, true) {
		i, key := at[j], some[j]
		l, _ := rs[i].Lease.(*lease)
		original := r.Item
		if r.Err == nil {
			original, r.Item, r.Err = s.copyOf(key, r.Item)
		}
		switch {
		case r.Err == nil && s.barred(s.old, key):
			s.counts.barred.Add(1)
		case r.Err == nil:
			s.foundOld()
			if l != nil {
				copies[key], of = found{l.lease, original}, append(of, key)
			}
			rs[i] = backends.LeaseResult{Item: r.Item}
		case errors.Is(r.Err, backends.ErrHeldOff):
			if l != nil {
				s.giveBack(ctx, key, l.lease)
			}
			rs[i] = backends.LeaseResult{Err: r.Err}
		case !absent(r.Err):
			s.counts.skipped.Add(1)
		case l != nil && s.cfg.Both && s.old.caps.Leaser != nil:
			if ol, _, err := s.old.acquire(ctx, key, hold); err == nil && ol != nil {
				l.other, l.otherAt, l.fillOther = ol, s.old, true
			}
		}
	}
	if len(of) > 0 {
		s.behind(ctx, t, func(ctx context.Context) {
			each(of, func(key string) { s.fillCopy(ctx, key, copies[key].lease, copies[key].item) })
		})
	}
}

// FillMany implements [backends.BatchLeaser].
func (s *Store) FillMany(ctx context.Context, leases []backends.Lease, items []backends.Item) []error {
	errs := make([]error, len(leases))
	var parts [2][]int
	for i := range leases {
		l, ok := leases[i].(*lease)
		switch {
		case !ok || l.s != s:
			errs[i] = backends.ErrBadToken
		default:
			if errs[i] = s.checkItem(ctx, l.key, items[i]); errs[i] == nil {
				parts[l.at.index] = append(parts[l.at.index], i)
			}
		}
	}
	for index, m := range []*member{s.new, s.old} {
		s.fillPart(ctx, m, leases, items, parts[index], errs)
	}
	return orNil(errs)
}

func (s *Store) fillPart(ctx context.Context, m *member, leases []backends.Lease, items []backends.Item, at []int, errs []error) {
	inner, keys := s.inner(leases, at)
	if len(at) == 0 {
		return
	}
	its := make([]backends.Item, len(at))
	for j, i := range at {
		its[j] = items[i]
	}
	filled := m.many(ctx, "fill", keys, func(ctx context.Context, _ []string) []error {
		return m.caps.BatchLeaser.FillMany(ctx, inner, its)
	})
	for j, i := range at {
		if filled != nil {
			errs[i] = filled[j]
		}
		if !backends.IsRefusal(errs[i]) {
			errs[i] = first(errs[i], leases[i].(*lease).afterFill(ctx, items[i], errs[i]))
		}
	}
}

// ReleaseMany implements [backends.BatchLeaser].
func (s *Store) ReleaseMany(ctx context.Context, leases []backends.Lease) []error {
	errs := make([]error, len(leases))
	var parts [2][]int
	for i := range leases {
		l, ok := leases[i].(*lease)
		if !ok || l.s != s {
			errs[i] = backends.ErrBadToken
			continue
		}
		parts[l.at.index] = append(parts[l.at.index], i)
		if l.other != nil {
			_ = l.otherAt.release(ctx, l.key, l.other)
		}
	}
	for index, m := range []*member{s.new, s.old} {
		at := parts[index]
		if len(at) == 0 {
			continue
		}
		inner, keys := s.inner(leases, at)
		released := m.many(ctx, "release", keys, func(ctx context.Context, _ []string) []error {
			return m.caps.BatchLeaser.ReleaseMany(ctx, inner)
		})
		for j, i := range at {
			if released != nil {
				errs[i] = released[j]
			}
		}
	}
	return orNil(errs)
}

// inner returns the members' own leases and the keys of those at.
func (s *Store) inner(leases []backends.Lease, at []int) (inner []backends.Lease, keys []string) {
	for _, i := range at {
		l := leases[i].(*lease)
		inner, keys = append(inner, l.lease), append(keys, l.key)
	}
	return inner, keys
}
