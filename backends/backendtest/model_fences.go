package backendtest

import (
	"errors"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

// The steps of the model in which a store has to refuse.

func (m *model) addIfAbsent() {
	key, s := m.pickKey()
	it := m.newItem()
	want := backends.ErrExists
	if miss := s.miss(); miss == backends.ErrHeldOff {
		want = miss
	} else if miss != nil {
		want = nil
	}
	m.note("add %s as %q for %v", key, it.Value, it.TTL)
	m.same(m.caps.CASer.Add(m.ctx, key, it), want, "add")
	if want == nil {
		m.put(key, it)
	}
}

// versionHeld is what a comparison with a token answers.
func (m *model) versionHeld(tok heldToken) error {
	switch s := m.at(tok.key); {
	case s.miss() != nil:
		return backends.ErrMiss
	case s.write != tok.write:
		return backends.ErrConflict
	}
	return nil
}

func (m *model) swap() {
	tok, ok := take(m, &m.tokens, "token")
	if !ok {
		return
	}
	it, want := m.newItem(), m.versionHeld(tok)
	m.note("swap %s, version %d, for %q", tok.key, tok.write, it.Value)
	m.same(m.caps.CASer.CompareAndSwap(m.ctx, tok.key, tok.tok, it), want, "compare-and-swap")
	if want == nil {
		m.put(tok.key, it)
	}
}

func (m *model) deleteIf() {
	tok, ok := take(m, &m.tokens, "token")
	if !ok {
		return
	}
	want := m.versionHeld(tok)
	m.note("delete %s if version %d", tok.key, tok.write)
	m.same(m.caps.CASer.CompareAndDelete(m.ctx, tok.key, tok.tok), want, "compare-and-delete")
	if want == nil {
		m.keys[tok.key] = &state{}
	}
}

func (m *model) acquire() {
	key, s := m.pickKey()
	hold := m.hold()
	m.note("acquire %s for %v", key, hold)
	l, it, err := m.caps.Leaser.Acquire(m.ctx, key, hold)
	switch miss := s.miss(); {
	case miss == nil:
		m.same(err, nil, "acquire of a value")
		if l != nil || string(it.Value) != string(s.item.Value) {
			m.Fatalf("acquire: lease %v, item %q, want no lease and %q", l, it.Value, s.item.Value)
		}
	case !errors.Is(miss, backends.ErrLeased) && !errors.Is(miss, backends.ErrHeldOff):
		m.same(err, nil, "acquire")
		m.granted(key, l, hold)
	default:
		m.same(err, miss, "acquire")
	}
}

func (m *model) granted(key string, l backends.Lease, hold time.Duration) {
	if l == nil {
		m.Fatalf("no lease and no error")
	}
	m.place(key, wire.Lease, hold)
	m.leases = append(m.leases, heldLease{key, m.keys[key].write, l})
}

func (m *model) seize() {
	key, _ := m.pickKey()
	hold := m.hold()
	m.note("seize %s for %v", key, hold)
	l, err := m.caps.Fencer.Seize(m.ctx, key, hold)
	m.same(err, nil, "seize")
	m.granted(key, l, hold)
}

func (m *model) fillLease() {
	l, ok := take(m, &m.leases, "lease")
	if !ok {
		return
	}
	it, s := m.newItem(), m.at(l.key)
	var want error
	if !s.present || s.kind != wire.Lease || s.write != l.write {
		want = backends.ErrLeaseLost
	}
	m.note("fill %s, lease %d, with %q for %v", l.key, l.write, it.Value, it.TTL)
	m.same(l.lease.Fill(m.ctx, it), want, "fill")
	if want == nil {
		m.put(l.key, it)
	}
	if m.choose(2, "keep") == 0 {
		m.leases = append(m.leases, l) // spent, or lost for good: every later use must say so
	}
}

func (m *model) releaseLease() {
	l, ok := take(m, &m.leases, "lease")
	if !ok {
		return
	}
	m.note("release %s, lease %d", l.key, l.write)
	m.same(l.lease.Release(m.ctx), nil, "release")
	if s := m.at(l.key); s.present && s.kind == wire.Lease && s.write == l.write {
		m.keys[l.key] = &state{}
	}
}

func (m *model) setNewer() {
	key, s := m.pickKey()
	it := m.newItem()
	var want error
	if s.present && s.kind != wire.Lease && wire.VersionOf(it.Value) <= s.version {
		want = backends.ErrOlder
	}
	m.note("setnewer %s to %q for %v", key, it.Value, it.TTL)
	m.same(m.caps.Versioner.SetNewer(m.ctx, key, it), want, "setnewer")
	if want == nil {
		m.put(key, it)
	}
}

func (m *model) deleteHold() {
	key, _ := m.pickKey()
	hold, version := m.hold(), uint64(m.choose(4, "version"))
	m.note("deletehold %s for %v at version %d", key, hold, version)
	m.same(m.caps.Tombstoner.DeleteHold(m.ctx, key, hold, version), nil, "deletehold")
	m.place(key, wire.Tombstone, hold)
	m.keys[key].version = version
}
