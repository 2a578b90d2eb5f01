package memcached

import (
	"context"
	"slices"
	"sync"

	"github.com/hearthcache/hearth/backends"
)

const (
	// chunk is the number of keys in one multi-get: enough to make the round trip cheap, few
	// enough that the command fits into any buffer (100 KB of the longest keys).
	chunk = 400

	// abreast is the number of single commands of one batch that are under way to one server.
	abreast = 8
)

// group is the part of a batch that belongs to one server.
type group struct {
	srv    *server
	at     []int // positions in the batch
	places []place
}

func (g *group) add(i int, p place) {
	g.at, g.places = append(g.at, i), append(g.places, p)
}

// groups sorts keys by server. Empty keys are left out and refused.
func (s *Store) groups(n int, key func(i int) string, refuse func(i int, err error)) []group {
	byServer := make([]group, len(s.servers))
	if len(byServer) == 1 {
		byServer[0].at, byServer[0].places = make([]int, 0, n), make([]place, 0, n)
	}
	for i := range n {
		p, srv, err := s.at(key(i))
		if err != nil {
			refuse(i, err)
			continue
		}
		g := &byServer[p.server]
		g.srv = srv
		g.add(i, p)
	}
	used := byServer[:0]
	for _, g := range byServer {
		if g.srv != nil {
			used = append(used, g)
		}
	}
	return used
}

// each runs fn for every group, side by side; a batch of one server needs no goroutine.
func each(groups []group, fn func(g group)) {
	if len(groups) == 0 {
		return
	}
	var wg sync.WaitGroup
	for _, g := range groups[1:] {
		wg.Go(func() { fn(g) })
	}
	fn(groups[0])
	wg.Wait()
}

// eachKey runs fn for every key of g, a few at a time.
func (g group) eachKey(fn func(i int, p place)) {
	if len(g.at) == 0 {
		return
	}
	var wg sync.WaitGroup
	workers := min(abreast, len(g.at))
	work := func(first int) {
		for n := first; n < len(g.at); n += workers {
			fn(g.at[n], g.places[n])
		}
	}
	for w := 1; w < workers; w++ {
		wg.Go(func() { work(w) })
	}
	work(0)
	wg.Wait()
}

// states reads every key of g and reports it; err is why a key could not be read.
func (s *Store) states(ctx context.Context, g group, got func(n int, st state, err error)) {
	for lo := 0; lo < len(g.places); lo += chunk {
		part := g.places[lo:min(lo+chunk, len(g.places))]
		keys := make([]string, 0, 2*len(part))
		for _, p := range part {
			keys = append(keys, p.wire)
		}
		if s.separate {
			for _, p := range part {
				keys = append(keys, s.beside(p, asLease))
			}
		}
		out := make([]reply, len(keys))
		err := g.srv.getMany(ctx, keys, out)
		for n, p := range part {
			var mark reply
			if s.separate {
				mark = out[len(part)+n]
			}
			st := p.state(out[n], mark)
			if err != nil && !(out[n].found && st.kind != none) {
				got(lo+n, state{}, err) // not read, which is no miss
				continue
			}
			got(lo+n, st, nil)
		}
	}
}

// GetMany implements [backends.Batcher]: one multi-get per server, side by side. The keys of a
// server that does not answer fail, the others do not. Lifetimes are unknown, see
// [Store.GetTTLMany].
func (s *Store) GetMany(ctx context.Context, keys []string) []backends.Result {
	rs := make([]backends.Result, len(keys))
	s.GetManyInto(ctx, keys, rs)
	return rs
}

// GetManyInto is GetMany into rs, which is as long as keys, and zero: for callers that read often
// and keep the room, such as package coalesce.
func (s *Store) GetManyInto(ctx context.Context, keys []string, rs []backends.Result) {
	if len(s.servers) == 1 && !s.separate {
		s.getTogether(ctx, s.servers[0], keys, rs)
		return
	}
	groups := s.groups(len(keys), func(i int) string { return keys[i] }, func(i int, err error) { rs[i].Err = err })
	each(groups, func(g group) {
		s.states(ctx, g, func(n int, st state, err error) {
			r := &rs[g.at[n]]
			if r.Err = err; err == nil {
				r.Item, r.Err = st.item()
			}
		})
	})
}

