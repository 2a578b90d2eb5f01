package fallback

import (
	"context"
	"errors"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

// Touch implements [backends.Toucher]. Where new answers, a key that only old has is copied
// first. The other store forgets the key: its copy would outlive the new lifetime.
func (s *Store) Touch(ctx context.Context, key string, ttl time.Duration) error {
	if ttl < 0 {
		return backends.ErrInvalidTTL
	}
	if err := check(ctx, key); err != nil {
		return err
	}
	t := s.begin(ctx)
	defer t.end()
	v := t.view(key)
	if err := s.settle(ctx, s.authority(v.mode), key); err != nil {
		return err
	}
	if err := s.bring(ctx, v, key); err != nil {
		return err
	}
	return s.exclusive(ctx, v, key, func(m *member) error {
		return m.do(ctx, "touch", key, func(ctx context.Context, k string) error { return m.caps.Toucher.Touch(ctx, k, ttl) })
	})
}

// bring copies key to new if new answers, lacks it, and old has it. An error is new's.
func (s *Store) bring(ctx context.Context, v view, key string) error {
	if v.mode != modeNew {
		return nil
	}
	const patience, step = 20, 5 * time.Millisecond // for a copy of another process to end
	for range patience {
		_, err := s.new.get(ctx, key, false)
		if err == nil {
			return nil
		}
		if !s.fallsBack(v.mode, key, err) {
			return err
		}
		if !absent(err) {
			return err
		}
		if _, oldErr := s.old.get(ctx, key, false); oldErr != nil || s.barred(s.old, key) {
			return nil // there is nothing to bring
		}
		s.copyOnce(ctx, key)
		if !errors.Is(err, backends.ErrLeased) {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(step):
		}
	}
	return nil
}

// SetNewer implements [backends.Versioner]. A value of the same version or a newer one in either
// store is [backends.ErrOlder].
func (s *Store) SetNewer(ctx context.Context, key string, it backends.Item) error {
	if err := s.checkItem(ctx, key, it); err != nil {
		return err
	}
	t := s.begin(ctx)
	defer t.end()
	v := t.view(key)
	authority, mine := s.authority(v.mode), wire.VersionOf(it.Value)
	if err := s.settle(ctx, authority, key); err != nil {
		return err
	}
	if err := s.newerElsewhere(ctx, v, key, mine); err != nil {
		return err
	}
	err := authority.do(ctx, "setnewer", key, func(ctx context.Context, k string) error {
		return authority.caps.Versioner.SetNewer(ctx, k, it)
	})
	if err != nil {
		return err
	}
	// Written there meanwhile? The same version is a copy of what was just stored.
	if err := s.newerElsewhere(ctx, v, key, mine+1); err != nil && mine+1 > mine {
		_ = s.tell(ctx, authority, key)
		return err
	}
	if err := s.tell(ctx, s.other(v.mode), key); err != nil && !s.pardons(ctx, v) {
		return err
	}
	return nil
}

// newerElsewhere is ErrOlder if the store that is not the authority has a value that is not
// older than version.
func (s *Store) newerElsewhere(ctx context.Context, v view, key string, version uint64) error {
	other := s.other(v.mode)
	if v.mode == modeOld || v.mode == modeRetire || s.barred(other, key) {
		return nil
	}
	it, err := other.get(ctx, key, false)
	switch {
	case err == nil && version <= wire.VersionOf(it.Value):
		return backends.ErrOlder
	case err == nil || absent(err) || v.lenient:
		return nil
	}
	return err
}
