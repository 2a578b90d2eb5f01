package coalesce

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
)

// slowLeases holds up batches of acquisitions and fills until they are admitted.
type slowLeases struct {
	*memory.Store
	admit chan struct{}
	mu    sync.Mutex
	sizes []int

	afterwards [][]backends.Lease // what ReleaseMany was given, and keeps; nil = it does not
}

func (s *slowLeases) noted(n int) {
	s.mu.Lock()
	s.sizes = append(s.sizes, n)
	s.mu.Unlock()
	<-s.admit
}

func (s *slowLeases) Acquire(ctx context.Context, key string, hold time.Duration) (backends.Lease, backends.Item, error) {
	s.noted(1)
	return s.Store.Acquire(ctx, key, hold)
}

func (s *slowLeases) AcquireMany(ctx context.Context, keys []string, hold time.Duration) []backends.LeaseResult {
	s.noted(len(keys))
	rs := make([]backends.LeaseResult, len(keys))
	for i, k := range keys {
		rs[i].Lease, rs[i].Item, rs[i].Err = s.Store.Acquire(ctx, k, hold)
	}
	return rs
}

func (s *slowLeases) FillMany(ctx context.Context, leases []backends.Lease, items []backends.Item) []error {
	s.noted(len(leases))
	errs := make([]error, len(leases))
	for i, l := range leases {
		errs[i] = l.Fill(ctx, items[i])
	}
	return errs
}

func (s *slowLeases) ReleaseMany(ctx context.Context, leases []backends.Lease) []error {
	s.noted(len(leases))
	if s.afterwards != nil {
		s.afterwards = append(s.afterwards, leases)
	}
	for _, l := range leases {
		l.Release(ctx)
	}
	return nil
}

func newSlowLeases() *slowLeases {
	return &slowLeases{Store: memory.New(memory.Config{}), admit: make(chan struct{}, 100)}
}

func TestAcquire_ALeaseGrantedToNobodyIsGivenBack(t *testing.T) {
	for _, c := range []struct {
		name   string
		fenced bool
	}{{"given back", true}, {"kept, the bug this is about", false}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := newSlowLeases()
				s := wrap(t, st, Config{})
				if !c.fenced {
					s.acquires.drop = nil
				}
				leaser := s.Caps().Leaser
				acquire := func(ctx context.Context, key string, out chan<- error) {
					go func() {
						_, _, err := leaser.Acquire(ctx, key, time.Hour)
						out <- err
					}()
					synctest.Wait()
				}
				first, left, stays := make(chan error, 1), make(chan error, 1), make(chan error, 1)
				acquire(t.Context(), "first", first)
				ctx, leave := context.WithCancel(t.Context())
				acquire(ctx, "k", left)
				acquire(t.Context(), "other", stays)
				st.admit <- struct{}{} // the first; the two others leave together
				synctest.Wait()
				leave()
				if err := <-left; !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				st.admit <- struct{}{} // and are granted
				st.admit <- struct{}{} // and the one given back
				if err := errors.Join(<-first, <-stays); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				_, _, err := st.Store.Acquire(t.Context(), "k", time.Hour)
				if free := err == nil; free != c.fenced {
					t.Errorf("acquired again: %v", err)
				}
			})
		})
	}
}

// A server that does not answer when leases are given back keeps nobody from acquiring others.
func TestAcquire_GivingBackHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newSlowLeases()
		s := wrap(t, st, Config{MaxInFlight: 1})
		leaser := s.Caps().Leaser
		var wg sync.WaitGroup
		acquire := func(ctx context.Context, keys ...string) {
			for _, k := range keys {
				wg.Go(func() { leaser.Acquire(ctx, k, time.Hour) })
			}
			synctest.Wait()
		}
		acquire(t.Context(), "first")
		ctx, leave := context.WithCancel(t.Context())
		acquire(ctx, numbered("k", 20)...)
		acquire(t.Context(), "stays") // in the same batch, which therefore is not given up
		st.admit <- struct{}{}
		synctest.Wait()
		leave()
		synctest.Wait()
		st.admit <- struct{}{} // those who left are granted theirs
		synctest.Wait()
		acquire(t.Context(), "next")
		if want := []int{1, 21, 20, 1}; !slices.Equal(st.sizes, want) {
			t.Errorf("requests of %d keys, want %d: one that gives all back, and the next beside it", st.sizes, want)
		}
		close(st.admit)
		wg.Wait()
	})
}

// The memory of a batch is used again; what a store was given may still be in use by a call that it
// has left behind.
func TestRelease_AStoreMayKeepWhatItWasGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newSlowLeases()
		st.afterwards = [][]backends.Lease{}
		close(st.admit)
		s := wrap(t, st, Config{})
		s.releases.crowd = true
		for _, k := range numbered("k", 5) {
			l, _, err := s.Caps().Leaser.Acquire(t.Context(), k, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			l.Release(t.Context())
		}
		synctest.Wait()
		for _, leases := range st.afterwards {
			if leases[0] == nil {
				t.Error("a lease is gone from what the store was given")
			}
		}
	})
}

func TestFill_FillsTravelTogetherAndHoldsMayDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newSlowLeases()
		close(st.admit)
		s := wrap(t, st, Config{})
		s.acquires.crowd, s.fills.crowd = true, true
		var wg sync.WaitGroup
		for i, k := range numbered("k", 10) {
			wg.Go(func() {
				l, _, err := s.Caps().Leaser.Acquire(t.Context(), k, time.Duration(1+i%2)*time.Hour)
				if err == nil {
					err = l.Fill(t.Context(), backends.Item{Value: []byte(k)})
				}
				if err != nil {
					t.Errorf("%s: %v", k, err)
				}
			})
		}
		wg.Wait()
		for _, k := range numbered("k", 10) {
			if it, err := st.Store.Get(t.Context(), k); err != nil || string(it.Value) != k {
				t.Errorf("%s: %q, %v", k, it.Value, err)
			}
		}
	})
}

func TestFill_OneWhoLeavesDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newSlowLeases()
		s := wrap(t, st, Config{})
		s.fills.crowd = true
		for range 3 {
			st.admit <- struct{}{}
		}
		var leases []backends.Lease
		for _, k := range numbered("k", 3) {
			l, _, err := s.Caps().Leaser.Acquire(t.Context(), k, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			leases = append(leases, l)
		}
		ctx, leave := context.WithCancel(t.Context())
		errs := make([]chan error, 3)
		for i, l := range leases {
			errs[i] = make(chan error, 1)
			go func() { errs[i] <- l.Fill(ctx, backends.Item{Value: []byte("v")}) }()
			synctest.Wait() // the first leaves, the others wait for it
		}
		leave()
		if err := <-errs[0]; !errors.Is(err, backends.ErrUnknown) || !errors.Is(err, context.Canceled) {
			t.Errorf("under way: %v", err)
		}
		if err := <-errs[1]; !errors.Is(err, backends.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("still waiting: %v", err)
		}
		<-errs[2]
		close(st.admit)
	})
}