// scratch is the room that a multi-get needs, kept for the next one.
type scratch struct {
	places []place
	wire   []string
	out    []reply
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// getTogether is GetMany on the only server.
func (s *Store) getTogether(ctx context.Context, srv *server, keys []string, rs []backends.Result) {
	x := scratches.Get().(*scratch)
	for len(keys) > 0 {
		n := min(len(keys), chunk)
		s.getChunk(ctx, srv, keys[:n], rs[:n], x)
		keys, rs = keys[n:], rs[n:]
	}
	scratches.Put(x)
}

func (s *Store) getChunk(ctx context.Context, srv *server, keys []string, rs []backends.Result, x *scratch) {
	for i, k := range keys {
		p, _, err := s.at(k)
		if rs[i].Err = err; err == nil {
			x.places, x.wire = append(x.places, p), append(x.wire, p.wire)
		}
	}
	if len(x.wire) == 0 {
		return
	}
	x.out = slices.Grow(x.out, len(x.wire))[:len(x.wire)]
	err := srv.getMany(ctx, x.wire, x.out)
	n := 0
	for i := range rs {
		r := &rs[i]
		if r.Err != nil {
			continue // refused, not asked
		}
		st := x.places[n].state(x.out[n], reply{})
		n++
		if err != nil && st.kind == none {
			r.Err = err // not read, which is no miss
			continue
		}
		r.Item, r.Err = st.item()
	}
	x.empty()
}

// empty forgets what x refers to: the next one may be long in coming.
func (x *scratch) empty() {
	clear(x.places)
	clear(x.wire)
	clear(x.out)
	x.places, x.wire, x.out = x.places[:0], x.wire[:0], x.out[:0]
}

// SetMany implements [backends.Batcher]. The text protocol has no multi-set: over [Gomemcache], and
// with [Separate] leases, the entries of each server are set a few at a time; over [Meta] they are
// one trip.
func (s *Store) SetMany(ctx context.Context, entries []backends.KeyItem) []error {
	var f failures
	f.init(len(entries))
	groups := s.groups(len(entries), func(i int) string { return entries[i].Key }, f.set)
	each(groups, func(g group) {
		// One key twice: the later entry wins, as it would in a loop.
		last := make(map[string]int, len(g.at))
		for n, p := range g.places {
			last[p.wire] = g.at[n]
		}
		if b := bulkOf(g.srv.transport); b != nil && !s.separate {
			s.setBulk(ctx, b, g, entries, last, &f)
			return
		}
		g.eachKey(func(i int, p place) {
			it := entries[i].Item
			if err := s.check(it); err != nil || last[p.wire] != i {
				f.set(i, err)
				return
			}
			f.set(i, s.Set(ctx, p.key, it))
		})
	})
	return f.result()
}

// DeleteMany implements [backends.Batcher], as SetMany does.
func (s *Store) DeleteMany(ctx context.Context, keys []string) []error {
	var f failures
	f.init(len(keys))
	groups := s.groups(len(keys), func(i int) string { return keys[i] }, f.set)
	each(groups, func(g group) {
		if b := bulkOf(g.srv.transport); b != nil && !s.separate {
			s.removeBulk(ctx, b, g, &f)
			return
		}
		g.eachKey(func(i int, p place) { f.set(i, s.Delete(ctx, p.key)) })
	})
	return f.result()
}

// failures collects one error per entry, each set by one goroutine.
type failures struct{ errs []error }

func (f *failures) init(n int)           { f.errs = make([]error, n) }
func (f *failures) set(i int, err error) { f.errs[i] = err }

// result is nil if there are none.
func (f *failures) result() []error {
	for _, err := range f.errs {
		if err != nil {
			return f.errs
		}
	}
	return nil
}
