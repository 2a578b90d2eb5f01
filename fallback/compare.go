package fallback

import (
	"bytes"
	"context"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

// secondLook is when a difference is looked at again: a change that was under way has told both
// stores by then, unless it owes one of them.
const secondLook = 100 * time.Millisecond

// compare looks at both stores once in a while, at a key that new has answered. In PhaseRetire old
// is none of ours to ask.
func (s *Store) compare(m mode, key string) {
	every := int64(s.cfg.CompareEvery)
	if every == 0 || m != modeNew || s.counts.sampled.Add(1)%every != 0 || !s.mayCopy() {
		return
	}
	if !s.spawn(func() {
		defer s.copied()
		ctx, cancel := context.WithTimeout(s.ctx, s.cfg.CopyHold)
		defer cancel()
		now, old, ok := s.both(ctx, key)
		if ok && !s.same(now, old) && !reframed(now, old) {
			was := now
			if pause(ctx, secondLook) != nil {
				return
			}
			now, old, ok = s.both(ctx, key)
			ok = ok && (s.same(now, old) || bytes.Equal(now.Value, was.Value)) // else it changes all the time
		}
		if ok {
			s.found(key, now, old)
		}
	}) {
		s.copied()
	}
}

// both returns what the stores have, as they have it: nonces and times of frames that
// [Config.Legacy] makes are different each time. ok is false if one of them has none.
func (s *Store) both(ctx context.Context, key string) (now, old backends.Item, ok bool) {
	old, err := s.old.raw(ctx, key, true)
	if err != nil || s.barred(s.old, key) {
		return now, old, false
	}
	now, err = s.new.raw(ctx, key, true)
	return now, old, err == nil
}

// found counts what a comparison has come to.
func (s *Store) found(key string, now, old backends.Item) {
	s.counts.compared.Add(1)
	switch {
	case s.same(now, old):
		s.counts.equal.Add(1)
	case reframed(now, old):
		s.counts.reframed.Add(1)
	default:
		s.counts.different.Add(1)
		s.observe(Event{Kind: EventDifferent, Key: key})
	}
	if now.TTL >= 0 && old.TTL >= 0 {
		s.counts.drift(now.TTL - old.TTL)
	}
}

func (s *Store) same(now, old backends.Item) bool {
	return bytes.Equal(now.Value, old.Value) && (now.Flags == old.Flags || !s.caps.Flags)
}

// reframed reports whether new has a frame where old has another client's value: the bytes differ,
// and nobody but the decoder can tell whether they mean the same.
func reframed(now, old backends.Item) bool {
	return wire.KindOf(now.Value) == wire.Frame && wire.KindOf(old.Value) == wire.Foreign
}
