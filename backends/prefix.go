package backends

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hearthcache/hearth/internal/iface"
)

// Prefix returns a view of s in which every key begins with prefix without the caller saying so:
// several services, or several kinds of records, share one server without meeting. It can do
// exactly what s can. Tokens and leases are those of s. An [*Error] of s names the key as the
// caller knows it.
//
// It is a namespace, not a wall: whoever holds s reaches everything. Scan lists the keys of the
// namespace only, at the cost of scanning all of s. Forgetting is per key, but PublishFlush and
// a Flush concern all of s.
//
// Whoever listens to the server itself hears the names that it has: package tracking has to be told
// the prefix (its Config.KeyPrefix). A cache refuses one that was not.
//
// It refuses a nil store and an empty prefix.
func Prefix(s Store, prefix string) (Composite, error) {
	if iface.IsNil(s) {
		return nil, errors.New("cache: Prefix needs a store; this one is nil, or holds a nil pointer: look at the error of its constructor")
	}
	if prefix == "" {
		return nil, errors.New("cache: Prefix needs a prefix; without one, use the store itself")
	}
	inner := CapsOf(s)
	p := &prefixed{store: s, prefix: prefix, inner: inner}
	p.caps = inner // what has no keys (Pinger, Warner, limits) is the store's own
	p.caps.KeyPrefix = inner.KeyPrefix + prefix
	if inner.Batcher != nil {
		p.caps.Batcher = p
	}
	if inner.CASer != nil {
		p.caps.CASer = p
	}
	if inner.Leaser != nil {
		p.caps.Leaser = p
	}
	if inner.BatchLeaser != nil {
		p.caps.BatchLeaser = p
	}
	if inner.Refresher != nil {
		p.caps.Refresher = p
	}
	if inner.Fencer != nil {
		p.caps.Fencer = p
	}
	if inner.Versioner != nil {
		p.caps.Versioner = p
	}
	if inner.Tombstoner != nil {
		p.caps.Tombstoner = p
	}
	if inner.Toucher != nil {
		p.caps.Toucher = p
	}
	if inner.Incrementer != nil {
		p.caps.Incrementer = p
	}
	if inner.TTLer != nil {
		p.caps.TTLer = p
	}
	if inner.Scanner != nil {
		p.caps.Scanner = p
	}
	if inner.Invalidator != nil {
		p.caps.Invalidator = p
	}
	return p, nil
}

// prefixed has the methods of every capability; which of them may be called is in caps.
type prefixed struct {
	store  Store
	prefix string
	inner  Caps
	caps   Caps
}

// Caps implements [Composite].
func (p *prefixed) Caps() Caps { return p.caps }

// StoreStats hands on what the store below tells about itself, nil if nothing.
func (p *prefixed) StoreStats() any {
	if st, ok := p.store.(interface{ StoreStats() any }); ok {
		return st.StoreStats()
	}
	return nil
}

func (p *prefixed) Get(ctx context.Context, key string) (Item, error) {
	if key == "" {
		return Item{}, ErrEmptyKey
	}
	it, err := p.store.Get(ctx, p.prefix+key)
	return it, p.strip(err)
}

func (p *prefixed) Set(ctx context.Context, key string, it Item) error {
	return p.do(key, func(k string) error { return p.store.Set(ctx, k, it) })
}

func (p *prefixed) Delete(ctx context.Context, key string) error {
	return p.do(key, func(k string) error { return p.store.Delete(ctx, k) })
}

func (p *prefixed) GetMany(ctx context.Context, keys []string) []Result {
	return p.results(keys, func(ks []string) []Result { return p.inner.Batcher.GetMany(ctx, ks) })
}

func (p *prefixed) SetMany(ctx context.Context, entries []KeyItem) []error {
	return p.errs(len(entries), func(i int) string { return entries[i].Key }, func(ks []string, at []int) []error {
		es := make([]KeyItem, len(ks))
		for i, k := range ks {
			es[i] = KeyItem{Key: k, Item: entries[at[i]].Item}
		}
		return p.inner.Batcher.SetMany(ctx, es)
	})
}

func (p *prefixed) DeleteMany(ctx context.Context, keys []string) []error {
	return p.errs(len(keys), func(i int) string { return keys[i] }, func(ks []string, _ []int) []error {
		return p.inner.Batcher.DeleteMany(ctx, ks)
	})
}

