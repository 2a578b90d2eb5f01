package fallback

import (
	"bytes"
	"context"
	"fmt"

	"github.com/hearthcache/hearth/backends"
)

// Set implements [backends.Store]. The authority is written first and the other is made to
// forget the key afterwards. In this order no reader gets older: a copy that began before the
// write loses its lease when the key is changed or forgotten in new, one that begins later
// reads the new value or none; and of two writers whose authorities differ, one in PhaseMirror
// and one in PhaseNew, at least one takes away what the other wrote before both return, so that
// the stores never keep two different values. With [Config.Both] that takes a look at new after old
// was written: one more round trip.
//
// What the other store could not be told is owed to it, and barred here until then. Where some
// process may be reading it meanwhile (PhaseMirror and Ramp, whose neighbours take the other
// store for the authority) it is an error as well.
func (s *Store) Set(ctx context.Context, key string, it backends.Item) error {
	if err := s.checkItem(ctx, key, it); err != nil {
		return err
	}
	t := s.begin(ctx)
	defer t.end()
	v := t.view(key)
	authority := s.authority(v.mode)
	mark := authority.owed.mark()
	err := authority.set(ctx, key, it)
	if backends.IsRefusal(err) {
		return err
	}
	if err == nil {
		authority.owed.settle(key, mark)
	}
	return first(err, s.forget(ctx, v, key, it, err == nil))
}

func (s *Store) checkItem(ctx context.Context, key string, it backends.Item) error {
	switch {
	case it.TTL < 0:
		return backends.ErrInvalidTTL
	case s.caps.MaxValueBytes > 0 && len(it.Value) > s.caps.MaxValueBytes:
		return backends.ErrTooLarge
	}
	return check(ctx, key)
}

func (s *Store) authority(m mode) *member {
	if m.newAnswers() {
		return s.new
	}
	return s.old
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// forget makes the store that is not the authority forget key after a write (or, with
// Config.Both, old take it). It returns an error if the caller must know of a failure.
func (s *Store) forget(ctx context.Context, v view, key string, it backends.Item, written bool) error {
	if v.newAnswers() && s.cfg.Both && written {
		mark := s.old.owed.mark()
		if s.old.set(ctx, key, it) == nil {
			now, err := s.new.get(ctx, key, false)
			if s.agrees(it, backends.Result{Item: now, Err: err}) {
				s.old.owed.settle(key, mark)
				return nil
			}
		}
	}
	err := s.tell(ctx, s.other(v.mode), key)
	if err == nil && written && v.mode == modeMirror {
		s.copyLater(key)
	}
	switch {
	case err == nil || s.pardons(ctx, v):
		return nil
	case written && v.newAnswers():
		return fmt.Errorf("%w: %w", ErrOwed, err)
	}
	return err
}

// agrees reports whether new has what was just written to old as well. Two writers can come to the
// stores in different order; whoever is the last in old has new's last value before its eyes here,
// and old forgets what is not that.
func (s *Store) agrees(it backends.Item, now backends.Result) bool {
	return now.Err == nil && bytes.Equal(now.Item.Value, it.Value) && (now.Item.Flags == it.Flags || !s.caps.Flags)
}

// other returns the store that is not the authority.
func (s *Store) other(m mode) *member {
	if m.newAnswers() {
		return s.old
	}
	return s.new
}

// SetMany implements [backends.Batcher]. Of a key that is given twice, the later entry stays.
func (s *Store) SetMany(ctx context.Context, entries []backends.KeyItem) []error {
	errs := make([]error, len(entries))
	t := s.begin(ctx)
	defer t.end()
	phase := t.phase
	var parts [2][]int // entries by their authority's index
	for i, e := range entries {
		if errs[i] = s.checkItem(ctx, e.Key, e.Item); errs[i] == nil {
			a := s.authority(phase.mode(e.Key)).index
			parts[a] = append(parts[a], i)
		}
	}
	for a, at := range parts {
		s.setPart(ctx, []*member{s.new, s.old}[a], t, entries, at, errs)
	}
	return orNil(errs)
}

// setPart writes those entries whose authority is m.
func (s *Store) setPart(ctx context.Context, m *member, t *term, entries []backends.KeyItem, at []int, errs []error) {
	if len(at) == 0 {
		return
	}
	part := make([]backends.KeyItem, len(at))
	for j, i := range at {
		part[j] = entries[i]
	}
	mark := m.owed.mark()
	written := m.setMany(ctx, part)
	var keys []string // that the other is to forget
	var also []backends.KeyItem
	var from, alsoFrom []int
	for j, i := range at {
		if written != nil {
			errs[i] = written[j]
		}
		if backends.IsRefusal(errs[i]) {
			continue
		}
		if errs[i] == nil {
			m.owed.settle(entries[i].Key, mark)
		}
		if m == s.new && s.cfg.Both && errs[i] == nil {
			also, alsoFrom = append(also, entries[i]), append(alsoFrom, i)
			continue
		}
		keys, from = append(keys, entries[i].Key), append(from, i)
	}
	keys, from = s.alsoOld(ctx, also, alsoFrom, keys, from)
	other := s.old
	if m == s.old {
		other = s.new
	}
	told := s.tellMany(ctx, other, keys)
	for j, i := range from {
		if told == nil || errs[i] != nil {
			continue
		}
		v := t.view(entries[i].Key)
		switch {
		case told[j] == nil || s.pardons(ctx, v):
		case v.newAnswers():
			errs[i] = fmt.Errorf("%w: %w", ErrOwed, told[j])
		default:
			errs[i] = told[j]
		}
	}
}

// alsoOld writes entries to old too, and adds to keys what old did not take.
func (s *Store) alsoOld(ctx context.Context, entries []backends.KeyItem, at []int, keys []string, from []int) ([]string, []int) {
	if len(entries) == 0 {
		return keys, from
	}
	mark := s.old.owed.mark()
	errs := s.old.setMany(ctx, entries)
	own := make([]string, len(entries))
	for j, e := range entries {
		own[j] = e.Key
	}
	now := s.new.getMany(ctx, own, false)
	for j, e := range entries {
		if errs != nil && errs[j] != nil || !s.agrees(e.Item, now[j]) {
			keys, from = append(keys, e.Key), append(from, at[j])
			continue
		}
		s.old.owed.settle(e.Key, mark)
	}
	return keys, from
}

// orNil returns nil if nothing failed.
func orNil(errs []error) []error {
	if first(errs...) == nil {
		return nil
	}
	return errs
}
