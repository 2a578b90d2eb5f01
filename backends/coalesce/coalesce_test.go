package coalesce

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func TestNew_RefusesWhatCannotWork(t *testing.T) {
	for name, c := range map[string]struct {
		store backends.Store
		cfg   Config
	}{
		"no store":         {nil, Config{}},
		"a nil pointer":    {(*memory.Store)(nil), Config{}},
		"no batcher":       {plainStore{memory.New(memory.Config{})}, Config{}},
		"negative limit":   {memory.New(memory.Config{}), Config{MaxKeys: -1}},
		"negative timeout": {memory.New(memory.Config{}), Config{Timeout: -1}},
	} {
		if _, err := New(c.store, c.cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// plainStore hides what a store can do beyond the three methods.
type plainStore struct{ backends.Store }

func TestCaps_AreThoseOfTheStoreBelow(t *testing.T) {
	full := memory.New(memory.Config{MaxValueBytes: 7})
	if got, want := wrap(t, full, Config{}).Caps(), backends.CapsOf(full); got.MaxValueBytes != 7 || got.Flags != want.Flags ||
		got.Prompt != want.Prompt || got.CASer != want.CASer || got.Batcher != want.Batcher || (got.BatchLeaser == nil) != (want.BatchLeaser == nil) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	few := wrap(t, newStub(), Config{}).Caps()
	if few.Leaser != nil || few.BatchLeaser != nil || few.TTLer != nil || few.CASer != nil || few.Batcher == nil {
		t.Errorf("of a store that can only batch: %+v", few)
	}
}

// reader calls Get for each key on a goroutine of its own and collects what they get.
type reader struct {
	t   *testing.T
	s   *Store
	wg  sync.WaitGroup
	mu  sync.Mutex
	got map[string]string
}

func (r *reader) get(ctx context.Context, keys ...string) {
	for _, k := range keys {
		r.wg.Go(func() {
			it, err := r.s.Get(ctx, k)
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.got[k] = string(it.Value); err != nil {
				r.got[k] = err.Error()
			}
		})
	}
}

func (r *reader) want(want map[string]string) {
	r.t.Helper()
	r.wg.Wait()
	for k, w := range want {
		if r.got[k] != w {
			r.t.Errorf("%s: got %q, want %q", k, r.got[k], w)
		}
	}
}

func read(t *testing.T, s *Store) *reader { return &reader{t: t, s: s, got: map[string]string{}} }

func numbered(prefix string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprint(prefix, i)
	}
	return keys
}

func TestGet_CallersWhoComeMeanwhileTravelTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStub()
		r := read(t, wrap(t, st, Config{}))
		r.get(t.Context(), "first")
		synctest.Wait()
		r.get(t.Context(), "a", "b", "-c") // fewer than a step
		synctest.Wait()
		if n := len(st.requests()); n != 1 {
			t.Fatalf("%d requests, want only the first", n)
		}
		st.admit <- struct{}{}
		synctest.Wait()
		st.admit <- struct{}{}
		r.want(map[string]string{"first": "v:first", "a": "v:a", "b": "v:b", "-c": backends.ErrMiss.Error()})
		if got := st.requests(); len(got) != 2 || len(got[1]) != 3 {
			t.Errorf("requests %q, want two, the second of three keys", got)
		}
	})
}

func TestGet_MoreLeaveAsTheQueueGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStub()
		s := wrap(t, st, Config{})
		s.sizes.mean.Store(0)
		r := read(t, s)
		for _, step := range []struct{ callers, requests int }{
			{1, 1}, {31, 1}, {1, 2}, // 32 wait beside one
			{63, 2}, {1, 3}, // 64 beside two
		} {
			r.get(t.Context(), numbered("k", step.callers)...)
			synctest.Wait()
			if n := len(st.requests()); n != step.requests {
				t.Errorf("after %d more callers: %d requests, want %d", step.callers, n, step.requests)
			}
		}
		close(st.admit)
		r.wg.Wait()
	})
}

func TestGet_BatchesAreBoundedByCountAndBytes(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		mean int
		want int
	}{
		"count": {Config{MaxKeys: 10}, 0, 10},
		"bytes": {Config{MaxBytes: 1000}, 200, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := newStub()
				c.cfg.MaxInFlight = 1
				s := wrap(t, st, c.cfg)
				s.sizes.mean.Store(int64(c.mean))
				r := read(t, s)
				r.get(t.Context(), "first")
				synctest.Wait()
				r.get(t.Context(), numbered("k", 20)...)
				synctest.Wait()
				st.admit <- struct{}{}
				synctest.Wait()
				if got := st.requests(); len(got[1]) != c.want {
					t.Errorf("a batch of %d keys, want %d", len(got[1]), c.want)
				}
				close(st.admit)
				r.wg.Wait()
			})
		})
	}
}

