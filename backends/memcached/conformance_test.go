package memcached

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/internal/memcachedtest"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// conform runs the suite on a Store made of conf, and a second client of the same servers, and
// then compares random calls with a model.
func conform(t *testing.T, conf Config, advance func(time.Duration)) {
	store, peer := open(t, conf), open(t, conf)
	maker := func(t *testing.T) backendtest.Harness {
		return backendtest.Harness{
			Store:   store,
			Peer:    peer,
			Advance: advance,
			// One second for the rounding and one for the tick.
			TTLResolution: 2 * time.Second,
			RawSet: func(key string, value []byte) error {
				c := foreign(store, key)
				defer c.Close()
				return c.Set(&memcache.Item{Key: store.place(key).wire, Value: value})
			},
			RawGet: func(key string) ([]byte, error) {
				c := foreign(store, key)
				defer c.Close()
				it, err := c.Get(store.place(key).wire)
				if errors.Is(err, memcache.ErrCacheMiss) && conf.LeaseKey == Separate {
					it, err = c.Get(store.beside(store.place(key), asLease)) // where marks are kept
				}
				if errors.Is(err, memcache.ErrCacheMiss) {
					return nil, backends.ErrMiss
				}
				if err != nil {
					return nil, err
				}
				return it.Value, nil
			},
		}
	}
	backendtest.Run(t, maker)
	t.Run("model", func(t *testing.T) { backendtest.RunModel(t, maker) })
}

func TestConformance(t *testing.T) {
	three := fleet(serverstest.Memcached(t).Addr(), serverstest.Memcached(t).Addr(), serverstest.Memcached(t).Addr())
	for name, conf := range map[string]Config{
		"one":        {Servers: three[:1]},
		"rendezvous": {Servers: three},
		"ketama":     {Servers: three, Router: Ketama},
		"modulo":     {Servers: three, Router: Modulo},
		"prefix":     {Servers: three, Prefix: "app:v1:"},
		"separate":   {Servers: three, LeaseKey: Separate},
		"meta":       {Servers: three[:1], Transport: Meta},
		"meta fleet": {Servers: three, Transport: Meta, Prefix: "meta:"},
		"meta apart": {Servers: three, Transport: Meta, LeaseKey: Separate, Prefix: "apart:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform(t, conf, nil)
		})
	}
}

// Here time is the test's own, so nothing waits.
func TestConformance_OnTheEmbeddedServer(t *testing.T) {
	for name, conf := range map[string]Config{
		"in data": {}, "separate": {LeaseKey: Separate}, "meta": {Transport: Meta},
	} {
		t.Run(name, func(t *testing.T) {
			var ahead atomic.Int64
			srv := memcachedtest.New(memcachedtest.Config{Now: func() time.Time {
				return time.Now().Add(time.Duration(ahead.Load()))
			}})
			t.Cleanup(func() { srv.Close() })
			ok(t, srv.Listen("127.0.0.1:0"))
			conf.Servers = fleet(srv.Addr())
			conform(t, conf, func(d time.Duration) { ahead.Add(int64(d)) })
		})
	}
}
