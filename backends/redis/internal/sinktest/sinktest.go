// Package sinktest is an L1 for tests of sources of invalidations: it holds keys, forgets what it
// is told to, and lets a test wait until it has.
package sinktest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// patience is how long something may take on a machine that is busy with other tests.
const patience = 20 * time.Second

// L1 is a [backends.Sink] that remembers what it heard. Safe for concurrent use.
type L1 struct {
	mu      sync.Mutex
	changed chan struct{}
	s       State
}

// State is what an L1 knows.
type State struct {
	Keys    map[string]bool  // held
	Old     map[string]bool  // of these, changed while the link was down
	Version map[string]int64 // of these, what Fill has put
	Up      bool             // the link
	Ups     int              // how often it came up
	Flushes []string         // the reasons
	Downs   []error
	Alive   time.Time // the last sign of life
	Wrong   []string  // what a source must not do
}

var _ backends.Sink = (*L1)(nil)

// New returns an empty L1 whose link is down.
func New() *L1 {
	return &L1{changed: make(chan struct{}), s: State{Keys: map[string]bool{}, Old: map[string]bool{}, Version: map[string]int64{}}}
}

// Watch runs source into a new L1 until the test ends, and waits until the link is up.
func Watch(t testing.TB, source backends.Invalidator) *L1 {
	t.Helper()
	l, _ := Start(t, source)
	l.Await(t, "the link is up", func(s State) bool { return s.Up })
	return l
}

// Start is Watch without the wait. The channel gets what Watch returns.
func Start(t testing.TB, source backends.Invalidator) (*L1, <-chan error) {
	t.Helper()
	l := New()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- source.Watch(ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("Watch did not end with its ctx")
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, w := range l.s.Wrong {
			t.Error(w)
		}
	})
	return l, ended
}

// Put makes the L1 hold keys.
func (l *L1) Put(keys ...string) {
	l.change(func(s *State) {
		for _, k := range keys {
			s.Keys[k] = true
		}
	})
}

// PutOld is Put of keys that have changed while the link was down: it must not come up before they
// are forgotten.
func (l *L1) PutOld(keys ...string) {
	l.Put(keys...)
	l.change(func(s *State) {
		if s.Up {
			s.Wrong = append(s.Wrong, "the test put old keys while the link was up")
		}
		for _, k := range keys {
			s.Old[k] = true
		}
	})
}

// Fill makes the L1 hold the version of key that the record has now, as a read would: if the link
// is up and it holds none. record is called while no news is taken.
func (l *L1) Fill(key string, record func() int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.s.Up && !l.s.Keys[key] {
		l.s.Keys[key], l.s.Version[key] = true, record()
	}
}

// Drop makes the L1 forget a key by its process's own doing.
func (l *L1) Drop(key string) {
	l.change(func(s *State) { delete(s.Keys, key) })
}

// Has reports whether the L1 still holds key.
func (l *L1) Has(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.s.Keys[key]
}

// Gone waits until the L1 holds none of keys.
func (l *L1) Gone(t testing.TB, keys ...string) {
	t.Helper()
	l.Await(t, fmt.Sprintf("%.100q is forgotten", keys), func(s State) bool {
		return !slices.ContainsFunc(keys, func(k string) bool { return s.Keys[k] })
	})
}

// Flushed runs act and waits for a flush that comes after it began.
func (l *L1) Flushed(t testing.TB, act func()) {
	t.Helper()
	n := len(l.State().Flushes)
	act()
	l.Await(t, "a flush", func(s State) bool { return len(s.Flushes) > n })
}

// State returns a copy of what the L1 knows, without the keys.
func (l *L1) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.s
	s.Keys, s.Old, s.Version = nil, nil, nil
	s.Flushes, s.Downs = slices.Clone(s.Flushes), slices.Clone(s.Downs)
	return s
}

// Await waits until holds does.
func (l *L1) Await(t testing.TB, what string, holds func(State) bool) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		l.mu.Lock()
		ok, changed := holds(l.s), l.changed
		l.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			s := l.State()
			t.Fatalf("waited in vain until %s; up %v, flushes %q, downs %v", what, s.Up, s.Flushes, s.Downs)
		}
	}
}

func (l *L1) change(do func(*State)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do(&l.s)
	close(l.changed)
	l.changed = make(chan struct{})
}

// Forget implements [backends.Sink].
func (l *L1) Forget(keys []string) {
	l.change(func(s *State) {
		if len(s.Flushes) == 0 {
			s.Wrong = append(s.Wrong, "keys were reported before the first flush")
		}
		for _, k := range keys {
			delete(s.Keys, k)
		}
	})
}

// Flush implements [backends.Sink].
func (l *L1) Flush(reason string) {
	l.change(func(s *State) {
		s.Flushes = append(s.Flushes, reason)
		clear(s.Keys)
	})
}

// Alive implements [backends.Sink].
func (l *L1) Alive() {
	l.change(func(s *State) {
		s.Alive = time.Now()
		if !s.Up {
			s.Up = true
			s.Ups++
			for k := range s.Old {
				if s.Keys[k] {
					s.Wrong = append(s.Wrong, fmt.Sprintf("the link is up again, and the old %s is still held", k))
				}
			}
			clear(s.Old)
		}
	})
}

// Down implements [backends.Sink].
func (l *L1) Down(reason error) {
	l.change(func(s *State) {
		s.Up = false
		s.Downs = append(s.Downs, reason)
	})
}
