package backendtest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
	"pgregory.net/rapid"
)

// RunModel makes random calls on a store and compares every answer with a model that is simple
// enough to be right. What differs is shrunk to a short sequence of calls, which is printed. It
// runs as many sequences as the flag -rapid.checks says. The maker is called once.
//
// Time passes only where the harness has Advance.
func RunModel(t *testing.T, maker Maker) {
	t.Helper()
	h := maker(t)
	defer closeHarness(h)
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(modelT{rt}, h, func(n int, what string) int {
			return rapid.IntRange(0, n-1).Draw(rt, what)
		})
		for range rapid.IntRange(1, modelSteps).Draw(rt, "steps") {
			m.step()
		}
	})
}

// modelSteps is the length of the longest sequence: a lease, what may come between, a fill, and
// a look at the outcome, a few times over.
const modelSteps = 40

// modelT is a rapid.T as a [T].
type modelT struct{ *rapid.T }

// model is what a store should hold. Two keys are for values, one for a counter; the more keys,
// the less happens to each.
type model struct {
	*env
	choose func(n int, what string) int
	tick   time.Duration // time passes in whole ticks, lifetimes end at half ones
	now    time.Duration
	keys   map[string]*state
	writes int // makes every value different, so that none can be taken for another
	leases []heldLease
	tokens []heldToken
	steps  []func()
	log    []string
}

// state is what one key holds.
type state struct {
	present bool
	kind    wire.Kind // Lease, Tombstone, or Foreign for any value
	item    backends.Item
	version uint64 // of the record
	expires time.Duration
	write   int // which write put it there
}

type heldLease struct {
	key   string
	write int
	lease backends.Lease
}

type heldToken struct {
	key   string
	write int
	tok   backends.Token
}

func newModel(t T, h Harness, choose func(n int, what string) int) *model {
	e := newEnv(t.Context(), t, h)
	m := &model{env: e, choose: choose, tick: max(time.Second, 10*e.TTLResolution), keys: map[string]*state{}}
	m.steps = []func(){m.get, m.get, m.set, m.delete}
	add := func(has bool, steps ...func()) {
		if has {
			m.steps = append(m.steps, steps...)
		}
	}
	c := e.caps
	add(c.Batcher != nil, m.getMany, m.setMany, m.deleteMany)
	add(c.CASer != nil, m.addIfAbsent, m.swap, m.swap, m.deleteIf)
	add(c.Leaser != nil, m.acquire, m.acquire)
	add(c.Fencer != nil, m.seize)
	add(c.Leaser != nil || c.Fencer != nil, m.fillLease, m.fillLease, m.releaseLease)
	add(c.Versioner != nil, m.setNewer)
	add(c.Tombstoner != nil, m.deleteHold)
	add(c.Toucher != nil, m.touch)
	add(c.Incrementer != nil, m.increment)
	add(c.TTLer != nil, m.getTTL)
	add(h.Advance != nil, m.advance)
	return m
}

func (m *model) step() { m.steps[m.choose(len(m.steps), "step")]() }

// note keeps what was done, for the report of a difference.
func (m *model) note(format string, args ...any) { m.log = append(m.log, fmt.Sprintf(format, args...)) }

// same wants the answer the model gives.
func (m *model) same(got, want error, what string) {
	m.Helper()
	if want == nil && got == nil || want != nil && errors.Is(got, want) {
		return
	}
	m.Fatalf("%s: got %v, want %v, after:\n  %s", what, got, want, strings.Join(m.log, "\n  "))
}

func (m *model) pickKey() (string, *state) {
	k := m.key([]string{"a", "b"}[m.choose(2, "key")])
	return k, m.at(k)
}

// at returns what key holds now.
func (m *model) at(key string) *state {
	s := m.keys[key]
	if s == nil || s.present && s.expires > 0 && s.expires <= m.now {
		s = &state{}
		m.keys[key] = s
	}
	return s
}

// miss is how a read of s misses; nil if it hits.
func (s *state) miss() error {
	switch {
	case !s.present:
		return backends.ErrMiss
	case s.kind == wire.Lease:
		return backends.ErrLeased
	case s.kind == wire.Tombstone:
		return backends.ErrHeldOff
	}
	return nil
}

func (m *model) lifetime() time.Duration {
	if m.Advance == nil {
		return []time.Duration{0, hour}[m.choose(2, "ttl")]
	}
	if n := m.choose(4, "ttl"); n > 0 {
		return time.Duration(n)*m.tick - m.tick/2
	}
	return 0
}

// hold is a lifetime that is not 0.
func (m *model) hold() time.Duration {
	if m.Advance == nil {
		return hour
	}
	return time.Duration(1+m.choose(3, "hold"))*m.tick - m.tick/2
}

// newItem is a value that was never written before.
func (m *model) newItem() backends.Item {
	m.writes++
	it := versioned(uint64(m.choose(4, "version")), fmt.Sprint("value ", m.writes))
	if m.choose(2, "framed") == 0 {
		it = item(fmt.Sprint("value ", m.writes))
	}
	it.TTL = m.lifetime()
	return it
}

func (m *model) put(key string, it backends.Item) {
	m.place(key, wire.Foreign, it.TTL)
	s := m.keys[key]
	s.item, s.version = it, wire.VersionOf(it.Value)
}

func (m *model) place(key string, kind wire.Kind, ttl time.Duration) {
	m.writes++
	s := &state{kind: kind, present: true, write: m.writes}
	if ttl > 0 {
		s.expires = m.now + ttl
	}
	m.keys[key] = s
}

