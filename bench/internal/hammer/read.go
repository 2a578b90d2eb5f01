package hammer

import (
	"context"

	"github.com/hearthcache/hearth/internal/checker"
	"github.com/hearthcache/hearth/tier"
)

// Reader reads through a cache and holds what it gets against the history. It is safe for
// concurrent use as far as its Cache is.
type Reader[V any] struct {
	History *checker.History
	Cache   *tier.Cache[V]
	ID      func(V) (id uint64, err error) // of a value; an error = nobody ever wrote it
}

// Some reads n single keys, chosen by key. They are counted together at the end.
func (r Reader[V]) Some(ctx context.Context, n int, key func() int) {
	var t checker.Counts
	for range n {
		k := key()
		begun := r.History.Begin(k)
		if v, err := r.Cache.Get(ctx, Name(k)); err == nil {
			r.judge(&t, begun, v)
		}
	}
	r.History.Add(t)
}

// All reads n keys from first on at a time, and returns how many it got and the error of the
// batch.
func (r Reader[V]) All(ctx context.Context, first, n int) (got int, err error) {
	var t checker.Counts
	names, begun := make([]string, n), make(map[string]checker.Read, n)
	for i := range names {
		names[i] = Name(first + i)
		begun[names[i]] = r.History.Begin(first + i)
	}
	values, err := r.Cache.GetMany(ctx, names)
	for k, v := range values {
		r.judge(&t, begun[k], v)
	}
	r.History.Add(t)
	return len(values), err
}

// judge counts the verdict on a read that returned v.
func (r Reader[V]) judge(t *checker.Counts, begun checker.Read, v V) {
	t.Reads++
	id, err := r.ID(v)
	if err != nil {
		t.Invented++
		return
	}
	switch begun.Judge(id) {
	case checker.Stale:
		t.Stale++
	case checker.Invented:
		t.Invented++
	}
}
