package fallback

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/codec"
)

// copyPatience is how long a read that old has answered waits for its copy: a healthy new takes a
// millisecond or two, and what a slow one takes beyond a tenth of a tier's call is nothing that
// the reader should pay for.
const copyPatience = 25 * time.Millisecond

// copyNow copies keys from old to new on behalf of a read, of term t, that has its answer already.
// Whoever asks for a key that is being copied shares that copy. One that fails, or for which there
// is no budget, is none.
func (s *Store) copyNow(ctx context.Context, t *term, keys ...string) {
	if len(keys) == 0 {
		return
	}
	s.behind(ctx, t, func(ctx context.Context) {
		each(keys, func(key string) { s.copyWithin(ctx, key) })
	})
}

// copyWithin is copyOnce if there is a budget for it.
func (s *Store) copyWithin(ctx context.Context, key string) {
	c, leader := s.copying.Join(key)
	if !leader {
		_, _ = c.Wait(ctx)
		return
	}
	defer c.Finish(struct{}{}, nil)
	if ctx.Err() != nil { // the batch has taken all of its time
		s.counts.copyRefused.Add(1)
		return
	}
	if s.mayCopy() {
		defer s.copied()
		s.copy(ctx, key)
	}
}

// behind does work for new in the background, on behalf of a caller that has its answer, and waits
// for it for copyPatience at most: a new that is slow holds nobody up. The work counts as one of
// the caller's term, so a fleet waits for it. What it began is fenced by its lease, however long
// it takes.
func (s *Store) behind(ctx context.Context, t *term, work func(ctx context.Context)) {
	t.again()
	done := make(chan struct{})
	if !s.spawn(func() {
		defer close(done)
		defer t.end()
		ctx, cancel := context.WithTimeout(s.ctx, s.cfg.CopyHold)
		defer cancel()
		work(ctx)
	}) {
		defer t.end()
		work(ctx)
		return
	}
	enough := time.NewTimer(s.patience)
	defer enough.Stop()
	select {
	case <-done:
	case <-ctx.Done():
	case <-enough.C:
	}
}

// each calls fn for every one of keys, for eight at a time, and waits for all.
func each(keys []string, fn func(key string)) {
	if len(keys) == 1 {
		fn(keys[0])
		return
	}
	var wg sync.WaitGroup
	places := make(chan struct{}, 8)
	for _, key := range keys {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			fn(key)
		})
	}
	wg.Wait()
}

// copyOnce shares a copy of key that is in progress, or makes it.
func (s *Store) copyOnce(ctx context.Context, key string) {
	c, leader := s.copying.Join(key)
	if !leader {
		_, _ = c.Wait(ctx)
		s.recent.forget(key) // it may have begun before the change that this caller copies
		return
	}
	defer c.Finish(struct{}{}, nil)
	s.copy(ctx, key)
}

// copyLater is a copy that nobody waits for, of keys that were not copied a moment ago.
func (s *Store) copyLater(key string) {
	if s.recent.has(key) || !s.mayCopy() {
		return
	}
	t := s.hold() // its caller does not wait for it, but a fleet does
	if !s.spawn(func() {
		defer s.copied()
		defer t.end()
		ctx, cancel := context.WithTimeout(s.ctx, s.cfg.CopyHold)
		defer cancel()
		s.recent.add(key)
		s.copyOnce(ctx, key)
	}) {
		t.end()
		s.copied()
	}
}

// mayCopy takes a place in the budget, if there is one.
func (s *Store) mayCopy() bool {
	if !s.pace.allow(time.Now()) {
		s.counts.copyRefused.Add(1)
		return false
	}
	select {
	case s.budget <- struct{}{}:
		return true
	default:
		s.counts.copyRefused.Add(1)
		return false
	}
}

func (s *Store) copied() { <-s.budget }

// copy is the fenced copy: the lease on new first, then the value of old, then the fill. What
// changes the key in between ends the lease.
func (s *Store) copy(ctx context.Context, key string) {
	if s.off.lease {
		s.copyUnfenced(ctx, key)
		return
	}
	l, _, err := s.new.acquire(ctx, key, s.cfg.CopyHold)
	if err != nil || l == nil { // leased by somebody, closed, there already, or new is unwell
		if !backends.IsAnswer(err) {
			s.copyLost(key, err)
		}
		return
	}
	it, err := s.original(ctx, key)
	if err != nil || s.barred(s.old, key) {
		s.giveBack(ctx, key, l)
		return
	}
	s.fillCopy(ctx, key, l, it)
}

