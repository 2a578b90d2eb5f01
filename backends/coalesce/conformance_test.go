package coalesce

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/internal/memcachedtest"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// both runs the suite with callers that mostly find themselves alone, and with every call in a
// batch.
func both(t *testing.T, inner backends.Store, h backendtest.Harness) {
	for name, s := range map[string]*Store{"alone": wrap(t, inner, Config{}), "crowded": crowded(t, inner)} {
		t.Run(name, func(t *testing.T) {
			if h.Advance == nil {
				t.Parallel()
			}
			h := h
			h.Store, h.Peer = s, s
			maker := func(*testing.T) backendtest.Harness { return h }
			backendtest.Run(t, maker)
			t.Run("model", func(t *testing.T) { backendtest.RunModel(t, maker) })
		})
	}
}

func TestConformance_OverMemory(t *testing.T) {
	var ahead atomic.Int64
	inner := memory.New(memory.Config{
		Now:           func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		MaxValueBytes: 1 << 20,
	})
	both(t, inner, backendtest.Harness{Advance: func(d time.Duration) { ahead.Add(int64(d)) }})
}

func TestConformance_OverRedis(t *testing.T) {
	t.Parallel()
	both(t, onRedis(t), backendtest.Harness{})
}

// overMemcached runs a test over each transport: over one of them deletes and leases are gathered,
// over the other not.
func overMemcached(t *testing.T, test func(t *testing.T, over memcached.Transport)) {
	for name, over := range map[string]memcached.Transport{"gomemcache": memcached.Gomemcache, "meta": memcached.Meta} {
		t.Run(name, func(t *testing.T) { test(t, over) })
	}
}

// Here time is the test's own, so nothing waits.
func TestConformance_OverMemcachedsStandIn(t *testing.T) {
	t.Parallel()
	overMemcached(t, func(t *testing.T, over memcached.Transport) {
		var ahead atomic.Int64
		srv := memcachedtest.New(memcachedtest.Config{Now: func() time.Time {
			return time.Now().Add(time.Duration(ahead.Load()))
		}})
		t.Cleanup(func() { srv.Close() })
		if err := srv.Listen("127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		both(t, onMemcached(t, srv.Addr(), over), backendtest.Harness{
			Advance: func(d time.Duration) { ahead.Add(int64(d)) }, TTLResolution: 2 * time.Second,
		})
	})
}

func TestConformance_OverMemcached(t *testing.T) {
	t.Parallel()
	overMemcached(t, func(t *testing.T, over memcached.Transport) {
		both(t, onMemcached(t, serverstest.Memcached(t).Addr(), over), backendtest.Harness{TTLResolution: 2 * time.Second})
	})
}