// Nothing is known of values that nobody has read: they count as much as a value may that travels
// with others. Requests that found nothing carried nothing.
func TestGet_BatchesAreBoundedBeforeAnythingIsMeasured(t *testing.T) {
	for _, c := range []struct {
		name, key string
		first     int // keys in the first batch
		then      int // and in one after four
	}{
		{"values", "k", 16, 160 / len("v:k00")},
		{"misses", "-", 16, 80},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := newStub()
				s := wrap(t, st, Config{MaxInFlight: 1, MaxBytes: 160})
				r := read(t, s)
				r.get(t.Context(), "-first")
				synctest.Wait()
				keys := make([]string, 100)
				for i := range keys {
					keys[i] = fmt.Sprintf("%s%02d", c.key, i)
				}
				r.get(t.Context(), keys[:50]...)
				synctest.Wait()
				st.admit <- struct{}{}
				synctest.Wait()
				if n := len(st.requests()[1]); n != c.first {
					t.Errorf("the first batch has %d keys, want %d", n, c.first)
				}
				for range 4 { // those that had gathered by then
					st.admit <- struct{}{}
				}
				r.wg.Wait()

				before := len(st.requests())
				r.get(t.Context(), "-first")
				synctest.Wait()
				r.get(t.Context(), keys...)
				synctest.Wait()
				close(st.admit)
				r.wg.Wait()
				if n := len(st.requests()[before+1]); n != c.then {
					t.Errorf("a later batch has %d keys, want %d", n, c.then)
				}
			})
		})
	}
}

func TestGet_LargeValuesTravelAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStub()
		s := wrap(t, st, Config{MaxBytes: 160}) // from 11 bytes on a value is large
		r := read(t, s)
		st.admit <- struct{}{}
		r.get(t.Context(), "a-large-one")
		r.wg.Wait()
		r.get(t.Context(), "first")
		synctest.Wait()
		r.get(t.Context(), "a-large-one", "b")
		synctest.Wait()
		if got := st.requests(); len(got) != 3 || got[2][0] != "a-large-one" {
			t.Errorf("requests %q, want the large one to have left by itself", got)
		}
		close(st.admit)
		r.wg.Wait()
		if got := st.requests(); len(got) != 4 || got[3][0] != "b" {
			t.Errorf("requests %q", got)
		}
	})
}

func TestGet_ACallerWhoLeavesDoesNotTakeTheOthersAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStub()
		r := read(t, wrap(t, st, Config{}))
		lone, leaveLone := context.WithCancel(t.Context())
		r.get(lone, "lone")
		synctest.Wait()
		early, leaveEarly := context.WithCancel(t.Context())
		r.get(early, "early") // first of the batch
		synctest.Wait()
		late, leaveLate := context.WithCancel(t.Context())
		r.get(late, "late")
		r.get(t.Context(), "stays")
		synctest.Wait()
		leaveEarly() // before its batch has left
		synctest.Wait()
		leaveLone() // the one the batch waits for
		synctest.Wait()
		leaveLate() // while it is under way
		synctest.Wait()
		if st.ctxs[1].Err() != nil {
			t.Error("the batch was given up though somebody waits")
		}
		st.admit <- struct{}{}
		canceled := context.Canceled.Error()
		r.want(map[string]string{"lone": canceled, "early": canceled, "late": canceled, "stays": "v:stays"})
		got := st.requests()
		slices.Sort(got[1])
		if len(got) != 2 || !slices.Equal(got[1], []string{"late", "stays"}) {
			t.Errorf("requests %q, want the second without who left before", got)
		}
	})
}

func TestGet_ABatchNobodyWaitsForIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStub()
		r := read(t, wrap(t, st, Config{}))
		r.get(t.Context(), "first")
		synctest.Wait()
		ctx, leave := context.WithCancel(t.Context())
		r.get(ctx, "a", "b")
		synctest.Wait()
		st.admit <- struct{}{}
		synctest.Wait()
		leave()
		synctest.Wait()
		if st.ctxs[1].Err() == nil {
			t.Error("the batch goes on for nobody")
		}
		r.get(t.Context(), "next") // nothing is under way: it goes at once
		synctest.Wait()
		st.admit <- struct{}{}
		r.want(map[string]string{"first": "v:first", "a": context.Canceled.Error(), "next": "v:next"})
	})
}

