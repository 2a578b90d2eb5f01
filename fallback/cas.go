package fallback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// exclusiveHold is how long the other store is closed for a conditional operation: longer than a
// healthy one takes, and short for readers that meet it.
const exclusiveHold = 500 * time.Millisecond

// exclusive carries out a conditional operation on the authority such that of two processes
// whose authorities differ at most one succeeds: the key is seized in the other store first, so
// that an operation there that has not happened yet fails and no copy brings the value back.
//
// An operation that succeeds opens the key again: whoever else was about to change this version
// fails now. One that fails does not, since it may have seized the key over somebody who is about
// to succeed; that lease runs out.
//
// What is not excluded: a Set, Add or Delete that is still in progress when its value is read and
// swapped can open the key early. Nobody then reads a stale value, but two swaps of that version,
// by processes whose authorities differ, can both succeed.
func (s *Store) exclusive(ctx context.Context, v view, key string, op func(m *member) error) error {
	other := s.other(v.mode)
	l, err := s.shut(ctx, other, key)
	if err != nil && !s.pardons(ctx, v) {
		return err // nothing has happened yet
	}
	if err = op(s.authority(v.mode)); err != nil {
		if !backends.IsAnswer(err) && !backends.IsRefusal(err) {
			_ = s.tell(ctx, other, key) // it may have happened
		}
		return err
	}
	if told := s.open(ctx, other, key, l); told != nil && !s.pardons(ctx, v) {
		return fmt.Errorf("%w: applied, but %w", backends.ErrUnknown, told)
	}
	return nil
}

// shut seizes key in m, or makes m forget it where it has no such fence.
func (s *Store) shut(ctx context.Context, m *member, key string) (backends.Lease, error) {
	if m.caps.Fencer == nil {
		return nil, s.tell(ctx, m, key)
	}
	return s.seize(ctx, m, key, exclusiveHold)
}

// open gives the lease l of m back, and removes a value that came there although it was taken.
func (s *Store) open(ctx context.Context, m *member, key string, l backends.Lease) error {
	if l == nil || m.caps.CASer == nil {
		return s.tell(ctx, m, key)
	}
	if err := m.release(ctx, key, l); err != nil {
		return s.tell(ctx, m, key)
	}
	it, err := m.get(ctx, key, false)
	if absent(err) {
		return nil
	}
	tok, ok := m.version(it.Token)
	if err != nil || !ok {
		return s.tell(ctx, m, key)
	}
	err = m.do(ctx, "cad", key, func(ctx context.Context, k string) error { return m.caps.CASer.CompareAndDelete(ctx, k, tok) })
	if err != nil && !backends.IsAnswer(err) {
		return s.tell(ctx, m, key)
	}
	return nil
}

// Add implements [backends.CASer]. It asks both stores. A value that only the other store has
// makes it fail too: from old it is copied to new, so that the next read finds it; in new it is
// dropped, so that the next Add succeeds.
func (s *Store) Add(ctx context.Context, key string, it backends.Item) error {
	if err := s.checkItem(ctx, key, it); err != nil {
		return err
	}
	t := s.begin(ctx)
	defer t.end()
	v := t.view(key)
	authority := s.authority(v.mode)
	if err := s.settle(ctx, authority, key); err != nil {
		return err
	}
	if err := s.elsewhere(ctx, v, key, nil); err != nil {
		if errors.Is(err, backends.ErrExists) {
			s.makeVisible(ctx, v, key)
		}
		return err
	}
	err := authority.do(ctx, "add", key, func(ctx context.Context, k string) error {
		return authority.caps.CASer.Add(ctx, k, it)
	})
	if err != nil {
		return err
	}
	if err := s.elsewhere(ctx, v, key, &it); err != nil { // added there meanwhile: neither has it
		return first(s.tell(ctx, authority, key), err)
	}
	if err := s.tell(ctx, s.other(v.mode), key); err != nil && !s.pardons(ctx, v) {
		return fmt.Errorf("%w: added, but %w", backends.ErrUnknown, err)
	}
	return nil
}