func (p *prefixed) Add(ctx context.Context, key string, it Item) error {
	return p.do(key, func(k string) error { return p.inner.CASer.Add(ctx, k, it) })
}

func (p *prefixed) CompareAndSwap(ctx context.Context, key string, tok Token, it Item) error {
	return p.do(key, func(k string) error { return p.inner.CASer.CompareAndSwap(ctx, k, tok, it) })
}

func (p *prefixed) CompareAndDelete(ctx context.Context, key string, tok Token) error {
	return p.do(key, func(k string) error { return p.inner.CASer.CompareAndDelete(ctx, k, tok) })
}

func (p *prefixed) Acquire(ctx context.Context, key string, hold time.Duration) (l Lease, it Item, err error) {
	err = p.do(key, func(k string) error {
		l, it, err = p.inner.Leaser.Acquire(ctx, k, hold)
		return err
	})
	return l, it, err
}

func (p *prefixed) AcquireMany(ctx context.Context, keys []string, hold time.Duration) []LeaseResult {
	rs := make([]LeaseResult, len(keys))
	ks, at := p.split(len(keys), func(i int) string { return keys[i] }, func(i int) { rs[i].Err = ErrEmptyKey })
	for j, r := range p.inner.BatchLeaser.AcquireMany(ctx, ks, hold) {
		r.Err = p.strip(r.Err)
		rs[at[j]] = r
	}
	return rs
}

func (p *prefixed) FillMany(ctx context.Context, leases []Lease, items []Item) []error {
	return p.stripAll(p.inner.BatchLeaser.FillMany(ctx, leases, items))
}

func (p *prefixed) ReleaseMany(ctx context.Context, leases []Lease) []error {
	return p.stripAll(p.inner.BatchLeaser.ReleaseMany(ctx, leases))
}

func (p *prefixed) AcquireRefresh(ctx context.Context, key string, tok Token, hold time.Duration) (l Lease, err error) {
	err = p.do(key, func(k string) error {
		l, err = p.inner.Refresher.AcquireRefresh(ctx, k, tok, hold)
		return err
	})
	return l, err
}

func (p *prefixed) Seize(ctx context.Context, key string, hold time.Duration) (l Lease, err error) {
	err = p.do(key, func(k string) error {
		l, err = p.inner.Fencer.Seize(ctx, k, hold)
		return err
	})
	return l, err
}

func (p *prefixed) SetNewer(ctx context.Context, key string, it Item) error {
	return p.do(key, func(k string) error { return p.inner.Versioner.SetNewer(ctx, k, it) })
}

func (p *prefixed) DeleteHold(ctx context.Context, key string, hold time.Duration, version uint64) error {
	return p.do(key, func(k string) error { return p.inner.Tombstoner.DeleteHold(ctx, k, hold, version) })
}

func (p *prefixed) Touch(ctx context.Context, key string, ttl time.Duration) error {
	return p.do(key, func(k string) error { return p.inner.Toucher.Touch(ctx, k, ttl) })
}

func (p *prefixed) Increment(ctx context.Context, key string, delta, initial int64, ttl time.Duration) (n int64, err error) {
	err = p.do(key, func(k string) error {
		n, err = p.inner.Incrementer.Increment(ctx, k, delta, initial, ttl)
		return err
	})
	return n, err
}

func (p *prefixed) GetTTL(ctx context.Context, key string) (it Item, err error) {
	err = p.do(key, func(k string) error {
		it, err = p.inner.TTLer.GetTTL(ctx, k)
		return err
	})
	return it, err
}

func (p *prefixed) GetTTLMany(ctx context.Context, keys []string) []Result {
	return p.results(keys, func(ks []string) []Result { return p.inner.TTLer.GetTTLMany(ctx, ks) })
}

// Scan passes on batches without a key of this namespace too: their cursors are what a long
// copy resumes from.
func (p *prefixed) Scan(ctx context.Context, cursor string, yield func(keys []string, next string) error) error {
	return p.inner.Scanner.Scan(ctx, cursor, func(keys []string, next string) error {
		return yield(p.mine(keys), next)
	})
}

func (p *prefixed) Watch(ctx context.Context, sink Sink) error {
	return p.inner.Invalidator.Watch(ctx, prefixSink{Sink: sink, p: p})
}

