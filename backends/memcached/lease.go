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

// claim is a token that was put under a key, and the cas id it got there. The id is read while
// the token is seen beside it: an id that is read later, or without a look at the token, may be
// that of another's lease or value, and guards nothing. Reading goes on beside the caller's load.
type claim struct {
	srv  *server
	key  string // wire key
	want []byte // what must be there: the token, labelled if the key is

	ready chan struct{} // closed when the fields below are set
	cas   uint64
	err   error // ErrLeaseLost if the token is not there (any more)
}

func newClaim(srv *server, key string, want []byte) *claim {
	return &claim{srv: srv, key: key, want: want, ready: make(chan struct{})}
}

// learn settles c with what the server has under its key.
func (c *claim) learn(r reply, err error) {
	switch {
	case r.found && bytes.Equal(r.value, c.want):
		c.cas = r.cas
	case err != nil:
		c.err = err
	default:
		c.err = backends.ErrLeaseLost
	}
	close(c.ready)
}

// follow reads the cas ids of claims on one server, detached from the acquirer's ctx but for its
// values: the load may outlive it.
func (s *Store) follow(ctx context.Context, claims ...*claim) {
	ctx = context.WithoutCancel(ctx)
	limit := s.timeout
	if limit <= 0 {
		limit = defaultTimeout
	}
	go func() {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		for lo := 0; lo < len(claims); lo += chunk {
			part := claims[lo:min(lo+chunk, len(claims))]
			keys := make([]string, len(part))
			for i, c := range part {
				keys[i] = c.key
			}
			out := make([]reply, len(part))
			err := part[0].srv.getMany(ctx, keys, out)
			for i, c := range part {
				c.learn(out[i], err)
			}
		}
	}()
}

// id returns the cas id of the claim, or why there is none. If the first attempt to read it
// failed, it is read now, which is as safe: the token must still be there.
func (c *claim) id(ctx context.Context) (uint64, error) {
	if !c.settled(ctx) {
		return 0, ctx.Err()
	}
	if c.err == nil || errors.Is(c.err, backends.ErrLeaseLost) {
		return c.cas, c.err
	}
	again := newClaim(c.srv, c.key, c.want)
	r, err := c.srv.get(ctx, c.key)
	if errors.Is(err, backends.ErrMiss) {
		again.learn(reply{}, nil)
	} else {
		again.learn(reply{record: r, found: err == nil}, err)
	}
	return again.cas, again.err
}

// settled waits until the cas id was read or could not be read; false if ctx ends before.
func (c *claim) settled(ctx context.Context) bool {
	select {
	case <-c.ready:
		return true
	default:
	}
	select {
	case <-c.ready:
		return true
	case <-ctx.Done():
		return false
	}
}

// drop removes the token, if it is still there.
func (c *claim) drop(ctx context.Context) error {
	id, err := c.id(ctx)
	if err == nil {
		err = c.srv.store(ctx, cas, c.key, record{cas: id}, gone)
	}
	return unlessLost(err)
}

func unlessLost(err error) error {
	if errors.Is(err, backends.ErrLeaseLost) || errors.Is(err, backends.ErrConflict) || errors.Is(err, backends.ErrMiss) {
		return nil
	}
	return err
}

// lease is a claim on the key's place in the cache: on the data key itself, or beside it.
type lease struct {
	store *Store
	place place
	claim *claim
	fill  func(ctx context.Context, r record, exp int32) error
	bare  bool // fill is swap

	mu    sync.Mutex
	spent bool
}

// newLease wraps the claim of a token; the fill depends on where the token is.
func (s *Store) newLease(p place, c *claim) *lease {
	l := &lease{store: s, place: p, claim: c, bare: !s.separate}
	l.fill = l.swap
	if s.separate {
		l.fill = l.fillBeside
	}
	return l
}

// Fill implements [backends.Lease].
func (l *lease) Fill(ctx context.Context, it backends.Item) error {
	if err := l.store.check(it); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.spent {
		return backends.ErrLeaseLost
	}
	r, exp := l.place.pack(it)
	return l.filled(l.fill(ctx, r, exp))
}

// filled says in the words of [backends.Lease] how a fill has ended, and notes it.
func (l *lease) filled(err error) error {
	if errors.Is(err, backends.ErrConflict) || errors.Is(err, backends.ErrMiss) {
		err = backends.ErrLeaseLost
	}
	l.spent = err == nil || errors.Is(err, backends.ErrLeaseLost)
	return err
}

