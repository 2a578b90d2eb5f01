package memcached

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hearthcache/hearth/backends"
)

// gomemcache is the [transport] over github.com/bradfitz/gomemcache. That client knows no ctx
// and picks a pooled connection out of the caller's sight, so every connection here is a client of
// its own, with one [lane] below it.
type gomemcache struct {
	server string
	pool   *pool[*goLane]

	fragile bool // tests only: trust idle connections, and never send anything again
}

type goLane struct {
	lane
	client *memcache.Client
}

// oneServer is the selector of a client that has only one.
type oneServer struct{}

func (o oneServer) PickServer(string) (net.Addr, error) { return o, nil }
func (o oneServer) Each(fn func(net.Addr) error) error  { return fn(o) }

// Network and String make it its own address, which nobody looks at: the lane knows where to.
func (oneServer) Network() string { return "" }
func (oneServer) String() string  { return "" }

func newGomemcache(c *Config, s Server) *gomemcache {
	dial, timeout := c.dialer(s.Addr), c.Timeout
	if timeout < 0 {
		timeout = 365 * 24 * time.Hour // to gomemcache, 0 is 500 ms
	}
	build := func() *goLane {
		l := &goLane{client: memcache.NewFromSelector(oneServer{})}
		l.init(dial)
		l.client.MaxIdleConns = 1
		l.client.Timeout = timeout
		l.client.DialContext = func(context.Context, string, string) (net.Conn, error) { return l.open() }
		return l
	}
	return &gomemcache{server: s.Name, pool: newPool(c, build, func(l *goLane) { l.client.Close() })}
}

// run does fn on a lane of the caller's own. once: fn must not be sent twice.
func (g *gomemcache) run(ctx context.Context, once bool, fn func(*memcache.Client) error) error {
	if err := ended(ctx); err != nil {
		return failure(ctx, g.server, backends.ErrUnavailable, err)
	}
	l, err := g.pool.take(ctx)
	if err != nil {
		return failure(ctx, g.server, nil, err)
	}
	defer g.pool.put(l)
	l.begin(ctx)
	defer l.end()
	if once && !g.fragile && l.conn != nil && !alive(l.conn) {
		l.client.Close()
		g.pool.drain()
	}
	err = protect(func() error { return fn(l.client) })
	if err != nil && !once && !g.fragile && !l.fresh && stale(err) && ctx.Err() == nil {
		g.pool.drain()
		err = protect(func() error { return fn(l.client) })
	}
	return g.explain(ctx, l, once, err)
}

// explain puts what gomemcache returned into the words of [transport].
func (g *gomemcache) explain(ctx context.Context, l *goLane, once bool, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, memcache.ErrCacheMiss):
		return backends.ErrMiss
	case errors.Is(err, memcache.ErrCASConflict):
		return backends.ErrConflict
	case errors.Is(err, memcache.ErrNotStored):
		return backends.ErrExists
	}
	l.client.Close() // it may be out of step, whatever gomemcache thinks
	if !l.wrote {
		return failure(ctx, g.server, backends.ErrUnavailable, err)
	}
	if e, ok := complaint(g.server, err.Error()); ok {
		return e
	}
	if once {
		return failure(ctx, g.server, backends.ErrUnknown, err)
	}
	return failure(ctx, g.server, nil, err)
}

func (g *gomemcache) get(ctx context.Context, key string) (record, error) {
	var r record
	err := g.run(ctx, false, func(c *memcache.Client) error {
		it, err := c.Get(key)
		if err != nil {
			return err
		}
		if it.Key != key {
			return fmt.Errorf("reply is for key %q", it.Key)
		}
		r = record{value: it.Value, flags: it.Flags, cas: it.CasID}
		return nil
	})
	return r, err
}

func (g *gomemcache) getMany(ctx context.Context, keys []string, out []reply) error {
	return g.run(ctx, false, func(c *memcache.Client) error {
		m, err := c.GetMulti(keys)
		for i, k := range keys {
			if it := m[k]; it != nil { // whole, even if the reply broke off later
				out[i] = reply{record: record{value: it.Value, flags: it.Flags, cas: it.CasID}, found: true}
			}
		}
		return err
	})
}

func (g *gomemcache) store(ctx context.Context, v verb, key string, r record, exp int32) error {
	it := &memcache.Item{Key: key, Value: r.value, Flags: r.flags, Expiration: exp, CasID: r.cas}
	return g.run(ctx, v != set, func(c *memcache.Client) error {
		switch v {
		case add:
			return c.Add(it)
		case cas:
			return c.CompareAndSwap(it)
		}
		return c.Set(it)
	})
}

func (g *gomemcache) remove(ctx context.Context, key string) error {
	return g.run(ctx, false, func(c *memcache.Client) error { return c.Delete(key) })
}

func (g *gomemcache) touch(ctx context.Context, key string, exp int32) error {
	return g.run(ctx, false, func(c *memcache.Client) error { return c.Touch(key, exp) })
}

func (g *gomemcache) count(ctx context.Context, key string, up bool, delta uint64) (n uint64, err error) {
	err = g.run(ctx, true, func(c *memcache.Client) (err error) {
		if up {
			n, err = c.Increment(key, delta)
		} else {
			n, err = c.Decrement(key, delta)
		}
		return err
	})
	return n, err
}

func (g *gomemcache) ping(ctx context.Context) error {
	return g.run(ctx, false, func(c *memcache.Client) error { return c.Ping() })
}

func (g *gomemcache) close() { g.pool.close() }
