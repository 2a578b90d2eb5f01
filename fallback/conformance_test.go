package fallback

import (
	"context"
	"fmt"
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

var everyPhase = []Phase{PhaseOld, PhaseMirror, Ramp(50), PhaseNew, PhaseRetire}

func must(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatalf("new: %v", err)
	}
	t.Cleanup(s.Close)
	for n := s; n != nil; n = n.nested { // a read returns after its copy, however busy the machine is
		n.patience = time.Minute
	}
	return s
}

func TestStore_PassesTheSuiteInEveryPhase(t *testing.T) {
	for _, phase := range everyPhase {
		for _, both := range []bool{false, true} {
			t.Run(fmt.Sprint(phase, both), func(t *testing.T) {
				backendtest.Run(t, func(t *testing.T) backendtest.Harness {
					clock := &manual{now: time.Now()}
					old := memory.New(memory.Config{Now: clock.Now, MaxValueBytes: 1 << 20})
					fresh := memory.New(memory.Config{Now: clock.Now, MaxValueBytes: 1 << 19})
					s := must(t, Config{New: Member{Store: fresh}, Old: []Member{{Store: old}}, Phase: phase, Both: both})
					raw := func(key string) *memory.Store {
						if phase.mode(key).newAnswers() {
							return fresh
						}
						return old
					}
					return backendtest.Harness{
						Store: s, Peer: s, Advance: clock.Advance, TTLResolution: time.Nanosecond,
						RawSet: func(key string, value []byte) error {
							return raw(key).Set(context.Background(), key, backends.Item{Value: value})
						},
						RawGet: func(key string) ([]byte, error) {
							if v := raw(key).Raw(key); v != nil {
								return v, nil
							}
							return nil, backends.ErrMiss
						},
					}
				})
			})
		}
	}
}
