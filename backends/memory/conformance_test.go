package memory_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
)

// manual is a clock that stands still until it is moved.
type manual struct {
	mu  sync.Mutex
	now time.Time
}

func (m *manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
}

func harness(*testing.T) backendtest.Harness {
	clock := &manual{now: time.Unix(1_700_000_000, 0)}
	store := memory.New(memory.Config{Now: clock.Now, MaxValueBytes: 1 << 20})
	return backendtest.Harness{
		Store:         store,
		Peer:          store,
		Advance:       clock.Advance,
		TTLResolution: time.Nanosecond,
		RawSet: func(key string, value []byte) error {
			return store.Set(context.Background(), key, backends.Item{Value: value})
		},
		RawGet: func(key string) ([]byte, error) {
			if raw := store.Raw(key); raw != nil {
				return raw, nil
			}
			return nil, backends.ErrMiss
		},
	}
}

func TestStore_PassesTheSuite(t *testing.T) { backendtest.Run(t, harness) }

func TestStore_PassesTheSuiteInRealTime(t *testing.T) {
	backendtest.Run(t, func(*testing.T) backendtest.Harness {
		return backendtest.Harness{Store: memory.New(memory.Config{})}
	})
}

func TestStore_FollowsTheModel(t *testing.T) { backendtest.RunModel(t, harness) }