// original reads what is to be copied.
func (s *Store) original(ctx context.Context, key string) (backends.Item, error) {
	it, err := s.old.raw(ctx, key, true)
	if err != nil {
		return it, err
	}
	it, _, err = s.copyOf(key, it)
	return it, err
}

// copyOf returns what a copy of raw, an item as old has it, is to be, and what it is to a reader.
func (s *Store) copyOf(key string, raw backends.Item) (original, seen backends.Item, err error) {
	if seen, err = s.old.read(key, raw); err != nil || s.cfg.LegacyCopies == LegacyReframed {
		return seen, seen, err
	}
	return raw, seen, nil
}

// fillCopy stores old's item under the lease. It reports whether new has it now.
func (s *Store) fillCopy(ctx context.Context, key string, l backends.Lease, it backends.Item) bool {
	ttl, ok := s.remaining(it)
	if !ok {
		s.giveBack(ctx, key, l)
		return false
	}
	err := s.new.fill(ctx, key, l, backends.Item{Value: it.Value, TTL: ttl, Flags: it.Flags})
	if err != nil {
		if errors.Is(err, backends.ErrLeaseLost) {
			s.recent.forget(key)
		}
		s.copyLost(key, err)
		if backends.IsRefusal(err) {
			s.giveBack(ctx, key, l)
		}
		return false
	}
	s.counts.copied.Add(1)
	s.saw(ttl)
	return true
}

// copyLost notes a copy that did not come about.
func (s *Store) copyLost(key string, err error) {
	s.counts.copyFailed.Add(1)
	if !backends.IsAnswer(err) && !backends.IsRefusal(err) {
		s.counts.copyUnanswered.Add(1)
	}
	s.observe(Event{Kind: EventCopyFailed, Member: s.new.name, Key: key, Err: err})
}

// giveBack releases a lease although the caller may have left.
func (s *Store) giveBack(ctx context.Context, key string, l backends.Lease) {
	if ctx.Err() == nil {
		_ = s.new.release(ctx, key, l)
		return
	}
	s.spawn(func() { _ = s.new.release(s.ctx, key, l) })
}

// copyUnfenced is what other systems do: read old, add to new.
func (s *Store) copyUnfenced(ctx context.Context, key string) {
	it, err := s.original(ctx, key)
	if err != nil {
		return
	}
	if ttl, ok := s.remaining(it); ok {
		_ = s.new.do(ctx, "add", key, func(ctx context.Context, k string) error {
			return s.new.caps.CASer.Add(ctx, k, backends.Item{Value: it.Value, TTL: ttl, Flags: it.Flags})
		})
	}
}

// remaining returns how long a copy of it may live; ok is false if it must not be copied any
// more. A lifetime that nobody knows is Config.UnknownTTL, never "no expiry".
func (s *Store) remaining(it backends.Item) (ttl time.Duration, ok bool) {
	ttl = it.TTL
	if h, err := codec.ParseHeader(it.Value); err == nil && h.Expires != 0 {
		left := time.Until(time.UnixMilli(h.Expires))
		if left <= 0 {
			return 0, false
		}
		if ttl <= 0 || left < ttl {
			ttl = left
		}
	}
	if ttl < 0 {
		ttl = s.cfg.UnknownTTL
	}
	return ttl, true
}

// pace lets so many through per second, and a tenth of a second's worth at once.
type pace struct {
	perSecond int

	mu   sync.Mutex
	next time.Time // when the next one is due
}

func (p *pace) allow(now time.Time) bool {
	if p.perSecond <= 0 {
		return true
	}
	step := time.Second / time.Duration(p.perSecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	if earliest := now.Add(-100 * time.Millisecond); p.next.Before(earliest) {
		p.next = earliest
	}
	if p.next.After(now) {
		return false
	}
	p.next = p.next.Add(step)
	return true
}

// recent remembers keys that a background copy was begun for, so that a popular key does not
// cost new a question at each read. It forgets by the minute, and whenever a store was to forget
// the key or a copy lost its lease: each time there may be no copy any more.
type recent struct {
	slots [4096]atomic.Uint64
}

func (r *recent) slot(key string) (*atomic.Uint64, uint64) {
	h := xxhash.Sum64String(key)
	return &r.slots[h%uint64(len(r.slots))], h + uint64(time.Now().Unix()/60) | 1
}

func (r *recent) has(key string) bool {
	slot, mark := r.slot(key)
	return slot.Load() == mark
}

func (r *recent) add(key string) {
	slot, mark := r.slot(key)
	slot.Store(mark)
}

func (r *recent) forget(key string) {
	slot, _ := r.slot(key)
	slot.Store(0)
}
