package fallback

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// outbox holds the keys that a member may have an older value of, because it could not be told
// that they changed. Such a key is barred: this process does not read it from the member until
// the member was told. The zero outbox has no limit set.
type outbox struct {
	limit  int
	length atomic.Int64 // of keys, for the path where nothing is owed
	until  atomic.Int64 // Unix nanoseconds until which everything is barred; 0 = nothing is

	mu      sync.Mutex
	keys    map[string]debt
	seq     uint64
	sending bool // somebody delivers
}

// debt is one invalidation that is owed. A newer one of the same key takes its place.
type debt struct {
	seq  uint64
	held time.Time // new keeps the key closed until then; zero = it does not
}

// bars reports whether key must not be read from the member.
func (o *outbox) bars(key string) bool {
	if !o.shutUntil().IsZero() {
		return true
	}
	if o.length.Load() == 0 {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.keys[key]
	return ok
}

// count returns how much is owed; what there was no room for counts as one.
func (o *outbox) count() int {
	n := int(o.length.Load())
	if !o.shutUntil().IsZero() {
		n++
	}
	return n
}

// shutUntil returns until when everything is barred; zero = not everything is.
func (o *outbox) shutUntil() time.Time {
	until := o.until.Load()
	if until == 0 || time.Now().UnixNano() >= until {
		return time.Time{}
	}
	return time.Unix(0, until)
}

// mark is the moment before an invalidation is tried: it settles older debts, not newer ones.
func (o *outbox) mark() uint64 {
	if o.length.Load() == 0 {
		return 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seq
}

// settle says that the member was told of key after mark.
func (o *outbox) settle(key string, mark uint64) {
	if mark == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if d, ok := o.keys[key]; ok && d.seq <= mark {
		delete(o.keys, key)
		o.length.Store(int64(len(o.keys)))
	}
}

// add owes key. It reports whether somebody must begin to deliver, and whether there was room.
func (o *outbox) add(key string, held time.Time, longest time.Duration) (deliver, room bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.keys == nil {
		o.keys = make(map[string]debt)
	}
	if _, known := o.keys[key]; !known && len(o.keys) >= o.limit {
		o.until.Store(time.Now().Add(longest).UnixNano())
		return false, false
	}
	o.seq++
	o.keys[key] = debt{seq: o.seq, held: held}
	o.length.Store(int64(len(o.keys)))
	deliver = !o.sending
	o.sending = true
	return deliver, true
}

// all returns the debts; none means that whoever delivers is done.
func (o *outbox) all() (keys []string, debts []debt) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for k, d := range o.keys {
		keys, debts = append(keys, k), append(debts, d)
	}
	o.sending = len(keys) > 0
	return keys, debts
}

// shut bars everything until then (Unix nanoseconds), or for longer if it is shut already.
func (o *outbox) shut(until int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.until.Store(max(until, o.until.Load()))
}

// empty forgets all debts.
func (o *outbox) empty() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.keys)
	o.length.Store(0)
	o.until.Store(0)
}

// barred reports whether key must not be read from m.
func (s *Store) barred(m *member, key string) bool { return !s.off.bars && m.owed.bars(key) }

// tell makes m forget key, now or later: an error means that it is owed.
func (s *Store) tell(ctx context.Context, m *member, key string) error {
	mark := m.owed.mark()
	err := m.delete(ctx, key)
	s.told(m, key, mark, err)
	return err
}

// tellMany is tell for many keys; nil when all were told.
func (s *Store) tellMany(ctx context.Context, m *member, keys []string) []error {
	if len(keys) == 0 {
		return nil
	}
	mark := m.owed.mark()
	errs := m.deleteMany(ctx, keys)
	for i, key := range keys {
		if errs == nil {
			s.told(m, key, mark, nil)
		} else {
			s.told(m, key, mark, errs[i])
		}
	}
	return errs
}

// told notes what came of making m forget key, which was begun at mark. Whatever it was, there
// may be no copy of key any more, so the next read may begin one.
func (s *Store) told(m *member, key string, mark uint64, err error) {
	s.recent.forget(key)
	switch {
	case err == nil:
		m.owed.settle(key, mark)
	case !backends.IsRefusal(err):
		s.owe(m, key, time.Time{})
	}
}

// owe bars key on m until it was delivered, in the background.
func (s *Store) owe(m *member, key string, held time.Time) {
	deliver, room := m.owed.add(key, held, s.cfg.LongestTTL)
	s.counts.owed.Add(1)
	if !room {
		s.observe(Event{Kind: EventOverflow, Member: m.name, Key: key})
		return
	}
	s.observe(Event{Kind: EventOwed, Member: m.name, Key: key})
	if deliver && !s.spawn(func() { s.deliver(m) }) {
		m.owed.mu.Lock()
		m.owed.sending = false
		m.owed.mu.Unlock()
	}
}