func TestGet_ABatchHasTheLatestDeadlineOfItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStub()
		r := read(t, wrap(t, st, Config{Timeout: 3 * time.Second}))
		r.get(t.Context(), "first")
		synctest.Wait()
		soon, cancel1 := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel1()
		late, cancel2 := context.WithTimeout(t.Context(), time.Second)
		defer cancel2()
		r.get(soon, "soon")
		r.get(late, "late")
		synctest.Wait()
		start := time.Now()
		st.admit <- struct{}{}
		synctest.Wait()
		if d, _ := st.ctxs[1].Deadline(); d.Sub(start) != time.Second {
			t.Errorf("the batch has %v, want a second", d.Sub(start))
		}
		r.want(map[string]string{"soon": context.DeadlineExceeded.Error(), "late": context.DeadlineExceeded.Error()})

		r.get(t.Context(), "first")
		synctest.Wait()
		r.get(t.Context(), "a", "b")
		synctest.Wait()
		start = time.Now()
		st.admit <- struct{}{}
		r.want(map[string]string{"a": context.DeadlineExceeded.Error()})
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("a batch without deadlines took %v, want the configured 3 s", took)
		}
	})
}

func TestGet_ARequestThatHangsHoldsUpNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStub()
		st.prompt = false
		s := wrap(t, st, Config{})
		r := read(t, s)
		hung, leave := context.WithCancel(t.Context())
		r.get(hung, "hangs")
		synctest.Wait()
		leave() // which this store does not look at
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		it := make(chan error, 1)
		go func() {
			_, err := s.Get(ctx, "b")
			it <- err
		}()
		synctest.Wait()
		<-st.arrived
		<-st.arrived // that of b, which the watch has sent
		if took := time.Since(start); took > 3*5*time.Millisecond {
			t.Errorf("it waited %v", took)
		}
		close(st.admit)
		if err := <-it; err != nil {
			t.Error(err)
		}
		r.wg.Wait()
	})
}

func TestGet_APanicReachesEveryCallerAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStub()
		st.trip = func(keys []string) {
			if len(keys) == 3 {
				panic("no good")
			}
		}
		s := wrap(t, st, Config{})
		r := read(t, s)
		r.get(t.Context(), "first")
		synctest.Wait()
		var wg sync.WaitGroup
		panics := make(chan any, 3)
		for _, k := range numbered("k", 3) {
			wg.Go(func() {
				defer func() { panics <- recover() }()
				s.Get(t.Context(), k)
			})
		}
		synctest.Wait()
		st.admit <- struct{}{}
		wg.Wait()
		for range 3 {
			if p := <-panics; p != "no good" {
				t.Errorf("recovered %v", p)
			}
		}
		st.admit <- struct{}{}
		r.get(t.Context(), "after")
		r.want(map[string]string{"first": "v:first", "after": "v:after"})
	})
}

func TestGet_AStoreThatEndsTheGoroutineFailsTheCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStub()
		st.trip = func(keys []string) {
			if len(keys) == 2 {
				runtime.Goexit()
			}
		}
		r := read(t, wrap(t, st, Config{}))
		r.get(t.Context(), "first")
		synctest.Wait()
		r.get(t.Context(), "a", "b")
		synctest.Wait()
		st.admit <- struct{}{}
		r.want(map[string]string{"first": "v:first", "a": errExited.Error(), "b": errExited.Error()})
		st.admit <- struct{}{}
		r.get(t.Context(), "after")
		r.want(map[string]string{"after": "v:after"})
	})
}

// hoarder keeps the keys that it was asked for, as a call does that was left behind.
type hoarder struct {
	*stub
	kept [][]string
}

func (h *hoarder) GetMany(ctx context.Context, keys []string) []backends.Result {
	h.kept = append(h.kept, keys)
	return h.stub.GetMany(ctx, keys)
}

func (h *hoarder) DeleteMany(ctx context.Context, keys []string) []error {
	h.kept = append(h.kept, keys)
	return h.stub.DeleteMany(ctx, keys)
}

// The memory of a batch is used again, and a store may have left a call behind that goes on with
// its keys.
func TestGet_AStoreMayKeepWhatItWasGiven(t *testing.T) {
	h := &hoarder{stub: newStub()}
	close(h.admit)
	s := crowded(t, h)
	for _, k := range numbered("k", 10) {
		s.Get(t.Context(), k)
		s.Delete(t.Context(), k)
	}
	if got, want := slices.Concat(h.kept...), slices.Concat(h.requests()...); len(got) != 20 || !slices.Equal(got, want) {
		t.Errorf("the store has %q, was asked for %q", got, want)
	}
}

// short loses the last result of every batch.
type short struct{ *stub }

func (s short) GetMany(ctx context.Context, keys []string) []backends.Result {
	return s.stub.GetMany(ctx, keys)[1:]
}