func (p *prefixed) Publish(ctx context.Context, keys []string) error {
	ks := make([]string, len(keys))
	for i, k := range keys {
		if k == "" {
			return ErrEmptyKey
		}
		ks[i] = p.prefix + k
	}
	return p.strip(p.inner.Invalidator.Publish(ctx, ks))
}

func (p *prefixed) PublishFlush(ctx context.Context) error {
	return p.inner.Invalidator.PublishFlush(ctx)
}

// StoredOnly implements the interface of that name as the store's Invalidator does.
func (p *prefixed) StoredOnly() bool { return storedOnly(p.inner.Invalidator) }

// Hears implements [Selective] as the store's Invalidator does, which knows the namespace by a longer name.
func (p *prefixed) Hears(namespace string) bool {
	s, ok := p.inner.Invalidator.(Selective)
	return !ok || s.Hears(p.prefix+namespace)
}

// Pace implements [Paced] as the store's Invalidator does; zero where it does not say.
func (p *prefixed) Pace() time.Duration {
	if s, ok := p.inner.Invalidator.(Paced); ok {
		return s.Pace()
	}
	return 0
}

// Fits implements [Fitting]: a source of keys that begin with the prefix fits stores with that prefix.
func (p *prefixed) Fits(remotes []Caps) error {
	below := slices.Clone(remotes)
	for i := range below {
		outer, ok := strings.CutSuffix(below[i].KeyPrefix, p.prefix)
		if !ok && p.StoredOnly() {
			return fmt.Errorf("it hears of keys with the prefix %q, and the store gives them the prefix %q: give both the same", p.caps.KeyPrefix, below[i].KeyPrefix)
		}
		below[i].KeyPrefix = outer
	}
	return Fits(p.inner.Invalidator, below)
}

// prefixSink hands on the keys of the namespace, as the caller knows them.
type prefixSink struct {
	Sink
	p *prefixed
}

func (s prefixSink) Forget(keys []string) {
	if mine := s.p.mine(keys); len(mine) > 0 {
		s.Sink.Forget(mine)
	}
}

// mine returns those of the store's keys that are in the namespace, without the prefix.
func (p *prefixed) mine(keys []string) []string {
	mine := make([]string, 0, len(keys))
	for _, k := range keys {
		if own, ok := strings.CutPrefix(k, p.prefix); ok && own != "" {
			mine = append(mine, own)
		}
	}
	return mine
}

// do refuses the empty key, which the store below would no longer see as empty.
func (p *prefixed) do(key string, call func(key string) error) error {
	if key == "" {
		return ErrEmptyKey
	}
	return p.strip(call(p.prefix + key))
}

// split returns the store's names of the keys that are not empty, and where they stood.
func (p *prefixed) split(n int, key func(i int) string, empty func(i int)) (ks []string, at []int) {
	ks, at = make([]string, 0, n), make([]int, 0, n)
	for i := range n {
		if k := key(i); k != "" {
			ks, at = append(ks, p.prefix+k), append(at, i)
		} else {
			empty(i)
		}
	}
	return ks, at
}

func (p *prefixed) results(keys []string, get func(keys []string) []Result) []Result {
	rs := make([]Result, len(keys))
	ks, at := p.split(len(keys), func(i int) string { return keys[i] }, func(i int) { rs[i].Err = ErrEmptyKey })
	for j, r := range get(ks) {
		rs[at[j]] = Result{Item: r.Item, Err: p.strip(r.Err)}
	}
	return rs
}

func (p *prefixed) errs(n int, key func(i int) string, call func(keys []string, at []int) []error) []error {
	var errs []error
	ks, at := p.split(n, key, func(i int) {
		errs = grow(errs, n)
		errs[i] = ErrEmptyKey
	})
	for j, err := range call(ks, at) {
		if err != nil {
			errs = grow(errs, n)
			errs[at[j]] = p.strip(err)
		}
	}
	return errs
}

func (p *prefixed) stripAll(errs []error) []error {
	for i, err := range errs {
		errs[i] = p.strip(err)
	}
	return errs
}

// strip names the key as the caller knows it, where err names one.
func (p *prefixed) strip(err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || error(e) != err || !strings.HasPrefix(e.Key, p.prefix) {
		return err // of an error wrapped further, the rest must not be lost
	}
	named := *e
	named.Key = e.Key[len(p.prefix):]
	return &named
}