// deliver tells m what it is owed until nothing is left or the Store is closed. Of each round it
// tries everything, so that the keys of a dead server do not hold up those of the others.
func (s *Store) deliver(m *member) {
	const first, longest, batch = 20 * time.Millisecond, 2 * time.Second, 256
	wait := first
	for {
		keys, debts := m.owed.all()
		if len(keys) == 0 {
			return
		}
		failed := false
		for len(keys) > 0 {
			n := min(len(keys), batch)
			failed = s.deliverSome(m, keys[:n], debts[:n]) || failed
			keys, debts = keys[n:], debts[n:]
		}
		if !failed {
			wait = first
			continue
		}
		select {
		case <-s.ctx.Done():
			m.owed.mu.Lock()
			m.owed.sending = false
			m.owed.mu.Unlock()
			return
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
		wait = min(2*wait, longest)
	}
}

// deliverSome tells m of keys, and reports whether some of it failed.
func (s *Store) deliverSome(m *member, keys []string, debts []debt) (failed bool) {
	errs := m.deleteMany(s.ctx, keys)
	for i, key := range keys {
		if errs != nil && errs[i] != nil {
			failed = true
			s.renew(m, key, debts[i])
			continue
		}
		s.told(m, key, debts[i].seq, nil)
		s.counts.delivered.Add(1)
		s.observe(Event{Kind: EventDelivered, Member: m.name, Key: key})
		if !debts[i].held.IsZero() {
			_ = s.new.delete(s.ctx, key) // opens it again; what is lost at worst is a value
		}
	}
	return failed
}

// renew keeps a deleted key closed on new while old cannot be told of the delete.
func (s *Store) renew(m *member, key string, d debt) {
	if d.held.IsZero() || time.Until(d.held) > s.cfg.Hold/2 {
		return
	}
	if _, err := s.new.get(s.ctx, key, false); err == nil || !absent(err) {
		return // there is a value again, which keeps old from being read as well
	}
	if s.closeKey(s.ctx, key) != nil {
		return
	}
	m.owed.mu.Lock()
	defer m.owed.mu.Unlock()
	if now, ok := m.owed.keys[key]; ok && now.seq == d.seq {
		now.held = time.Now().Add(s.cfg.Hold)
		m.owed.keys[key] = now
	}
}

// closeKey leaves a mark in new that stops every process from reading key in old.
func (s *Store) closeKey(ctx context.Context, key string) error {
	return s.new.do(ctx, "deletehold", key, func(ctx context.Context, k string) error {
		return s.new.caps.Tombstoner.DeleteHold(ctx, k, s.cfg.Hold, 0)
	})
}

// settle tries to tell m of key if that is owed, since m is the authority and has to be asked.
func (s *Store) settle(ctx context.Context, m *member, key string) error {
	switch {
	case !s.barred(m, key):
		return nil
	case m.owed.shutUntil().IsZero():
		return s.tell(ctx, m, key)
	}
	return &backends.Error{Op: "get", Store: m.name, Key: key, Err: errShut}
}

// errShut: nothing is read from a member that is owed too much.
var errShut = fmt.Errorf("fallback: it is owed more invalidations than MaxOwed (%w)", backends.ErrUnavailable)

// Emptied says that everything this Store had in a member was removed there, such as by a flush of
// its servers: it is owed nothing any more, and is read again where it was shut for an overflow of
// Config.MaxOwed. Each member of a chain of olds has its own name; where several were emptied, say
// so of each. Every process has to say so for itself; one that starts anew owes nothing. A name
// that no member has is refused.
func (s *Store) Emptied(name string) error {
	switch {
	case name == s.new.name:
		s.new.owed.empty()
		return nil
	case s.nested != nil && s.nested.has(name):
		s.splitShut()
		return s.nested.Emptied(name)
	case s.nested == nil && name == s.old.name:
		s.old.owed.empty()
		return nil
	}
	return fmt.Errorf("fallback: no member is called %q", name)
}

// has reports whether a member, or one of the chain of olds, is called name.
func (s *Store) has(name string) bool {
	if s.nested != nil {
		return name == s.new.name || s.nested.has(name)
	}
	return name == s.new.name || name == s.old.name
}

// splitShut shuts the members of a chain one by one in place of the chain: what it was owed too
// much of, each of them may lack. Single keys stay owed to the chain until they were delivered.
func (s *Store) splitShut() {
	until := s.old.owed.until.Load()
	s.nested.new.owed.shut(until)
	s.nested.old.owed.shut(until)
	s.old.owed.until.CompareAndSwap(until, 0) // unless it was shut anew
}

// oldShutUntil is until when nothing is read from old, or from a member of a chain of olds.
func (s *Store) oldShutUntil() time.Time {
	until := s.old.owed.shutUntil()
	if s.nested == nil {
		return until
	}
	for _, t := range []time.Time{s.nested.new.owed.shutUntil(), s.nested.oldShutUntil()} {
		if t.After(until) {
			until = t
		}
	}
	return until
}
