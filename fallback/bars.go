package fallback

import (
	"context"
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
	if until := o.until.Load(); until != 0 && time.Now().UnixNano() < until {
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
	if until := o.until.Load(); until != 0 && time.Now().UnixNano() < until {
		n++
	}
	return n
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

// batch returns some debts; none means that whoever delivers is done.
func (o *outbox) batch() (keys []string, debts []debt) {
	const most = 256
	o.mu.Lock()
	defer o.mu.Unlock()
	for k, d := range o.keys {
		if keys, debts = append(keys, k), append(debts, d); len(keys) == most {
			break
		}
	}
	o.sending = len(keys) > 0
	return keys, debts
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

// deliver tells m what it is owed until nothing is left or the Store is closed.
func (s *Store) deliver(m *member) {
	const first, longest = 20 * time.Millisecond, 2 * time.Second
	wait := first
	for {
		keys, debts := m.owed.batch()
		if len(keys) == 0 {
			return
		}
		errs := m.deleteMany(s.ctx, keys)
		failed := false
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
	if !s.barred(m, key) {
		return nil
	}
	if err := s.tell(ctx, m, key); err != nil {
		return err
	}
	if s.barred(m, key) { // all of it, since too much was owed
		return &backends.Error{Op: "get", Store: m.name, Key: key, Err: backends.ErrUnavailable}
	}
	return nil
}
