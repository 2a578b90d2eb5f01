package writethrough_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writethrough"
)

func TestMain(m *testing.M) {
	if args := strings.Split(os.Getenv(childEnv), " "); len(args) == 4 {
		if err := child(args[0], args[1], args[2], args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

type (
	mutations = []tier.Mutation[string]
	sink      = writethrough.SinkFunc[string]
)

func open(t testing.TB, cfg writethrough.Config[string]) *writethrough.Writer[string] {
	t.Helper()
	w, err := writethrough.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func one(key, v string) mutations { return mutations{{Key: key, Value: v}} }

// only checks that err is want and none of the other two outcomes.
func only(t testing.TB, err, want error) {
	t.Helper()
	for _, o := range []error{writethrough.ErrRefused, writethrough.ErrFailed, tier.ErrUnknown} {
		if errors.Is(err, o) != (o == want) {
			t.Fatalf("error %v: is %v: %v", err, o, o != want)
		}
	}
}

func TestWrite_TellsOutcomesApart(t *testing.T) {
	odd := errors.New("duplicate key")
	for _, c := range []struct {
		name, why string
		err       error
		classify  func(error) error
		want      error
	}{
		{"refused", "the Sink said so", writethrough.Refused(odd), nil, writethrough.ErrRefused},
		{"failed", "the Sink said so", writethrough.Failed(odd), nil, writethrough.ErrFailed},
		{"unknown", "the Sink said so", tier.ErrUnknown, nil, tier.ErrUnknown},
		{"unclassified", "taking it for undone would leave the old value", odd, nil, tier.ErrUnknown},
		{"classified", "Classify knows this database", odd, func(error) error { return writethrough.ErrRefused }, writethrough.ErrRefused},
		{"badly classified", "Classify says something else", odd, func(error) error { return odd }, tier.ErrUnknown},
		{"mixed", "one half may have happened", errors.Join(writethrough.Refused(odd), tier.ErrUnknown), nil, tier.ErrUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := open(t, writethrough.Config[string]{
				Sink:     sink(func(context.Context, mutations) error { return c.err }),
				Classify: c.classify,
			})
			err := w.Write(t.Context(), one("k", "v"))
			if !errors.Is(err, c.want) || !errors.Is(err, c.err) {
				t.Errorf("%v: %v", c.why, err)
			}
			if c.want == tier.ErrUnknown && errors.Is(err, writethrough.ErrFailed) {
				t.Errorf("%v claims that nothing was done", err)
			}
		})
	}
}

func TestWrite_OutcomesArePerMutation(t *testing.T) {
	no := errors.New("no")
	w := open(t, writethrough.Config[string]{Sink: sink(func(_ context.Context, ms mutations) error {
		return &tier.WriteError{Errs: []error{nil, writethrough.Refused(no), no}}
	})})
	err := w.Write(t.Context(), mutations{{Key: "a"}, {Key: "b"}, {Key: "c"}})
	var each *tier.WriteError
	if !errors.As(err, &each) || len(each.Errs) != 3 || each.Errs[0] != nil {
		t.Fatalf("got %v", err)
	}
	only(t, each.Errs[1], writethrough.ErrRefused)
	only(t, each.Errs[2], tier.ErrUnknown)
	if s := w.Stats(); s.Calls != 1 || s.Written != 1 || s.Refused != 1 || s.Unknown != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestWrite_DeadlineAfterTheCallBeganIsUnknownAndBeforeItFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		w := open(t, writethrough.Config[string]{
			Sink:          sink(func(context.Context, mutations) error { <-free; return nil }),
			Timeout:       time.Second,
			MaxConcurrent: 1,
		})
		start := time.Now()
		only(t, w.Write(t.Context(), one("k", "v")), tier.ErrUnknown)
		if d := time.Since(start); d != time.Second {
			t.Errorf("waited %v", d)
		}
		err := w.Write(t.Context(), one("k", "v")) // the only place is still taken
		only(t, err, writethrough.ErrFailed)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err = w.Write(ctx, one("k", "v"))
		only(t, err, writethrough.ErrFailed)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v is not the context's error", err)
		}
		close(free)
		synctest.Wait()
	})
}

