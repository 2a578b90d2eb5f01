package redis

import (
	"context"
	"errors"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
)

// harness is a store with a plain client beside it.
func harness(s *Store) backendtest.Harness {
	return backendtest.Harness{
		Store: s,
		RawSet: func(key string, value []byte) error {
			return s.client.Set(context.Background(), key, value, 0).Err()
		},
		RawGet: func(key string) ([]byte, error) {
			b, err := s.client.Get(context.Background(), key).Bytes()
			if errors.Is(err, goredis.Nil) && s.separate { // the marks that some cases look at
				b, err = s.client.Get(context.Background(), SideKey(key)).Bytes()
			}
			if errors.Is(err, goredis.Nil) {
				err = backends.ErrMiss
			}
			return b, err
		},
	}
}

var modes = []struct {
	name string
	cfg  Config
}{
	{"InData", Config{}},
	{"Separate", Config{LeaseKey: Separate}},
}

func TestStore_ConformsOnOneServer(t *testing.T) {
	t.Parallel()
	addr := server(t)
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, addr, m.cfg)
			backendtest.Run(t, func(*testing.T) backendtest.Harness { return harness(s) })
		})
	}
}

func TestStore_ConformsOnACluster(t *testing.T) {
	t.Parallel()
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := openCluster(t, cluster(t), m.cfg)
			backendtest.Run(t, func(*testing.T) backendtest.Harness { return harness(s) })
		})
	}
}

func TestStore_ConformsOnTheStandIn(t *testing.T) {
	t.Parallel()
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			standIn := mini(t)
			s := open(t, standIn.Addr(), m.cfg)
			backendtest.Run(t, func(*testing.T) backendtest.Harness {
				h := harness(s)
				h.Advance = standIn.FastForward
				return h
			})
		})
	}
}

func TestStore_ConformsThroughAPrefix(t *testing.T) {
	t.Parallel()
	addr := server(t)
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, addr, m.cfg)
			p, err := backends.Prefix(s, "a}b{c:") // a tag that ends where the key begins
			if err != nil {
				t.Fatal(err)
			}
			backendtest.Run(t, func(*testing.T) backendtest.Harness {
				return backendtest.Harness{Store: p}
			})
		})
	}
}

func TestStore_ConformsWithoutSetNXGet(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	s.noNXGet.Store(true)
	backendtest.Run(t, func(*testing.T) backendtest.Harness { return harness(s) })
}

func TestStore_ConformsThroughAnAutoPipeliner(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		make func(t *testing.T) (*goredis.AutoPipeliner, error)
	}{
		{"OneServer", func(t *testing.T) (*goredis.AutoPipeliner, error) {
			return open(t, server(t), Config{}).client.AutoPipeline()
		}},
		{"ClusterDeferred", func(t *testing.T) (*goredis.AutoPipeliner, error) {
			return openCluster(t, cluster(t), Config{}).client.AsyncAutoPipeline()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ap, err := c.make(t)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = ap.Close() })
			s := newStore(t, ap, Config{})
			backendtest.Run(t, func(*testing.T) backendtest.Harness {
				h := harness(s)
				h.Store = unscanned{s} // it cannot be scanned; everything else is asked of it
				return h
			})
		})
	}
}

// unscanned is a store without its Scanner.
type unscanned struct{ *Store }

func (u unscanned) Caps() backends.Caps {
	c := backends.CapsOf(u.Store)
	c.Scanner = nil
	return c
}

func TestAcquire_LeaseOutlivesNothing(t *testing.T) {
	t.Parallel()
	standIn := mini(t)
	s := open(t, standIn.Addr(), Config{})
	l, _, err := s.Acquire(t.Context(), "k", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	standIn.FastForward(2 * time.Second)
	wantErr(t, l.Fill(t.Context(), text("late")), backends.ErrLeaseLost, "fill after the lease ran out")
}
