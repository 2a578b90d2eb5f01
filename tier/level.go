package tier

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/fence"
	"github.com/hearthcache/hearth/internal/guard"
)

// level is one remote tier as the cache uses it: keys get the namespace, every call passes the
// guard (deadline, bulkhead, breaker), and errors are wrapped here, once.
type level struct {
	index   int
	name    string
	prefix  string // namespace and separator
	store   backends.Store
	caps    backends.Caps
	ttl     time.Duration // cap on lifetimes; 0 = none
	timeout time.Duration
	guard   *guard.Guard
	owed    *outbox                     // invalidations that did not get through
	nearer  *level                      // nil: none
	farther *level                      // nil: the authority
	clear   func(context.Context) error // clears the namespace; nil without barriers
	tell    func(keys []string)         // tells other processes of a late delivery
	report  func(context.Context, Event)
	counts  [numLevelCounts]atomic.Int64
}

// observer is the part of the cache that a level reports to.
type observer interface {
	observe(ctx context.Context, ev Event)
}

func newLevel(index int, r Remote, namespace string, life time.Duration, o observer) (*level, error) {
	lv := &level{index: index, name: r.Name, store: r.Store, caps: backends.CapsOf(r.Store), ttl: r.TTL, timeout: r.Timeout, owed: newOutbox(life), report: o.observe}
	if namespace != "" {
		lv.prefix = namespace + ":"
	}
	var err error
	lv.guard, err = guard.New(guard.Config{
		Name:          r.Name,
		Timeout:       r.Timeout,
		MaxConcurrent: r.MaxConcurrent,
		Breaker: guard.BreakerConfig{
			Disabled:            r.Breaker.Disabled,
			Window:              r.Breaker.Window,
			MinCalls:            r.Breaker.MinCalls,
			FailureRatio:        r.Breaker.FailureRatio,
			ConsecutiveTimeouts: r.Breaker.Timeouts,
			OpenFor:             r.Breaker.OpenFor,
			MaxOpenFor:          r.Breaker.MaxOpenFor,
		},
		OnStateChange: func(from, to guard.State, cause error) {
			o.observe(context.Background(), Event{Kind: EventBreaker, Tier: r.Name, State: to.String(), Err: cause})
		},
		BeforeClose: lv.drainFor,
	})
	return lv, err
}

func (l *level) key(key string) string { return l.prefix + key }

// keys is key for many. They share memory: a store that keeps one of them keeps all.
func (l *level) keys(keys []string) []string {
	if l.prefix == "" {
		return keys
	}
	size := 0
	for _, k := range keys {
		size += len(l.prefix) + len(k)
	}
	var all strings.Builder // one allocation for all of them
	all.Grow(size)
	out := make([]string, len(keys))
	for i, k := range keys {
		at := all.Len()
		all.WriteString(l.prefix)
		all.WriteString(k)
		out[i] = all.String()[at:]
	}
	return out
}

func (l *level) count(i levelCount) { l.counts[i].Add(1) }

// wrap says where an error happened. A miss of any kind is not wrapped.
func (l *level) wrap(op, key string, err error) error {
	if err == nil || errors.Is(err, ErrMiss) {
		return err
	}
	// ErrOpen is what every call gets while a tier is down: it is not compared with all answers.
	if errors.Is(err, guard.ErrOpen) || !backends.IsAnswer(err) {
		l.count(levelErrors)
	}
	return &backends.Error{Op: op, Store: l.name, Key: key, Err: err}
}

// call passes the guard.
func call[T any](ctx context.Context, l *level, fn func(ctx context.Context) (T, error)) (T, error) {
	if _, ok := ctx.(nobodys); ok && l.caps.Prompt {
		return guard.Inline(ctx, l.guard, fn)
	}
	return guard.Call(ctx, l.guard, l.caps.Prompt, fn)
}