func TestWrite_OpenBreakerFailsAtOnceAndRefusalsDoNotOpenIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		answer := writethrough.Refused(errors.New("no"))
		w := open(t, writethrough.Config[string]{
			Sink: sink(func(context.Context, mutations) error {
				mu.Lock()
				defer mu.Unlock()
				return answer
			}),
			Breaker: tier.Breaker{MinCalls: 5, OpenFor: time.Second},
		})
		for range 50 {
			only(t, w.Write(t.Context(), one("k", "v")), writethrough.ErrRefused)
		}
		mu.Lock()
		answer = errors.New("connection reset")
		mu.Unlock()
		var last error
		for range 100 {
			last = w.Write(t.Context(), one("k", "v"))
		}
		only(t, last, writethrough.ErrFailed)
		if !errors.Is(last, tier.ErrUnavailable) || w.Stats().Breaker != "open" {
			t.Errorf("breaker %s: %v", w.Stats().Breaker, last)
		}
		mu.Lock()
		answer = nil
		mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := w.Write(t.Context(), one("k", "v")); err != nil {
			t.Errorf("after the pause: %v", err)
		}
		time.Sleep(time.Minute)
	})
}

// gate is a Sink whose first call waits for open, and which notes what it was given.
type gate struct {
	open    chan struct{}
	entered chan struct{}
	once    sync.Once
	mu      sync.Mutex
	calls   []mutations
	answer  func(mutations) error
}

func newGate() *gate { return &gate{open: make(chan struct{}), entered: make(chan struct{})} }

func (g *gate) Write(_ context.Context, ms mutations) error {
	g.mu.Lock()
	g.calls = append(g.calls, ms)
	g.mu.Unlock()
	g.once.Do(func() {
		close(g.entered)
		<-g.open
	})
	if g.answer != nil {
		return g.answer(ms)
	}
	return nil
}

func TestWrite_BatchGathersWhatComesDuringACallAndOneBadRecordStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		bad := errors.New("bad record")
		g.answer = func(ms mutations) error {
			for _, m := range ms {
				if m.Value == "bad" {
					return writethrough.Refused(bad)
				}
			}
			return nil
		}
		w := open(t, writethrough.Config[string]{Sink: g, MaxBatch: 10})
		errs := map[string]error{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		write := func(v string) {
			wg.Go(func() {
				err := w.Write(t.Context(), one("k", v))
				mu.Lock()
				defer mu.Unlock()
				errs[v] = err
			})
			synctest.Wait()
		}
		write("0")
		<-g.entered
		for _, v := range []string{"1", "bad", "2"} {
			write(v)
		}
		close(g.open)
		wg.Wait()
		if len(g.calls) != 5 || len(g.calls[1]) != 3 || g.calls[1][0].Value != "1" || g.calls[1][2].Value != "2" {
			t.Errorf("calls %v; want the first alone, three together in order, then each alone", g.calls)
		}
		only(t, errs["bad"], writethrough.ErrRefused)
		for _, v := range []string{"0", "1", "2"} {
			if errs[v] != nil {
				t.Errorf("%s: %v", v, errs[v])
			}
		}
	})
}

func TestWrite_BatchWithdrawsAWriteWhoseCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		w := open(t, writethrough.Config[string]{Sink: g, MaxBatch: 10})
		ctx, cancel := context.WithCancel(t.Context())
		var first, second error
		var wg sync.WaitGroup
		wg.Go(func() { first = w.Write(ctx, one("k", "1")) })
		<-g.entered
		wg.Go(func() { second = w.Write(ctx, one("k", "2")) })
		synctest.Wait()
		cancel()
		wg.Wait()
		only(t, first, tier.ErrUnknown)
		only(t, second, writethrough.ErrFailed)
		close(g.open)
		synctest.Wait()
		if len(g.calls) != 1 {
			t.Errorf("%d calls: the withdrawn write was made", len(g.calls))
		}
	})
}

func TestNew_SaysEverythingThatIsWrong(t *testing.T) {
	_, err := writethrough.New(writethrough.Config[string]{Timeout: -1, MaxBatch: -1, MaxConcurrent: -1})
	for _, field := range []string{"Sink", "Timeout", "MaxBatch", "MaxConcurrent"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	for _, s := range []writethrough.Sink[string]{writethrough.SinkFunc[string](nil), (*gate)(nil)} {
		if _, err := writethrough.New(writethrough.Config[string]{Sink: s}); err == nil || !strings.Contains(err.Error(), "Sink") {
			t.Errorf("a nil %T: %v", s, err)
		}
	}
	w := open(t, writethrough.Config[string]{Sink: sink(func(context.Context, mutations) error { return nil })})
	w.Close()
	w.Close()
	err = w.Write(t.Context(), one("k", "v"))
	only(t, err, writethrough.ErrFailed)
	if !errors.Is(err, backends.ErrClosed) || w.Write(t.Context(), nil) != nil {
		t.Errorf("after Close: %v", err)
	}
}

func TestWrite_PanicOfTheSinkIsUnknown(t *testing.T) {
	w := open(t, writethrough.Config[string]{Sink: sink(func(context.Context, mutations) error { panic("boom") })})
	only(t, w.Write(t.Context(), one("k", "v")), tier.ErrUnknown)
}