// read compares one answer of a read, and keeps the token.
func (m *model) read(key string, it backends.Item, err error, what string) {
	m.Helper()
	s := m.at(key)
	m.same(err, s.miss(), what)
	if err != nil {
		if s.miss() == backends.ErrMiss && (errors.Is(err, backends.ErrLeased) || errors.Is(err, backends.ErrHeldOff)) {
			m.Fatalf("%s: got %v, want a plain miss, after:\n  %s", what, err, strings.Join(m.log, "\n  "))
		}
		return
	}
	if string(it.Value) != string(s.item.Value) {
		m.Fatalf("%s: got %q, want %q, after:\n  %s", what, it.Value, s.item.Value, strings.Join(m.log, "\n  "))
	}
	left := s.expires - m.now
	switch {
	case it.TTL == backends.TTLUnknown:
	case s.expires == 0 && it.TTL != 0, s.expires > 0 && (it.TTL <= 0 || it.TTL > left+m.TTLResolution):
		m.Fatalf("%s: TTL %v, want %v, after:\n  %s", what, it.TTL, max(0, left), strings.Join(m.log, "\n  "))
	}
	if m.caps.CASer != nil {
		m.tokens = append(m.tokens, heldToken{key, s.write, it.Token})
	}
}

func (m *model) get() {
	key, _ := m.pickKey()
	m.note("get %s", key)
	it, err := m.Store.Get(m.ctx, key)
	m.read(key, it, err, "get")
}

func (m *model) getTTL() {
	key, _ := m.pickKey()
	m.note("getttl %s", key)
	it, err := m.caps.TTLer.GetTTL(m.ctx, key)
	if err == nil && it.TTL < 0 {
		m.Fatalf("getttl: TTL %v", it.TTL)
	}
	m.read(key, it, err, "getttl")
}

func (m *model) getMany() {
	keys := m.env.keys("a", "none", "b", "a")
	m.note("getmany %q", keys)
	for i, r := range m.caps.Batcher.GetMany(m.ctx, keys) {
		m.read(keys[i], r.Item, r.Err, "getmany")
	}
}

func (m *model) set() {
	key, _ := m.pickKey()
	it := m.newItem()
	m.note("set %s to %q for %v", key, it.Value, it.TTL)
	m.same(m.Store.Set(m.ctx, key, it), nil, "set")
	m.put(key, it)
}

func (m *model) setMany() {
	entries := []backends.KeyItem{{Key: m.key("a"), Item: m.newItem()}, {Key: m.key("b"), Item: m.newItem()}}
	m.note("setmany a to %q for %v, b to %q for %v", entries[0].Item.Value, entries[0].Item.TTL, entries[1].Item.Value, entries[1].Item.TTL)
	for _, err := range m.caps.Batcher.SetMany(m.ctx, entries) {
		m.same(err, nil, "setmany")
	}
	for _, en := range entries {
		m.put(en.Key, en.Item)
	}
}

func (m *model) delete() {
	key, _ := m.pickKey()
	m.note("delete %s", key)
	m.same(m.Store.Delete(m.ctx, key), nil, "delete")
	m.keys[key] = &state{}
}

func (m *model) deleteMany() {
	keys := m.env.keys("a", "b")
	m.note("deletemany %q", keys)
	for _, err := range m.caps.Batcher.DeleteMany(m.ctx, keys) {
		m.same(err, nil, "deletemany")
	}
	for _, key := range keys {
		m.keys[key] = &state{}
	}
}

func (m *model) advance() {
	d := time.Duration(1+m.choose(3, "ticks")) * m.tick
	m.note("%v pass", d)
	m.Advance(d)
	m.now += d
}

func (m *model) touch() {
	key, s := m.pickKey()
	if want := s.miss(); want == nil || want == backends.ErrMiss { // of leases the contract says nothing
		ttl := m.lifetime()
		m.note("touch %s for %v", key, ttl)
		m.same(m.caps.Toucher.Touch(m.ctx, key, ttl), want, "touch")
		if s.expires = 0; ttl > 0 {
			s.expires = m.now + ttl
		}
	}
}

func (m *model) increment() {
	key := m.key("counter")
	s := m.at(key)
	delta, initial, ttl := int64(m.choose(5, "delta")), int64(m.choose(100, "initial")), m.lifetime()
	m.note("increment %s by %d from %d for %v", key, delta, initial, ttl)
	want := initial
	if s.present {
		old, _ := strconv.ParseInt(string(s.item.Value), 10, 64)
		want = old + delta
	}
	got, err := m.caps.Incrementer.Increment(m.ctx, key, delta, initial, ttl)
	m.same(err, nil, "increment")
	if got != want {
		m.Fatalf("increment: got %d, want %d, after:\n  %s", got, want, strings.Join(m.log, "\n  "))
	}
	if !s.present {
		m.put(key, backends.Item{TTL: ttl})
	}
	m.keys[key].item.Value = strconv.AppendInt(nil, want, 10)
	it, err := m.Store.Get(m.ctx, key)
	m.same(err, nil, "get of a counter")
	if string(it.Value) != strconv.FormatInt(want, 10) {
		m.Fatalf("get of a counter: %q, want %d", it.Value, want)
	}
}

// take removes and returns one of s.
func take[E any](m *model, s *[]E, what string) (e E, ok bool) {
	if len(*s) == 0 {
		return e, false
	}
	i := m.choose(len(*s), what)
	e = (*s)[i]
	*s = slices.Delete(*s, i, i+1)
	return e, true
}
