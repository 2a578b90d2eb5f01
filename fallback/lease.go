package fallback

import (
	"context"
	"errors"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// lease is the right to fill a key of the whole: a lease of the authority, and sometimes one of
// the other store that was taken at the same time.
//
// A lease of the authority alone is fence enough for a fill: every writer, whatever its phase,
// writes or deletes the key in both stores, and so ends leases in either.
type lease struct {
	s     *Store
	key   string
	at    *member // the authority
	lease backends.Lease

	other     backends.Lease // of the other store; nil = none
	otherAt   *member
	fillOther bool // the other is filled as well, else given back
	overwrite bool // it may replace a value that the other store has a copy of
	mirror    bool // a background copy follows the fill
}

// Acquire implements [backends.Leaser]. Where new answers it looks into old before it grants
// anything: what is found there is copied under the lease and returned as filled meanwhile.
func (s *Store) Acquire(ctx context.Context, key string, hold time.Duration) (backends.Lease, backends.Item, error) {
	if hold <= 0 {
		return nil, backends.Item{}, backends.ErrInvalidTTL
	}
	if err := check(ctx, key); err != nil {
		return nil, backends.Item{}, err
	}
	t := s.begin(ctx)
	defer t.end()
	m := t.view(key).mode
	if !m.newAnswers() {
		return s.acquireOld(ctx, m, key, hold)
	}
	if err := s.settle(ctx, s.new, key); err != nil {
		return nil, backends.Item{}, err
	}
	l, it, err := s.new.acquire(ctx, key, hold)
	if err == nil && l == nil {
		return nil, it, nil
	}
	if !s.fallsBack(m, key, err) {
		return s.grant(key, s.new, l, err)
	}
	if l == nil { // somebody else loads or copies, or new is unwell: old may know, unfenced
		return s.askOld(ctx, key, err)
	}
	return s.lookFirst(ctx, t, key, l, hold)
}

func (s *Store) acquireOld(ctx context.Context, m mode, key string, hold time.Duration) (backends.Lease, backends.Item, error) {
	if err := s.settle(ctx, s.old, key); err != nil {
		return nil, backends.Item{}, err
	}
	l, it, err := s.old.acquire(ctx, key, hold)
	if err != nil || l == nil {
		return nil, it, err
	}
	return &lease{s: s, key: key, at: s.old, lease: l, mirror: m == modeMirror}, backends.Item{}, nil
}

func (s *Store) grant(key string, at *member, l backends.Lease, err error) (backends.Lease, backends.Item, error) {
	if err != nil || l == nil {
		return nil, backends.Item{}, err
	}
	return &lease{s: s, key: key, at: at, lease: l}, backends.Item{}, nil
}

// askOld returns what old has while new could not grant a lease (newErr). It is as good as any
// read of old: what changed before this call was deleted from old before.
func (s *Store) askOld(ctx context.Context, key string, newErr error) (backends.Lease, backends.Item, error) {
	it, err := s.old.get(ctx, key, false)
	if err != nil || s.barred(s.old, key) {
		if err != nil && !absent(err) {
			s.counts.skipped.Add(1)
		}
		return nil, backends.Item{}, newErr
	}
	s.foundOld()
	return nil, it, nil
}

// lookFirst reads old under the lease l of new: found, it is copied; if not, the lease is the
// caller's, and with Config.Both a lease of old goes with it.
func (s *Store) lookFirst(ctx context.Context, t *term, key string, l backends.Lease, hold time.Duration) (backends.Lease, backends.Item, error) {
	granted := &lease{s: s, key: key, at: s.new, lease: l}
	if s.cfg.Both && s.old.caps.Leaser != nil {
		ol, _, err := s.old.acquire(ctx, key, hold)
		if err == nil && ol != nil {
			granted.other, granted.otherAt, granted.fillOther = ol, s.old, true
			return granted, backends.Item{}, nil
		}
	}
	it, err := s.old.raw(ctx, key, true)
	original := it
	if err == nil {
		original, it, err = s.copyOf(key, it)
	}
	switch {
	case err == nil && s.barred(s.old, key):
		s.counts.barred.Add(1)
	case err == nil:
		s.foundOld()
		s.behind(ctx, t, func(ctx context.Context) { s.fillCopy(ctx, key, l, original) })
		return nil, it, nil
	case errors.Is(err, backends.ErrHeldOff):
		s.giveBack(ctx, key, l)
		return nil, backends.Item{}, err
	case ctx.Err() != nil:
		s.giveBack(ctx, key, l)
		return nil, backends.Item{}, err
	case !absent(err):
		s.counts.skipped.Add(1)
	}
	return granted, backends.Item{}, nil
}

// Fill implements [backends.Lease].
func (l *lease) Fill(ctx context.Context, it backends.Item) error {
	if err := l.s.checkItem(ctx, l.key, it); err != nil {
		return err
	}
	err := l.at.fill(ctx, l.key, l.lease, it)
	if backends.IsRefusal(err) || ctx.Err() != nil && err != nil {
		return err
	}
	return first(err, l.afterFill(ctx, it, err))
}

func (l *lease) afterFill(ctx context.Context, it backends.Item, filled error) error {
	s := l.s
	switch {
	case filled == nil && l.other != nil && l.fillOther:
		_ = l.otherAt.fill(ctx, l.key, l.other, it) // lost is fine: somebody knows better
	case l.other != nil:
		_ = l.otherAt.release(ctx, l.key, l.other)
	}
	if filled == nil && l.mirror {
		s.copyLater(l.key)
	}
	if l.overwrite {
		return l.forgetOther(ctx)
	}
	return nil
}

// forgetOther takes away what the other store has of a key whose value was replaced.
func (l *lease) forgetOther(ctx context.Context) error {
	other := l.s.old
	if l.at == other {
		other = l.s.new
	}
	t := l.s.begin(ctx)
	defer t.end()
	err := l.s.tell(ctx, other, l.key)
	v := t.view(l.key)
	if err != nil && other == l.s.other(v.mode) && l.s.pardons(ctx, v) {
		return nil
	}
	return err
}

// Release implements [backends.Lease].
func (l *lease) Release(ctx context.Context) error {
	if l.other != nil {
		_ = l.otherAt.release(ctx, l.key, l.other)
	}
	return l.at.release(ctx, l.key, l.lease)
}

// Seize implements [backends.Fencer]. It seizes the key in both stores, old first, so that a
// reader of either finds nothing until it is filled.
func (s *Store) Seize(ctx context.Context, key string, hold time.Duration) (backends.Lease, error) {
	if hold <= 0 {
		return nil, backends.ErrInvalidTTL
	}
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	t := s.begin(ctx)
	defer t.end()
	v := t.view(key)
	ol, oldErr := s.seize(ctx, s.old, key, hold)
	nl, newErr := s.seize(ctx, s.new, key, hold)
	l := &lease{s: s, key: key, at: s.old, lease: ol, other: nl, otherAt: s.new, fillOther: v.mode == modeMirror}
	err := oldErr
	if v.newAnswers() {
		l.at, l.lease, l.other, l.otherAt, l.fillOther = s.new, nl, ol, s.old, s.cfg.Both
		err = newErr
	}
	if first(oldErr, newErr) != nil && !s.pardons(ctx, v) {
		err = first(oldErr, newErr)
	}
	if err != nil {
		if ol != nil {
			_ = s.old.release(ctx, key, ol)
		}
		if nl != nil {
			_ = s.new.release(ctx, key, nl)
		}
		return nil, err
	}
	l.overwrite = l.other == nil
	return l, nil
}

func (s *Store) seize(ctx context.Context, m *member, key string, hold time.Duration) (backends.Lease, error) {
	own, mark := m.keyOf(key), m.owed.mark()
	l, err := call(ctx, m, func(ctx context.Context) (backends.Lease, error) {
		return m.caps.Fencer.Seize(ctx, own, hold)
	})
	s.told(m, key, mark, err)
	if err != nil {
		return nil, m.wrap("seize", key, err)
	}
	return l, nil
}

// AcquireRefresh implements [backends.Refresher]. A token of the store that does not answer (any
// more) is [backends.ErrConflict]: the value has to be read again.
func (s *Store) AcquireRefresh(ctx context.Context, key string, tok backends.Token, hold time.Duration) (backends.Lease, error) {
	if hold <= 0 {
		return nil, backends.ErrInvalidTTL
	}
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	t := s.begin(ctx)
	defer t.end()
	m := s.authority(t.view(key).mode)
	inner, ok, err := s.tokenOf(m, tok)
	if err != nil || !ok {
		return nil, first(err, backends.ErrConflict)
	}
	if err := s.settle(ctx, m, key); err != nil {
		return nil, err
	}
	own := m.keyOf(key)
	l, err := call(ctx, m, func(ctx context.Context) (backends.Lease, error) {
		return m.caps.Refresher.AcquireRefresh(ctx, own, inner, hold)
	})
	if err != nil {
		return nil, m.wrap("acquirerefresh", key, err)
	}
	return &lease{s: s, key: key, at: m, lease: l, overwrite: true}, nil
}

// tokenOf returns the token as m knows it, or false if it is another member's.
func (s *Store) tokenOf(m *member, tok backends.Token) (inner backends.Token, ok bool, err error) {
	if i, _, marked := tok.Member(); !marked || i > 1 {
		return tok, false, backends.ErrBadToken
	}
	inner, ok = m.version(tok)
	return inner, ok, nil
}