func TestGet_AKeyThatWasNotAnsweredIsNoMiss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStub()
		r := read(t, wrap(t, short{st}, Config{}))
		r.get(t.Context(), "first")
		synctest.Wait()
		r.get(t.Context(), "a", "b")
		synctest.Wait()
		close(st.admit)
		r.wg.Wait()
		if all := r.got["a"] + r.got["b"]; !strings.Contains(all, errShort.Error()) {
			t.Errorf("got %q", all)
		}
	})
}

func TestDelete_TravelsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStub()
		s := wrap(t, st, Config{})
		errs := make(chan error, 5)
		del := func(k string) { go func() { errs <- s.Delete(t.Context(), k) }() }
		del("first")
		synctest.Wait()
		for _, k := range numbered("k", 4) {
			del(k)
		}
		synctest.Wait()
		close(st.admit)
		for range 5 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if got := st.requests(); len(got) != 2 || len(got[1]) != 4 {
			t.Errorf("requests %q", got)
		}
	})
}

// What a batch answers goes to whoever asked: with the places of two results exchanged below, the
// same check fails.
func TestGet_EveryCallerGetsItsOwnKey(t *testing.T) {
	t.Parallel()
	inner := map[string]backends.Store{
		"memory": memory.New(memory.Config{}), "redis": onRedis(t),
		"memcached": onMemcached(t, serverstest.Memcached(t).Addr(), memcached.Gomemcache),
	}
	for name, in := range inner {
		t.Run(name, func(t *testing.T) {
			for _, k := range numbered("k", 200) {
				if err := in.Set(t.Context(), k, backends.Item{Value: []byte("v:" + k)}); err != nil {
					t.Fatal(err)
				}
			}
			for kind, s := range map[string]*Store{"alone": wrap(t, in, Config{}), "crowded": crowded(t, in)} {
				if wrong := mistaken(t, s); wrong != 0 {
					t.Errorf("%s: %d wrong answers", kind, wrong)
				}
			}
			if wrong := mistaken(t, crowded(t, swapped{in})); wrong == 0 {
				t.Error("results in the wrong places were not noticed")
			}
		})
	}
}

// swapped hands out the first two results of a batch in each other's place.
type swapped struct{ backends.Store }

func (s swapped) Caps() backends.Caps {
	c := backends.CapsOf(s.Store)
	c.Batcher = swappedBatcher{c.Batcher}
	return c
}

type swappedBatcher struct{ backends.Batcher }

func (s swappedBatcher) GetMany(ctx context.Context, keys []string) []backends.Result {
	rs := s.Batcher.GetMany(ctx, keys)
	if len(rs) > 1 {
		rs[0], rs[1] = rs[1], rs[0]
	}
	return rs
}

// mistaken has 64 callers read keys that are there and keys that are not, some giving up at any
// moment, and counts the answers that belong to another key. An error is no answer: one request
// that times out on a starved machine fails all of a batch.
func mistaken(t *testing.T, s *Store) int {
	var wg sync.WaitGroup
	wrong := make([]int, 64)
	for w := range wrong {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			for range 100 {
				k := fmt.Sprint("k", rnd.IntN(400)) // half of them are there
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				if rnd.IntN(8) == 0 {
					go cancel()
				}
				it, err := s.Get(ctx, k)
				cancel()
				there := len(k) < 4 || k < "k200"
				switch {
				case errors.Is(err, context.Canceled):
				case err != nil && !errors.Is(err, backends.ErrMiss):
					t.Errorf("no answer for %q: %v", k, err)
				case there != (err == nil), there && string(it.Value) != "v:"+k:
					wrong[w]++
				}
			}
		})
	}
	wg.Wait()
	n := 0
	for _, w := range wrong {
		n += w
	}
	return n
}

func TestGet_ALoneCallerPaysNoAllocation(t *testing.T) {
	inner := memory.New(memory.Config{})
	if err := inner.Set(t.Context(), "k", backends.Item{Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	s := wrap(t, inner, Config{})
	bare := testing.AllocsPerRun(1000, func() { inner.Get(t.Context(), "k") })
	with := testing.AllocsPerRun(1000, func() { s.Get(t.Context(), "k") })
	if with > bare {
		t.Errorf("%v allocations, the store alone has %v", with, bare)
	}
}

func TestStore_FaultsBelowStayWithTheCallersTheyHit(t *testing.T) {
	f := backendtest.NewFaulty(memory.New(memory.Config{}), 1)
	s := crowded(t, f)
	broken := errors.New("broken")
	f.Inject(backendtest.Fault{Times: 1, Err: broken})
	if _, err := s.Get(t.Context(), "k"); !errors.Is(err, broken) {
		t.Errorf("got %v, want the store's error", err)
	}
	if _, err := s.Get(t.Context(), "k"); !errors.Is(err, backends.ErrMiss) {
		t.Errorf("got %v, want a miss", err)
	}
}
