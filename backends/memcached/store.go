package memcached

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

// Store is a fleet of memcached servers as one [backends.Store]. Safe for concurrent use.
type Store struct {
	servers  []*server
	router   router
	prefix   string
	limit    int
	timeout  time.Duration
	separate bool // LeaseKey
	conf     Config

	// Fences that a test takes away, to see that what they hold back is then there.
	lateCAS bool // read the casid of a lease when filling, without a look at the token

	beforeTouch func() // tests only: runs between the look at a value and its touch
}

type server struct {
	name string
	dial dialFunc
	transport
	meta *metaPool
}

var (
	_ backends.Batcher     = (*Store)(nil)
	_ backends.CASer       = (*Store)(nil)
	_ backends.Leaser      = (*Store)(nil)
	_ backends.BatchLeaser = (*Store)(nil)
	_ backends.Refresher   = (*Store)(nil)
	_ backends.Fencer      = (*Store)(nil)
	_ backends.Versioner   = (*Store)(nil)
	_ backends.Tombstoner  = (*Store)(nil)
	_ backends.Toucher     = (*Store)(nil)
	_ backends.Incrementer = (*Store)(nil)
	_ backends.TTLer       = (*Store)(nil)
	_ backends.Pinger      = (*Store)(nil)
	_ backends.Scanner     = (*Store)(nil)
	_ backends.Warner      = (*Store)(nil)
	_ backends.Limits      = (*Store)(nil)
)

// New returns a Store over the servers of cfg, or everything that is wrong with cfg. It does not
// connect: [Store.Ping] does.
func New(cfg Config) (*Store, error) {
	c, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{
		router: newRouter(c.Router, c.Servers), prefix: c.Prefix, limit: c.MaxValueBytes,
		timeout: c.Timeout, separate: c.LeaseKey == Separate, conf: c,
	}
	for _, srv := range c.Servers {
		dial := c.dialer(srv.Addr)
		one := &server{name: srv.Name, dial: dial, meta: newMetaPool(&c, srv)}
		if one.transport = (metaTransport{one.meta}); c.Transport == Gomemcache {
			one.transport = newGomemcache(&c, srv)
		}
		if len(c.Servers) > 1 {
			one.transport = newWatched(one.transport, srv.Name)
		}
		s.servers = append(s.servers, one)
	}
	return s, nil
}

// Close closes the connections that lie idle, and the others when their calls are done. Later
// calls get [backends.ErrClosed]. It always returns nil.
func (s *Store) Close() error {
	for _, srv := range s.servers {
		srv.close()
		srv.meta.close()
	}
	return nil
}

// Limits implements [backends.Limits].
func (s *Store) Limits() backends.Caps {
	return backends.Caps{
		Flags: true, Unsigned: true, Prompt: true, MaxValueBytes: s.limit,
		OneByOne: s.separate || bulkOf(s.servers[0].transport) == nil,
	}
}

// Warnings implements [backends.Warner].
func (s *Store) Warnings() []string {
	var w []string
	c := &s.conf
	if c.Timeout < 0 || c.Timeout > time.Second {
		w = append(w, fmt.Sprintf("Timeout is %v: a silent server holds calls without a deadline for as long", c.Timeout))
	}
	if c.MaxIdleConns < 8 {
		w = append(w, fmt.Sprintf("MaxIdleConns is %d: with more concurrent callers most calls dial", c.MaxIdleConns))
	}
	if c.Router == Modulo && len(c.Servers) > 1 {
		w = append(w, "Router is Modulo: most keys change their server when the list changes, all when its order does")
	}
	if c.Auth != nil && c.TLS == nil && c.DialContext == nil {
		w = append(w, "Auth without TLS: the password is sent in clear text")
	}
	if c.LeaseKey == Separate {
		w = append(w, "LeaseKey is Separate: a fill that races with a delete can be read for a moment")
	}
	return w
}

