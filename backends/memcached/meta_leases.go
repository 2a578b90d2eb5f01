package memcached

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

// This file is batches of leases over a transport that changes many keys in one trip.

// through reports whether a change of a batch that as a whole had the outcome whole was carried
// out or refused, it is not known which: the server complained and did not say about whom.
func through(whole, err error) bool { return whole == nil && errors.Is(err, backends.ErrUnknown) }

// acquireBulk adds the tokens of g in one trip. Where not all were added, a second one tells what
// is there instead, and the cas ids of those that were.
func (s *Store) acquireBulk(ctx context.Context, b bulk, g group, hold time.Duration, rs []backends.LeaseResult) {
	n := len(g.places)
	claims, keys, marks, exps, errs := make([]*claim, n), make([]string, n), make([]record, n), make([]int32, n), make([]error, n)
	exp := expiry(hold, time.Now())
	for j, p := range g.places {
		keys[j], marks[j], exps[j] = p.wire, record{value: p.label(wire.NewLease())}, exp
		claims[j] = newClaim(g.srv, p.wire, marks[j].value)
	}
	whole := b.storeMany(ctx, add, keys, marks, exps, errs)
	var won []*claim
	var ask group
	ask.srv = g.srv
	for j, err := range errs {
		switch i := g.at[j]; {
		case err == nil:
			rs[i].Lease = s.newLease(g.places[j], claims[j])
			won = append(won, claims[j])
		case !errors.Is(err, backends.ErrExists) && !through(whole, err):
			rs[i].Err = err
			continue
		}
		ask.add(j, g.places[j])
	}
	if len(ask.at) == len(won) {
		if len(won) > 0 {
			s.follow(ctx, won...)
		}
		return
	}
	again := group{srv: g.srv}
	s.states(ctx, ask, func(m int, st state, err error) {
		j := ask.at[m]
		i, c := g.at[j], claims[j]
		switch {
		case rs[i].Lease != nil:
			c.learn(st.data, err)
		case err != nil:
			rs[i].Err = err
		case st.data.found && bytes.Equal(st.data.value, c.want): // added, though it was complained of another
			rs[i].Lease = s.newLease(g.places[j], c)
			c.learn(st.data, nil)
		case st.kind == none: // free by now, or a value of no key
			again.add(i, g.places[j])
		default:
			rs[i].Item, rs[i].Err = st.item()
		}
	})
	s.acquireEach(ctx, again, hold, rs)
}

// endBulk ends leases of g: those whose cas ids are known in one trip, and beside it in another one
// those that are still being read. It returns the part of g that is to be ended one by one.
func (s *Store) endBulk(ctx context.Context, b bulk, g group, own []*lease, e ending, f *failures) (rest group) {
	var known, unread []swap
	for n, i := range g.at {
		l := own[i]
		// A lock that is taken is another call's, or that of the same lease earlier in the batch.
		if !l.bare || !l.mu.TryLock() {
			rest.add(i, g.places[n])
			continue
		}
		r, exp, err := e.pack(i, l)
		if err == nil && l.spent {
			err = e.ended(l, backends.ErrLeaseLost)
		} else if err == nil {
			sw := swap{i, l, r, exp}
			select {
			case <-l.claim.ready:
				known = append(known, sw)
			default:
				unread = append(unread, sw)
			}
			continue
		}
		f.set(i, err)
		l.mu.Unlock()
	}
	var left [2][]swap
	var wg sync.WaitGroup
	if len(unread) > 0 {
		wg.Go(func() { left[1] = s.swapBulk(ctx, b, g.srv, unread, e, f) })
	}
	left[0] = s.swapBulk(ctx, b, g.srv, known, e, f)
	wg.Wait()
	for _, swaps := range left {
		for _, sw := range swaps {
			rest.add(sw.at, sw.lease.place)
		}
	}
	return rest
}

// swap is one lease, locked, and what is to take its token's place.
type swap struct {
	at    int
	lease *lease
	rec   record
	exp   int32
}

// swapBulk carries out swaps in one trip and unlocks their leases. left are those whose cas id could
// not be read: it has to be read anew.
func (s *Store) swapBulk(ctx context.Context, b bulk, srv *server, all []swap, e ending, f *failures) (left []swap) {
	end := func(sw swap, err error) {
		f.set(sw.at, e.ended(sw.lease, err))
		sw.lease.mu.Unlock()
	}
	var (
		swaps []swap
		keys  []string
		rs    []record
		exps  []int32
	)
	for _, sw := range all {
		c := sw.lease.claim
		switch {
		case !c.settled(ctx), c.err != nil && !errors.Is(c.err, backends.ErrLeaseLost):
			sw.lease.mu.Unlock()
			left = append(left, sw)
		case c.err != nil:
			end(sw, c.err)
		default:
			sw.rec.cas = c.cas
			swaps, keys, rs, exps = append(swaps, sw), append(keys, c.key), append(rs, sw.rec), append(exps, sw.exp)
		}
	}
	if len(swaps) == 0 {
		return left
	}
	errs := make([]error, len(swaps))
	whole := b.storeMany(ctx, cas, keys, rs, exps, errs)
	var unsure []swap
	for j, sw := range swaps {
		if through(whole, errs[j]) {
			unsure = append(unsure, sw)
			continue
		}
		end(sw, errs[j])
	}
	if len(unsure) > 0 {
		s.swapUnsure(ctx, srv, unsure, end)
	}
	return left
}

// swapUnsure does one by one the swaps that are not found to be done. None is under way any more,
// so nothing is done twice.
func (s *Store) swapUnsure(ctx context.Context, srv *server, swaps []swap, end func(sw swap, err error)) {
	var g group
	keys, there := make([]string, len(swaps)), make([]reply, len(swaps))
	for j, sw := range swaps {
		keys[j] = sw.lease.claim.key
		g.add(j, sw.lease.place)
	}
	srv.getMany(ctx, keys, there) // what it does not tell is tried again: at worst it looks lost
	g.eachKey(func(j int, _ place) {
		sw := swaps[j]
		if there[j].found && sw.exp != gone && bytes.Equal(there[j].value, sw.rec.value) {
			end(sw, nil)
			return
		}
		end(sw, srv.store(ctx, cas, keys[j], sw.rec, sw.exp))
	})
}
