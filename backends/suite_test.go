package backends_test

import (
	"context"
	"testing"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
)

// prefixHarness is a namespace of a memory store with neighbours.
func prefixHarness(t *testing.T) backendtest.Harness {
	clock := newClock()
	inner := memory.New(memory.Config{Now: clock.Now, MaxValueBytes: 1 << 20})
	for _, neighbour := range []string{"a", "app", "app:", "apq", "zz"} {
		if err := inner.Set(t.Context(), neighbour, backends.Item{Value: []byte("not yours")}); err != nil {
			t.Fatal(err)
		}
	}
	store, err := backends.Prefix(inner, "app:")
	if err != nil {
		t.Fatal(err)
	}
	return backendtest.Harness{
		Store: store, Peer: store, Advance: clock.Advance, TTLResolution: 1,
		RawSet: func(key string, value []byte) error {
			return inner.Set(context.Background(), "app:"+key, backends.Item{Value: value})
		},
		RawGet: func(key string) ([]byte, error) {
			if raw := inner.Raw("app:" + key); raw != nil {
				return raw, nil
			}
			return nil, backends.ErrMiss
		},
	}
}

func TestPrefix_PassesTheSuite(t *testing.T) { backendtest.Run(t, prefixHarness) }

func TestPrefix_OfAPrefixPassesTheSuite(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) backendtest.Harness {
		h := prefixHarness(t)
		inner, err := backends.Prefix(h.Store, "inner/")
		if err != nil {
			t.Fatal(err)
		}
		h.Store, h.Peer, h.RawGet, h.RawSet = inner, inner, nil, nil
		return h
	})
}

func TestPrefix_FollowsTheModel(t *testing.T) { backendtest.RunModel(t, prefixHarness) }
