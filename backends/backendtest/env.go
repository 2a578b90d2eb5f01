package backendtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

// hour is a lifetime that no case outlives.
const hour = time.Hour

// env is what a case works with: the harness, the capabilities, and checks that read as
// sentences.
type env struct {
	T
	Harness
	caps backends.Caps
	ctx  context.Context
	unit time.Duration // a short lifetime
	name string        // what all keys of the case begin with
}

// runs makes keys unique in a process, its base between processes that share a server.
var (
	runs    atomic.Uint64
	runBase = rand.Uint64()
)

func newEnv(ctx context.Context, t T, h Harness) *env {
	if h.TTLResolution <= 0 {
		h.TTLResolution = time.Millisecond
	}
	unit := 300 * time.Millisecond // what a busy machine may stall for without failing a case
	if h.Advance != nil {
		unit = max(time.Minute, 10*h.TTLResolution)
	}
	return &env{
		T: t, Harness: h, caps: backends.CapsOf(h.Store), ctx: ctx, unit: unit,
		name: fmt.Sprintf("bt:%x:%d:", runBase, runs.Add(1)),
	}
}

// key returns a key that no other case uses.
func (e *env) key(name string) string { return e.name + name }

func (e *env) keys(names ...string) []string {
	keys := make([]string, len(names))
	for i, n := range names {
		keys[i] = e.key(n)
	}
	return keys
}

func item(v string) backends.Item { return backends.Item{Value: []byte(v)} }

func itemTTL(v string, ttl time.Duration) backends.Item {
	return backends.Item{Value: []byte(v), TTL: ttl}
}

// versioned is a value that carries a version, as a frame does.
func versioned(version uint64, text string) backends.Item {
	b := make([]byte, wire.HeadLen, wire.HeadLen+len(text))
	b[0], b[1], b[2] = wire.Magic, byte(wire.Frame), wire.FormatVersion
	binary.BigEndian.PutUint64(b[wire.VersionOffset:], version)
	return backends.Item{Value: append(b, text...)}
}

// pass lets d of the server's time pass.
func (e *env) pass(d time.Duration) {
	if e.Advance != nil {
		e.Advance(d)
		return
	}
	select {
	case <-time.After(d):
	case <-e.ctx.Done():
	}
}

// outlive lets a lifetime of d run out, for the slowest store that is still right.
func (e *env) outlive(d time.Duration) {
	slack := e.TTLResolution
	if e.Advance == nil {
		slack += 50 * time.Millisecond // the two clocks are not read at the same moment
	}
	e.pass(d + slack)
}

func (e *env) ok(err error, what string) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", what, err)
	}
}

func (e *env) is(err, want error, what string) {
	e.Helper()
	if !errors.Is(err, want) {
		e.Fatalf("%s: got %v, want %v", what, err, want)
	}
}

func (e *env) set(key, v string) {
	e.Helper()
	e.setItem(key, item(v))
}

func (e *env) setItem(key string, it backends.Item) {
	e.Helper()
	e.ok(e.Store.Set(e.ctx, key, it), "set")
}

func (e *env) delete(key string) {
	e.Helper()
	e.ok(e.Store.Delete(e.ctx, key), "delete")
}

func (e *env) get(key string) backends.Item {
	e.Helper()
	it, err := e.Store.Get(e.ctx, key)
	if err != nil {
		e.Fatalf("get %.60q: %v", key, err)
	}
	return it
}

func (e *env) holds(key, v string) {
	e.Helper()
	e.holdsItem(key, item(v))
}

func (e *env) holdsItem(key string, want backends.Item) {
	e.Helper()
	if got := e.get(key); !bytes.Equal(got.Value, want.Value) {
		e.Fatalf("get %.60q: got %.60q, want %.60q", key, got.Value, want.Value)
	}
}

// missing wants a miss of any kind.
func (e *env) missing(key string) {
	e.Helper()
	it, err := e.Store.Get(e.ctx, key)
	if err == nil {
		e.Fatalf("get %.60q: got %.60q, want a miss", key, it.Value)
	}
	e.is(err, backends.ErrMiss, "get of an absent key")
}

// absent wants a miss that is neither a lease nor a hold-off.
func (e *env) absent(key string) {
	e.Helper()
	e.missing(key)
	if _, err := e.Store.Get(e.ctx, key); errors.Is(err, backends.ErrLeased) || errors.Is(err, backends.ErrHeldOff) {
		e.Fatalf("get %.60q: got %v, want nothing to be there at all", key, err)
	}
}

func (e *env) getErr(key string, want error) {
	e.Helper()
	it, err := e.Store.Get(e.ctx, key)
	if err == nil {
		e.Fatalf("get %.60q: got %.60q, want %v", key, it.Value, want)
	}
	e.is(err, want, "get")
}

// acquire wants the lease.
func (e *env) acquire(key string, hold time.Duration) backends.Lease {
	e.Helper()
	l, it, err := e.caps.Leaser.Acquire(e.ctx, key, hold)
	if err != nil || l == nil {
		e.Fatalf("acquire %.60q: got lease %v, item %.60q, error %v; want the lease", key, l, it.Value, err)
	}
	return l
}

// acquireErr wants no lease and an answer why.
func (e *env) acquireErr(key string, want error) {
	e.Helper()
	l, it, err := e.caps.Leaser.Acquire(e.ctx, key, hour)
	if l != nil || err == nil {
		e.Fatalf("acquire %.60q: got lease %v, item %.60q, error %v; want %v", key, l, it.Value, err, want)
	}
	e.is(err, want, "acquire")
}

// token reads the version that key holds.
func (e *env) token(key string) backends.Token {
	e.Helper()
	tok := e.get(key).Token
	if tok.IsZero() {
		e.Fatalf("get %.60q: zero token from a store that is a CASer", key)
	}
	return tok
}

// allOK wants a batch without failures.
func (e *env) allOK(errs []error, what string) {
	e.Helper()
	for i, err := range errs {
		if err != nil {
			e.Fatalf("%s: entry %d: %v", what, i, err)
		}
	}
}

func can(has func(c backends.Caps) bool) func(Harness, backends.Caps) bool {
	return func(_ Harness, c backends.Caps) bool { return has(c) }
}

var (
	needBatcher    = can(func(c backends.Caps) bool { return c.Batcher != nil })
	needCASer      = can(func(c backends.Caps) bool { return c.CASer != nil })
	needLeaser     = can(func(c backends.Caps) bool { return c.Leaser != nil })
	needRefresher  = can(func(c backends.Caps) bool { return c.Refresher != nil })
	needFencer     = can(func(c backends.Caps) bool { return c.Fencer != nil })
	needVersioner  = can(func(c backends.Caps) bool { return c.Versioner != nil })
	needTombstoner = can(func(c backends.Caps) bool { return c.Tombstoner != nil })
	needToucher    = can(func(c backends.Caps) bool { return c.Toucher != nil })
	needIncr       = can(func(c backends.Caps) bool { return c.Incrementer != nil })
	needTTLer      = can(func(c backends.Caps) bool { return c.TTLer != nil })
	needScanner    = can(func(c backends.Caps) bool { return c.Scanner != nil })
	needBatchLease = can(func(c backends.Caps) bool { return c.BatchLeaser != nil && c.Leaser != nil })
)

// both joins two conditions.
func both(a, b func(Harness, backends.Caps) bool) func(Harness, backends.Caps) bool {
	return func(h Harness, c backends.Caps) bool { return a(h, c) && b(h, c) }
}