// elsewhere is ErrExists if the store that is not the authority has a value, ErrHeldOff if it
// is closed there, nil if it has none or may be left out, else its failure. In new a copy of
// added does not count: somebody has read it from old since.
func (s *Store) elsewhere(ctx context.Context, v view, key string, added *backends.Item) error {
	other := s.other(v.mode)
	if v.mode == modeOld || v.mode == modeRetire || s.barred(other, key) {
		return nil
	}
	it, err := other.get(ctx, key, false)
	switch {
	case err == nil && added != nil && other == s.new && s.isCopy(key, it, *added):
		return nil
	case err == nil:
		return backends.ErrExists
	case errors.Is(err, backends.ErrHeldOff):
		return err
	case absent(err) || v.lenient:
		return nil
	}
	return err
}

// isCopy reports whether it is what a copy makes of original.
func (s *Store) isCopy(key string, it, original backends.Item) bool {
	copied, err := s.old.read(key, original)
	return err == nil && bytes.Equal(it.Value, copied.Value)
}

func (s *Store) makeVisible(ctx context.Context, v view, key string) {
	if v.newAnswers() {
		s.copyOnce(ctx, key)
		return
	}
	if _, err := s.old.get(ctx, key, false); absent(err) {
		_ = s.tell(ctx, s.new, key)
	}
}

// CompareAndSwap implements [backends.CASer]. A token names the store it came from. One of old
// is good in new as long as old still has that version and new has none but its copy; the key is
// promoted first. One of new is [backends.ErrConflict] where old answers.
func (s *Store) CompareAndSwap(ctx context.Context, key string, tok backends.Token, it backends.Item) error {
	if err := s.checkItem(ctx, key, it); err != nil {
		return err
	}
	t := s.begin(ctx)
	defer t.end()
	v := t.view(key)
	inner, mine, err := s.tokenOf(s.authority(v.mode), tok)
	if err != nil {
		return err
	}
	if !mine && v.mode == modeNew {
		inner, err = s.promote(ctx, key, inner)
	} else if !mine {
		err = backends.ErrConflict
	}
	if err != nil {
		return err
	}
	if err := s.settle(ctx, s.authority(v.mode), key); err != nil {
		return err
	}
	return s.exclusive(ctx, v, key, func(m *member) error {
		return m.do(ctx, "cas", key, func(ctx context.Context, k string) error {
			return m.caps.CASer.CompareAndSwap(ctx, k, inner, it)
		})
	})
}

// promote exchanges the token of a version in old for the token of its copy in new. Old loses
// the version, so that nobody can swap it there any more.
func (s *Store) promote(ctx context.Context, key string, tok backends.Token) (backends.Token, error) {
	none := backends.Token{}
	old, ok := s.old.version(tok.At(s.old.index))
	if !ok || s.barred(s.old, key) {
		return none, backends.ErrConflict
	}
	s.copyOnce(ctx, key)
	wasRaw, err := s.old.raw(ctx, key, false)
	if err != nil {
		return none, err
	}
	was, err := s.old.read(key, wasRaw)
	if err != nil {
		return none, err
	}
	if was.Token != tok.At(s.old.index) {
		return none, backends.ErrConflict
	}
	isRaw, err := s.new.raw(ctx, key, false)
	if err != nil && !absent(err) {
		return none, err
	}
	if err != nil {
		return none, backends.ErrConflict
	}
	is, err := s.new.read(key, isRaw)
	if err != nil || !bytes.Equal(isRaw.Value, wasRaw.Value) && !bytes.Equal(is.Value, was.Value) {
		return none, backends.ErrConflict
	}
	err = s.old.do(ctx, "cad", key, func(ctx context.Context, k string) error {
		return s.old.caps.CASer.CompareAndDelete(ctx, k, old)
	})
	if err != nil {
		return none, err
	}
	inner, _ := s.new.version(is.Token)
	return inner, nil
}

// CompareAndDelete implements [backends.CASer]. A token of the store that does not answer is
// [backends.ErrConflict].
func (s *Store) CompareAndDelete(ctx context.Context, key string, tok backends.Token) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	t := s.begin(ctx)
	defer t.end()
	v := t.view(key)
	inner, mine, err := s.tokenOf(s.authority(v.mode), tok)
	if err != nil {
		return err
	}
	if !mine {
		return backends.ErrConflict
	}
	if err := s.settle(ctx, s.authority(v.mode), key); err != nil {
		return err
	}
	return s.exclusive(ctx, v, key, func(m *member) error {
		return m.do(ctx, "cad", key, func(ctx context.Context, k string) error {
			return m.caps.CASer.CompareAndDelete(ctx, k, inner)
		})
	})
}
