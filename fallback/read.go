package fallback

import (
	"context"
	"errors"

	"github.com/hearthcache/hearth/backends"
)

// check refuses what no member needs to be asked about.
func check(ctx context.Context, key string) error {
	if key == "" {
		return backends.ErrEmptyKey
	}
	return ctx.Err()
}

// Get implements [backends.Store]. In PhaseNew a key that new lacks is looked for in old, copied
// to new and returned; the copy goes on behind the caller where new takes its time. An old store that cannot answer leaves it a miss, since the source can
// answer; a new one that cannot is a failure, unless old has the key.
func (s *Store) Get(ctx context.Context, key string) (backends.Item, error) {
	return s.read(ctx, key, false)
}

// GetTTL implements [backends.TTLer].
func (s *Store) GetTTL(ctx context.Context, key string) (backends.Item, error) {
	return s.read(ctx, key, true)
}

func (s *Store) read(ctx context.Context, key string, ttl bool) (backends.Item, error) {
	if err := check(ctx, key); err != nil {
		return backends.Item{}, err
	}
	s.counts.reads.Add(1)
	t := s.begin(ctx)
	defer t.end()
	v := t.view(key)
	if !v.newAnswers() {
		if err := s.settle(ctx, s.old, key); err != nil {
			return backends.Item{}, err
		}
		it, err := s.old.get(ctx, key, ttl)
		if err == nil && v.mode == modeMirror {
			s.copyLater(key)
		}
		return s.counted(s.old, it, err)
	}
	err := s.settle(ctx, s.new, key)
	if err == nil {
		var it backends.Item
		if it, err = s.new.get(ctx, key, ttl); err == nil {
			s.asked(nil)
			s.compare(v.mode, key)
			return s.counted(s.new, it, nil)
		}
	}
	s.asked(err)
	if !s.fallsBack(v.mode, key, err) {
		return s.counted(s.new, backends.Item{}, err)
	}
	it, oldErr := s.old.get(ctx, key, ttl)
	if err = s.merge(ctx, t, key, err, oldErr); err != nil {
		return s.counted(s.old, backends.Item{}, err)
	}
	return s.counted(s.old, it, nil)
}

// merge decides what a read returns that new could not answer (newErr), after old returned
// oldErr; nil means old's item, which is copied if new said that it lacks the key.
func (s *Store) merge(ctx context.Context, t *term, key string, newErr, oldErr error) error {
	switch {
	case oldErr == nil && s.barred(s.old, key): // owed since old was asked
		s.counts.barred.Add(1)
		return newErr
	case oldErr == nil:
		if errors.Is(newErr, backends.ErrMiss) && !errors.Is(newErr, backends.ErrLeased) {
			s.copyNow(ctx, t, key)
		}
		return nil
	case errors.Is(oldErr, backends.ErrHeldOff) && absent(newErr):
		return oldErr
	case !absent(oldErr):
		s.counts.skipped.Add(1)
		if ctx.Err() != nil {
			return oldErr // the caller left; nobody knows whether old has it
		}
	}
	return newErr
}

// fallsBack reports whether old is to be asked after new returned err.
func (s *Store) fallsBack(m mode, key string, err error) bool {
	switch {
	case m != modeNew, backends.IsRefusal(err), errors.Is(err, backends.ErrWrongType),
		errors.Is(err, backends.ErrHeldOff) && !s.off.tombstone:
		return false
	case s.barred(s.old, key):
		s.counts.barred.Add(1)
		return false
	}
	return true
}

// asked notes what came of asking new, whoever answers then. A caller that left says nothing of it.
func (s *Store) asked(err error) {
	s.counts.askedNew.Add(1)
	if !backends.IsAnswer(err) && !backends.IsRefusal(err) && !errors.Is(err, context.Canceled) {
		s.counts.failedNew.Add(1)
	}
}

// foundOld notes that old answered an Acquire: a read of its own, after one that found nothing.
func (s *Store) foundOld() {
	s.counts.reads.Add(1)
	s.counts.hitsOld.Add(1)
}

// counted notes which member gave the answer.
func (s *Store) counted(m *member, it backends.Item, err error) (backends.Item, error) {
	switch {
	case err == nil && m == s.new:
		s.counts.hitsNew.Add(1)
	case err == nil:
		s.counts.hitsOld.Add(1)
	case absent(err):
		s.counts.misses.Add(1)
	default:
		s.counts.failures.Add(1)
	}
	return it, err
}

// GetMany implements [backends.Batcher]: at most one round trip to each member. Copies go on behind
// it where new takes its time.
func (s *Store) GetMany(ctx context.Context, keys []string) []backends.Result {
	return s.readMany(ctx, keys, false)
}

// GetTTLMany implements [backends.TTLer].
func (s *Store) GetTTLMany(ctx context.Context, keys []string) []backends.Result {
	return s.readMany(ctx, keys, true)
}

func (s *Store) readMany(ctx context.Context, keys []string, ttl bool) []backends.Result {
	rs := make([]backends.Result, len(keys))
	var atOld, atNew []int
	t := s.begin(ctx)
	defer t.end()
	phase := t.phase
	s.counts.reads.Add(int64(len(keys)))
	for i, key := range keys {
		rs[i].Err = check(ctx, key)
		m := phase.mode(key)
		switch {
		case rs[i].Err != nil:
		case m.newAnswers():
			if rs[i].Err = s.settle(ctx, s.new, key); rs[i].Err == nil {
				atNew = append(atNew, i)
				break
			}
			s.asked(rs[i].Err)
			if s.fallsBack(m, key, rs[i].Err) {
				atOld = append(atOld, i)
			}
		default:
			if rs[i].Err = s.settle(ctx, s.old, key); rs[i].Err == nil {
				atOld = append(atOld, i)
			}
		}
	}
	newHas := make([]bool, len(keys))
	for j, r := range s.askMany(ctx, s.new, keys, atNew, ttl) {
		i := atNew[j]
		newHas[i] = r.Err == nil
		s.asked(r.Err)
		if r.Err == nil {
			s.compare(phase.mode(keys[i]), keys[i])
		}
		if rs[i] = r; r.Err != nil && s.fallsBack(phase.mode(keys[i]), keys[i], r.Err) {
			atOld = append(atOld, i)
		}
	}
	var copies []string
	for j, r := range s.askMany(ctx, s.old, keys, atOld, ttl) {
		i, key := atOld[j], keys[atOld[j]]
		m := phase.mode(key)
		switch {
		case !m.newAnswers():
			if rs[i] = r; r.Err == nil && m == modeMirror {
				s.copyLater(key)
			}
		case r.Err == nil && !s.barred(s.old, key):
			if errors.Is(rs[i].Err, backends.ErrMiss) && !errors.Is(rs[i].Err, backends.ErrLeased) {
				copies = append(copies, key)
			}
			rs[i] = r
		case r.Err == nil:
			s.counts.barred.Add(1)
		default:
			rs[i].Err = s.merge(ctx, t, key, rs[i].Err, r.Err)
		}
	}
	s.copyNow(ctx, t, copies...)
	for i, r := range rs {
		from := s.old
		if newHas[i] {
			from = s.new
		}
		s.counted(from, r.Item, r.Err)
	}
	return rs
}

func (s *Store) askMany(ctx context.Context, m *member, keys []string, at []int, ttl bool) []backends.Result {
	if len(at) == 0 {
		return nil
	}
	some := make([]string, len(at))
	for j, i := range at {
		some[j] = keys[i]
	}
	return m.getMany(ctx, some, ttl)
}
