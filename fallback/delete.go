package fallback

import (
	"context"
	"fmt"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// ErrOwed: a change was made in new, and old could not be told of it. It will be, and until then
// neither this process reads the key there, nor any that new answers. Only a process that new does
// not answer, and old does, can read an older value meanwhile. It is a [backends.ErrOneServer], so
// that the breaker of a cache above does not take the Store for dead.
var ErrOwed = fmt.Errorf("fallback: old is owed an invalidation (%w)", backends.ErrOneServer)

// Delete implements [backends.Store]: from old first and then from new, in every phase. A copy
// takes its lease in new and then reads old. If it took the lease before new was deleted, the
// lease is gone; if after, old was already empty. (The other way round a copy gets in between:
// 41 % of the reads of raced keys were stale.)
//
// When old cannot be told, the key is barred here, and a mark that new keeps for Config.Hold
// stops other processes from reading it in old behind new; the mark is renewed until old was
// told, unless there was no room to owe it. Whoever delivers first takes it away, also for others
// that owe the same key. That is [ErrOwed] all the same, but in PhaseRetire: somebody whom new does not answer may
// read old. Where old is the authority of others there is no mark that helps, and it is old's
// failure.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	t := s.begin(ctx)
	defer t.end()
	v := t.view(key)
	if s.off.order && v.newAnswers() {
		return first(s.tell(ctx, s.new, key), s.tell(ctx, s.old, key))
	}
	oldErr := s.tell(ctx, s.old, key)
	return s.deleteNew(ctx, v, key, oldErr)
}

// deleteNew is the second half of Delete, after old returned oldErr.
func (s *Store) deleteNew(ctx context.Context, v view, key string, oldErr error) error {
	if backends.IsRefusal(oldErr) {
		return oldErr
	}
	if oldErr != nil && v.newAnswers() && s.new.caps.Tombstoner != nil && !s.off.tombstone {
		mark := s.new.owed.mark()
		if err := s.closeKey(ctx, key); err != nil {
			s.owe(s.new, key, time.Time{})
			return err
		}
		s.new.owed.settle(key, mark)
		s.owe(s.old, key, time.Now().Add(s.cfg.Hold))
		if s.pardons(ctx, v) {
			return nil
		}
		return fmt.Errorf("%w: %w", ErrOwed, oldErr)
	}
	newErr := s.tell(ctx, s.new, key)
	if newErr != nil && !v.newAnswers() && s.pardons(ctx, v) {
		newErr = nil
	}
	if oldErr != nil && newErr == nil && s.off.tombstone {
		return fmt.Errorf("%w: %w", ErrOwed, oldErr)
	}
	return first(oldErr, newErr)
}

// DeleteMany implements [backends.Batcher].
func (s *Store) DeleteMany(ctx context.Context, keys []string) []error {
	errs := make([]error, len(keys))
	var some []string
	var at []int
	for i, key := range keys {
		if errs[i] = check(ctx, key); errs[i] == nil {
			some, at = append(some, key), append(at, i)
		}
	}
	if len(some) == 0 {
		return orNil(errs)
	}
	t := s.begin(ctx)
	defer t.end()
	if s.off.order {
		s.tellMany(ctx, s.new, some)
	}
	fromOld := s.tellMany(ctx, s.old, some)
	if s.off.order {
		for j, err := range fromOld {
			errs[at[j]] = err
		}
		return orNil(errs)
	}
	var rest []string
	var restAt []int
	for j, i := range at {
		if fromOld != nil && fromOld[j] != nil {
			errs[i] = s.deleteNew(ctx, t.view(keys[i]), keys[i], fromOld[j])
			continue
		}
		rest, restAt = append(rest, keys[i]), append(restAt, i)
	}
	fromNew := s.tellMany(ctx, s.new, rest)
	for j, i := range restAt {
		if fromNew == nil || fromNew[j] == nil {
			continue
		}
		if v := t.view(keys[i]); v.newAnswers() || !s.pardons(ctx, v) {
			errs[i] = fromNew[j]
		}
	}
	return orNil(errs)
}

// DeleteHold implements [backends.Tombstoner], in both stores, old first.
func (s *Store) DeleteHold(ctx context.Context, key string, hold time.Duration, version uint64) error {
	if hold <= 0 {
		return backends.ErrInvalidTTL
	}
	if err := check(ctx, key); err != nil {
		return err
	}
	t := s.begin(ctx)
	defer t.end()
	v := t.view(key)
	oldErr := s.holdOff(ctx, s.old, key, hold, version)
	newErr := s.holdOff(ctx, s.new, key, hold, version)
	authority, other := oldErr, newErr
	if v.newAnswers() {
		authority, other = newErr, oldErr // new's mark stands before old, and old is owed a delete
	}
	if other != nil && s.pardons(ctx, v) {
		return authority
	}
	return first(oldErr, newErr)
}

func (s *Store) holdOff(ctx context.Context, m *member, key string, hold time.Duration, version uint64) error {
	mark := m.owed.mark()
	err := m.do(ctx, "deletehold", key, func(ctx context.Context, k string) error {
		return m.caps.Tombstoner.DeleteHold(ctx, k, hold, version)
	})
	s.told(m, key, mark, err)
	return err
}
