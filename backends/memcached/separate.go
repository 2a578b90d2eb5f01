package memcached

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

// This file is the lease of [Separate]: the token lies beside the data key, which no other client
// ever sees anything in but values.

// acquireBeside adds the token first and looks for a value second: what was filled before that
// is seen, what is filled later needs the lease.
func (s *Store) acquireBeside(ctx context.Context, srv *server, p place, hold time.Duration) (*lease, backends.Item, error) {
	tok, beside := wire.NewLease(), s.beside(p, asLease)
	for range attempts {
		err := srv.store(ctx, add, beside, record{value: tok}, expiry(hold, time.Now()))
		if err != nil && !errors.Is(err, backends.ErrExists) {
			return nil, backends.Item{}, err
		}
		mine := err == nil
		var out [2]reply
		if err := srv.getMany(ctx, []string{p.wire, beside}, out[:]); err != nil {
			return nil, backends.Item{}, err
		}
		st := p.state(out[0], out[1])
		if !mine {
			if st.kind == none {
				continue // released or run out meanwhile
			}
			it, err := st.item()
			return nil, it, err
		}
		c := newClaim(srv, beside, tok)
		c.learn(out[1], nil)
		if it, err := st.item(); err == nil { // filled before we asked
			c.drop(ctx) // else it runs out
			return nil, it, nil
		}
		return s.newLease(p, c), backends.Item{}, nil
	}
	return nil, backends.Item{}, backends.ErrLeased
}

// provisional is how long a filled value lives until the lease was found to have stood.
const provisional = 1 // second, as the server counts them

// fillBeside adds the value for a moment, gives the lease back, and only if that was still there
// to be given lets the value live. A delete removes the lease first and the value second, so it
// either sees the value or makes this fail. Five round trips.
func (l *lease) fillBeside(ctx context.Context, r record, exp int32) error {
	srv, p := l.claim.srv, l.place
	id, err := l.claim.id(ctx)
	if err != nil {
		return err
	}
	// Nothing is stored for a lease that is known to be gone.
	var seen [2]reply
	keys := []string{p.wire, l.claim.key}
	if err := srv.getMany(ctx, keys, seen[:]); err != nil {
		return err
	}
	if seen[0].found || !bytes.Equal(seen[1].value, l.claim.want) {
		if seen[0].found {
			l.claim.drop(ctx)
		}
		return backends.ErrLeaseLost
	}
	if err := srv.store(ctx, add, p.wire, r, provisional+1); err != nil {
		return conflict(err)
	}
	err = srv.getMany(ctx, keys[:1], seen[:1])
	if err == nil && !(seen[0].found && bytes.Equal(seen[0].value, r.value)) {
		err = backends.ErrLeaseLost
	}
	if err == nil {
		err = srv.store(ctx, cas, l.claim.key, record{cas: id}, gone)
	}
	if err != nil {
		if seen[0].found && bytes.Equal(seen[0].value, r.value) {
			srv.store(ctx, cas, p.wire, record{cas: seen[0].cas}, gone) // else it lives for a moment
		}
		return err
	}
	r.cas = seen[0].cas
	return srv.store(ctx, cas, p.wire, r, exp)
}