// Ping implements [backends.Pinger].
func (s *Store) Ping(ctx context.Context) error {
	errs := make([]error, len(s.servers))
	var wg sync.WaitGroup
	for i, srv := range s.servers {
		wg.Go(func() { errs[i] = srv.ping(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// at finds key's place, or refuses the key. An empty one would make memcached take the value for
// the next command.
func (s *Store) at(key string) (place, *server, error) {
	if key == "" {
		return place{}, nil, backends.ErrEmptyKey
	}
	p := s.place(key)
	return p, s.servers[p.server], nil
}

// check refuses what must not be sent.
func (s *Store) check(it backends.Item) error {
	switch {
	case it.TTL < 0:
		return backends.ErrInvalidTTL
	case len(it.Value) > s.limit:
		return backends.ErrTooLarge
	}
	return nil
}

// pack returns it as p's server is to keep it.
func (p place) pack(it backends.Item) (record, int32) {
	return record{value: p.label(it.Value), flags: it.Flags}, expiry(it.TTL, time.Now())
}

// Get implements [backends.Store]. Over [Gomemcache] the TTL is unknown, since the text protocol
// does not tell it, see [Store.GetTTL]; over [Meta] it comes along.
func (s *Store) Get(ctx context.Context, key string) (backends.Item, error) {
	p, srv, err := s.at(key)
	if err != nil {
		return backends.Item{}, err
	}
	st, err := s.read(ctx, srv, p)
	if err != nil {
		return backends.Item{}, err
	}
	return st.item()
}

// Set implements [backends.Store]. Flags are kept.
func (s *Store) Set(ctx context.Context, key string, it backends.Item) error {
	if err := s.check(it); err != nil {
		return err
	}
	p, srv, err := s.at(key)
	if err != nil {
		return err
	}
	if err := s.lift(ctx, srv, p); err != nil {
		return err
	}
	r, exp := p.pack(it)
	return srv.store(ctx, set, p.wire, r, exp)
}

// Delete implements [backends.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	p, srv, err := s.at(key)
	if err != nil {
		return err
	}
	// The lease first: a fill that comes later must find it gone.
	lifted := s.lift(ctx, srv, p)
	err = srv.remove(ctx, p.wire)
	if errors.Is(err, backends.ErrMiss) {
		err = nil
	}
	return errors.Join(err, lifted)
}

// lift removes the lease or tombstone of p where it is kept apart from the value.
func (s *Store) lift(ctx context.Context, srv *server, p place) error {
	if !s.separate {
		return nil
	}
	if err := srv.remove(ctx, s.beside(p, asLease)); err != nil && !errors.Is(err, backends.ErrMiss) {
		return err
	}
	return nil
}

// state is what a key holds.
type state struct {
	kind   wire.Kind // Lease, Tombstone, or Foreign and Frame for a value
	value  []byte    // of the user, or of the lease or tombstone
	ttl    time.Duration
	data   reply // as the server has it under the data key
	marked bool  // a lease or tombstone is kept apart, under cas id mark
	mark   uint64
}

// none says that a key holds nothing (or something that is not its own, to be replaced).
const none wire.Kind = 'N'

func (st *state) item() (backends.Item, error) {
	switch st.kind {
	case none:
		return backends.Item{}, backends.ErrMiss
	case wire.Lease:
		return backends.Item{}, backends.ErrLeased
	case wire.Tombstone:
		return backends.Item{}, backends.ErrHeldOff
	}
	return backends.Item{
		Value: trimCounter(st.value), TTL: st.ttl, Flags: st.data.flags, Token: backends.IDToken(st.data.cas),
	}, nil
}

// read asks p's server what p holds, in one round trip.
func (s *Store) read(ctx context.Context, srv *server, p place) (state, error) {
	if s.separate {
		var out [2]reply
		if err := srv.getMany(ctx, []string{p.wire, s.beside(p, asLease)}, out[:]); err != nil {
			return state{}, err
		}
		return p.state(out[0], out[1]), nil
	}
	r, err := srv.get(ctx, p.wire)
	if errors.Is(err, backends.ErrMiss) {
		return state{kind: none}, nil
	}
	if err != nil {
		return state{}, err
	}
	return p.state(reply{record: r, found: true}, reply{}), nil
}

// state makes sense of what the server has under the data key of p and, where leases are kept
// apart, under the key of its lease.
func (p place) state(data, mark reply) state {
	st := state{kind: none, data: data, ttl: backends.TTLUnknown, marked: mark.found, mark: mark.cas}
	if data.timed {
		st.ttl = data.ttl
	}
	if mark.found {
		if k := wire.KindOf(mark.value); k == wire.Lease || k == wire.Tombstone {
			st.kind, st.value = k, mark.value
		}
	}
	if data.found {
		if v, ok := p.unlabel(data.value); ok {
			st.kind, st.value = wire.KindOf(v), v
		}
	}
	return st
}

// replace puts r where st was read, unless that has changed: ErrConflict.
func (s *Store) replace(ctx context.Context, srv *server, p place, st *state, r record, exp int32) error {
	if st.marked {
		if err := srv.store(ctx, cas, s.beside(p, asLease), record{cas: st.mark}, gone); err != nil {
			return conflict(err)
		}
	}
	if !st.data.found {
		return conflict(srv.store(ctx, add, p.wire, r, exp))
	}
	r.cas = st.data.cas
	return conflict(srv.store(ctx, cas, p.wire, r, exp))
}

// conflict makes one answer of the three that say that a key is not as it was.
func conflict(err error) error {
	if errors.Is(err, backends.ErrExists) || errors.Is(err, backends.ErrMiss) {
		return backends.ErrConflict
	}
	return err
}

// attempts bounds loops of read and replace. Each lost round is one that somebody else has won.
const attempts = 32