// do is call for an operation without a result.
func (l *level) do(ctx context.Context, fn func(ctx context.Context) error) error {
	_, err := call(ctx, l, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
	return err
}

// barred returns why key must not be read here: an invalidation is still owed to this level.
func (l *level) barred(key string) error {
	if l.owed.has(key) && !fence.Removed(fence.Outbox) {
		l.count(levelBarred)
		return &backends.Error{Op: "get", Store: l.name, Key: key, Err: errOwed}
	}
	return nil
}

func (l *level) get(ctx context.Context, key string) (backends.Item, error) {
	if err := l.barred(key); err != nil {
		return backends.Item{}, err
	}
	k := l.key(key)
	it, err := call(ctx, l, func(ctx context.Context) (backends.Item, error) { return l.store.Get(ctx, k) })
	if err != nil {
		return it, l.wrap("get", key, err)
	}
	if err := l.barred(key); err != nil { // owed since the call began
		return backends.Item{}, err
	}
	return it, nil
}

// barredMany returns [level.barred] for each of keys; nil when none is.
func (l *level) barredMany(keys []string) []error {
	if !l.owed.any.Load() {
		return nil
	}
	errs := make([]error, len(keys))
	some := false
	for i, k := range keys {
		errs[i] = l.barred(k)
		some = some || errs[i] != nil
	}
	if !some {
		return nil
	}
	return errs
}

// getMany reads keys in one call; results in order. What is owed is looked at before and after
// it: an invalidation can be delivered while the call is under way, behind the value it read.
func (l *level) getMany(ctx context.Context, keys []string) []backends.Result {
	barred := l.barredMany(keys)
	ks := l.keys(keys)
	out, err := call(ctx, l, func(ctx context.Context) ([]backends.Result, error) {
		rs := backends.GetMany(ctx, l.store, ks)
		return rs, firstFailure(len(rs), func(i int) error { return rs[i].Err })
	})
	if len(out) != len(keys) { // the call itself did not come through
		out = make([]backends.Result, len(keys))
		for i := range out {
			out[i].Err = err
		}
	}
	for i, k := range keys {
		if barred != nil && barred[i] != nil {
			out[i] = backends.Result{Err: barred[i]}
		} else if err := l.barred(k); err != nil {
			out[i] = backends.Result{Err: err}
		} else {
			out[i].Err = l.wrap("get", k, out[i].Err)
		}
	}
	return out
}

// firstFailure returns the first of n errors that is no answer, for the breaker to see. One
// server of several is not the level.
func firstFailure(n int, at func(int) error) error {
	for i := range n {
		if err := at(i); !backends.IsAnswer(err) && !errors.Is(err, backends.ErrOneServer) {
			return err
		}
	}
	return nil
}

func (l *level) set(ctx context.Context, key string, it backends.Item, version uint64) error {
	k := l.key(key)
	err := l.do(ctx, func(ctx context.Context) error {
		if version > 0 && l.caps.Versioner != nil {
			return l.caps.Versioner.SetNewer(ctx, k, it)
		}
		return l.store.Set(ctx, k, it)
	})
	return l.wrap("set", key, err)
}

func (l *level) setMany(ctx context.Context, entries []backends.KeyItem) []error {
	for i := range entries {
		entries[i].Key = l.key(entries[i].Key)
	}
	errs, err := call(ctx, l, func(ctx context.Context) ([]error, error) {
		errs := backends.SetMany(ctx, l.store, entries)
		return errs, firstFailure(len(errs), func(i int) error { return errs[i] })
	})
	return l.spread("set", entries, errs, err)
}

// spread gives every entry its error; nil when there is none.
func (l *level) spread(op string, entries []backends.KeyItem, errs []error, err error) []error {
	if errs == nil && err == nil {
		return nil
	}
	out := make([]error, len(entries))
	for i := range out {
		e := err
		if errs != nil {
			e = errs[i]
		}
		out[i] = l.wrap(op, entries[i].Key[len(l.prefix):], e)
	}
	return out
}

func (l *level) delete(ctx context.Context, key string) error {
	k := l.key(key)
	return l.wrap("delete", key, l.do(ctx, func(ctx context.Context) error { return l.store.Delete(ctx, k) }))
}

func (l *level) deleteHold(ctx context.Context, key string, hold time.Duration, version uint64) error {
	k := l.key(key)
	return l.wrap("delete", key, l.do(ctx, func(ctx context.Context) error {
		return l.caps.Tombstoner.DeleteHold(ctx, k, hold, version)
	}))
}

func (l *level) deleteMany(ctx context.Context, keys []string) []error {
	ks := l.keys(keys)
	errs, err := call(ctx, l, func(ctx context.Context) ([]error, error) {
		errs := backends.DeleteMany(ctx, l.store, ks)
		return errs, firstFailure(len(errs), func(i int) error { return errs[i] })
	})
	if errs == nil && err == nil {
		return nil
	}
	out := make([]error, len(keys))
	for i := range out {
		e := err
		if errs != nil {
			e = errs[i]
		}
		out[i] = l.wrap("delete", keys[i], e)
	}
	return out
}

// discard removes key if it still is the version tok names; best effort, for values that nobody
// can read.
func (l *level) discard(ctx context.Context, key string, tok backends.Token) {
	if l.caps.CASer == nil || tok.IsZero() {
		return
	}
	k := l.key(key)
	_ = l.do(ctx, func(ctx context.Context) error { return l.caps.CASer.CompareAndDelete(ctx, k, tok) })
}

// granted is what Acquire returns besides its error.
type granted struct {
	lease backends.Lease
	item  backends.Item
}

func (l *level) acquire(ctx context.Context, key string, hold time.Duration) (backends.Lease, backends.Item, error) {
	if err := l.barred(key); err != nil {
		return nil, backends.Item{}, err
	}
	k := l.key(key)
	g, err := call(ctx, l, func(ctx context.Context) (g granted, err error) {
		g.lease, g.item, err = l.caps.Leaser.Acquire(ctx, k, hold)
		return g, err
	})
	if err == nil && g.lease != nil {
		l.count(levelLeases)
	}
	return g.lease, g.item, l.wrap("lease", key, err)
}

func (l *level) acquireRefresh(ctx context.Context, key string, tok backends.Token, hold time.Duration) (backends.Lease, error) {
	k := l.key(key)
	lease, err := call(ctx, l, func(ctx context.Context) (backends.Lease, error) {
		return l.caps.Refresher.AcquireRefresh(ctx, k, tok, hold)
	})
	return lease, l.wrap("lease", key, err)
}

// seize takes a lease over whatever is under key.
func (l *level) seize(ctx context.Context, key string, hold time.Duration) (backends.Lease, error) {
	k := l.key(key)
	lease, err := call(ctx, l, func(ctx context.Context) (backends.Lease, error) {
		return l.caps.Fencer.Seize(ctx, k, hold)
	})
	return lease, l.wrap("seize", key, err)
}

// fill stores it under the lease and reports whether it did. A lost lease means that somebody
// wrote or deleted the key since: the fill is dropped, which is the purpose of the lease.
func (l *level) fill(ctx context.Context, key string, lease backends.Lease, it backends.Item) bool {
	err := l.do(ctx, func(ctx context.Context) error { return lease.Fill(ctx, it) })
	switch {
	case err == nil:
		l.count(levelFills)
		return true
	case errors.Is(err, backends.ErrLeaseLost), errors.Is(err, backends.ErrConflict), errors.Is(err, ErrMiss):
		l.count(levelFillsLost)
	default:
		_ = l.wrap("fill", key, err) // counted
		l.count(levelFillsFailed)
		if backends.IsRefusal(err) || errors.Is(err, backends.ErrFull) { // else readers would wait for it
			l.release(ctx, key, lease)
		}
	}
	return false
}

// fillUnfenced stores it in a store that has no leases.
func (l *level) fillUnfenced(ctx context.Context, key string, it backends.Item) {
	if err := l.set(ctx, key, it, 0); err != nil {
		l.count(levelFillsFailed)
		return
	}
	l.count(levelFills)
}

func (l *level) release(ctx context.Context, key string, lease backends.Lease) {
	err := l.do(ctx, func(ctx context.Context) error { return lease.Release(ctx) })
	_ = l.wrap("release", key, err) // counted; the lease runs out by itself
}