// swap fills a lease in the data key: the token goes, the value comes.
func (l *lease) swap(ctx context.Context, r record, exp int32) (err error) {
	if l.store.lateCAS {
		now, err := l.claim.srv.get(ctx, l.claim.key)
		if err != nil {
			return err
		}
		r.cas = now.cas
	} else if r.cas, err = l.claim.id(ctx); err != nil {
		return err
	}
	return l.claim.srv.store(ctx, cas, l.claim.key, r, exp)
}

// Release implements [backends.Lease].
func (l *lease) Release(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.spent {
		return nil
	}
	return l.released(l.claim.drop(ctx))
}

// released is filled for a release: a lease that was lost is given back.
func (l *lease) released(err error) error {
	err = unlessLost(err)
	l.spent = err == nil
	return err
}

// Acquire implements [backends.Leaser]: one add for the winner, whose cas id is then read beside
// the load; add and gets for the others.
func (s *Store) Acquire(ctx context.Context, key string, hold time.Duration) (backends.Lease, backends.Item, error) {
	l, it, err := s.acquire(ctx, key, hold)
	if l == nil {
		return nil, it, err
	}
	if !s.separate {
		s.follow(ctx, l.claim)
	}
	return l, it, nil
}

// acquire is Acquire up to the reading of the cas id.
func (s *Store) acquire(ctx context.Context, key string, hold time.Duration) (*lease, backends.Item, error) {
	if hold <= 0 {
		return nil, backends.Item{}, backends.ErrInvalidTTL
	}
	p, srv, err := s.at(key)
	if err != nil {
		return nil, backends.Item{}, err
	}
	if s.separate {
		return s.acquireBeside(ctx, srv, p, hold)
	}
	mark, exp := record{value: p.label(wire.NewLease())}, expiry(hold, time.Now())
	l := s.newLease(p, newClaim(srv, p.wire, mark.value))
	for range attempts {
		err := srv.store(ctx, add, p.wire, mark, exp)
		if err == nil {
			return l, backends.Item{}, nil
		}
		if !errors.Is(err, backends.ErrExists) {
			return nil, backends.Item{}, err
		}
		st, err := s.read(ctx, srv, p)
		switch {
		case err != nil:
			return nil, backends.Item{}, err
		case st.kind != none:
			it, err := st.item()
			return nil, it, err
		case st.data.found: // not ours: a value of no key
			if err := s.replace(ctx, srv, p, &st, mark, exp); err == nil {
				return l, backends.Item{}, nil
			} else if !errors.Is(err, backends.ErrConflict) {
				return nil, backends.Item{}, err
			}
		}
	}
	return nil, backends.Item{}, backends.ErrLeased // it changes faster than it can be asked for
}

// Seize implements [backends.Fencer]: a set of the token, whose cas id is then read beside the
// caller's write.
func (s *Store) Seize(ctx context.Context, key string, hold time.Duration) (backends.Lease, error) {
	if hold <= 0 {
		return nil, backends.ErrInvalidTTL
	}
	p, srv, err := s.at(key)
	if err != nil {
		return nil, err
	}
	tok := wire.NewLease()
	if err := s.cover(ctx, srv, p, tok, hold); err != nil {
		return nil, err
	}
	c := newClaim(srv, p.wire, p.label(tok))
	if s.separate {
		c = newClaim(srv, s.beside(p, asLease), tok)
	}
	s.follow(ctx, c)
	return s.newLease(p, c), nil
}

// AcquireRefresh implements [backends.Refresher]: an add of a token under a key of its own; the
// fill is a cas of the version tok.
func (s *Store) AcquireRefresh(ctx context.Context, key string, tok backends.Token, hold time.Duration) (backends.Lease, error) {
	if hold <= 0 {
		return nil, backends.ErrInvalidTTL
	}
	p, srv, err := s.at(key)
	if err != nil {
		return nil, err
	}
	version, ok := tok.ID()
	if !ok {
		return nil, backends.ErrBadToken
	}
	mark, beside := record{value: wire.NewLease()}, s.beside(p, asRefresh)
	switch err := srv.store(ctx, add, beside, mark, expiry(hold, time.Now())); {
	case errors.Is(err, backends.ErrExists):
		return nil, backends.ErrLeased
	case err != nil:
		return nil, err
	}
	l := &lease{store: s, place: p, claim: newClaim(srv, beside, mark.value)}
	l.fill = func(ctx context.Context, r record, exp int32) error {
		r.cas = version
		err := srv.store(ctx, cas, p.wire, r, exp)
		if err == nil {
			l.claim.drop(ctx) // the next refresh need not wait; if this fails, it has to
		}
		return err
	}
	s.follow(ctx, l.claim)
	return l, nil
}
