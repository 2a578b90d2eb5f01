package coalesce

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/iface"
)

// Store is a [backends.Composite] around one store: its reads, deletes and leases travel
// together, see the package comment. Safe for concurrent use.
type Store struct {
	inner backends.Store
	caps  backends.Caps
	conf  Config
	sizes sizes

	gets     *queue[string, backends.Result]
	ttls     *queue[string, backends.Result]
	deletes  *queue[string, error] // nil: not gathered, as those below
	acquires *queue[request, backends.LeaseResult]
	fills    *queue[fill, error]
	releases *queue[backends.Lease, error]
}

var _ backends.Composite = (*Store)(nil)

// New returns a Store around store, which must have a [backends.Batcher]; or everything that is
// wrong with cfg. It starts nothing and needs no Close.
//
// The Store can do what store can do, not more: [Store.Caps] is store's own record, with those
// capabilities replaced that travel together.
func New(store backends.Store, cfg Config) (*Store, error) {
	if iface.IsNil(store) {
		return nil, errors.New("coalesce: no store: it is nil, or holds a nil pointer: look at the error of its constructor")
	}
	conf, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{inner: store, caps: backends.CapsOf(store), conf: conf}
	if s.caps.Batcher == nil {
		return nil, fmt.Errorf("coalesce: %T has no Batcher: %w", store, backends.ErrUnsupported)
	}
	s.sizes.init(max(1, conf.MaxBytes/16))
	can := s.caps // what lies below; s.caps becomes what users see
	into, _ := can.Batcher.(inPlace)
	s.gets = s.reads(store.Get, can.Batcher.GetMany, into)
	if can.TTLer != nil {
		s.ttls = s.reads(can.TTLer.GetTTL, can.TTLer.GetTTLMany, nil)
		s.caps.TTLer = lifetimes{s, can.TTLer}
	}
	if can.OneByOne { // callers side by side do better than a few at a time
		return s, nil
	}
	s.deletes = &queue[string, error]{
		conf: &s.conf, one: store.Delete, fail: plain,
		many: func(ctx context.Context, keys []string, out []error) {
			spread(out, can.Batcher.DeleteMany(ctx, slices.Clone(keys)))
		},
	}
	if can.Leaser != nil && can.BatchLeaser != nil {
		s.lease(can)
	}
	return s, nil
}

// inPlace is a Batcher that puts what it read where it is told: out is as long as keys, and zero.
// It saves two slices for each batch: it keeps neither keys nor out. Whoever embeds such a store and
// changes GetMany changes both.
type inPlace interface {
	GetManyInto(ctx context.Context, keys []string, out []backends.Result)
}

// reads makes a queue of reads; into, if not nil, stands in for many.
func (s *Store) reads(
	one func(context.Context, string) (backends.Item, error), many func(context.Context, []string) []backends.Result, into inPlace,
) *queue[string, backends.Result] {
	return &queue[string, backends.Result]{
		conf: &s.conf,
		one: func(ctx context.Context, key string) (r backends.Result) {
			if r.Item, r.Err = one(ctx, key); r.Err == nil {
				n := len(r.Item.Value)
				if s.sizes.learn(key, n); n <= s.sizes.large {
					s.sizes.average(1, n)
				}
			}
			return r
		},
		many: func(ctx context.Context, keys []string, out []backends.Result) {
			if into != nil {
				into.GetManyInto(ctx, keys, out)
			} else {
				// A store made of others may give a call up and leave it behind, with its keys.
				for i := copy(out, many(ctx, slices.Clone(keys))); i < len(out); i++ {
					out[i].Err = errShort
				}
			}
			hits, bytes := 0, 0
			for i, key := range keys {
				if n := len(out[i].Item.Value); out[i].Err == nil {
					hits, bytes = hits+1, bytes+n
					s.sizes.learn(key, n)
				}
			}
			s.sizes.average(hits, bytes)
		},
		fail: func(err error, _ bool) backends.Result { return backends.Result{Err: err} },
	}
}

var errShort = errors.New("coalesce: the store answered fewer keys than it was asked for")

// plain is the failure of a call that can be made again without harm.
func plain(err error, _ bool) error { return err }

// spread copies the errors of a batch; nil = none.
func spread(out, errs []error) {
	if errs != nil && len(errs) < len(out) {
		for i := range out {
			out[i] = errShort
		}
	}
	copy(out, errs)
}

// Caps implements [backends.Composite].
func (s *Store) Caps() backends.Caps { return s.caps }

// Get implements [backends.Store]. Items of one batch may share memory: a small value that is
// kept can keep that of its neighbours (see the driver).
func (s *Store) Get(ctx context.Context, key string) (backends.Item, error) {
	return s.read(ctx, s.gets, key)
}

func (s *Store) read(ctx context.Context, q *queue[string, backends.Result], key string) (backends.Item, error) {
	var r backends.Result
	if s.sizes.isLarge(key) {
		r = q.one(ctx, key)
	} else {
		r = q.do(ctx, key, s.sizes.expected())
	}
	return r.Item, r.Err
}

// Set implements [backends.Store]. It is not gathered, see the package comment.
func (s *Store) Set(ctx context.Context, key string, it backends.Item) error {
	return s.inner.Set(ctx, key, it)
}

// Delete implements [backends.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if s.deletes == nil {
		return s.inner.Delete(ctx, key)
	}
	return s.deletes.do(ctx, key, len(key))
}

// lifetimes gathers the reads of a [backends.TTLer].
type lifetimes struct {
	s     *Store
	inner backends.TTLer
}

func (l lifetimes) GetTTL(ctx context.Context, key string) (backends.Item, error) {
	return l.s.read(ctx, l.s.ttls, key)
}

func (l lifetimes) GetTTLMany(ctx context.Context, keys []string) []backends.Result {
	return l.inner.GetTTLMany(ctx, keys)
}
