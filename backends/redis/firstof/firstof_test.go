package firstof

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a source that works, or refuses.
type fake struct {
	name      string
	refuses   atomic.Bool
	broken    error
	silent    chan struct{} // Publish waits for it, if not nil
	connects  time.Duration // before the link is up
	ends      bool          // Watch returns without an error
	published atomic.Int32
}

func (f *fake) String() string { return f.name }

func (f *fake) Watch(ctx context.Context, sink backends.Sink) error {
	if f.refuses.Load() {
		return fmt.Errorf("%s: %w: NOPERM", f.name, backends.ErrUnsupported)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(f.connects):
	}
	sink.Flush("connected")
	sink.Alive()
	if f.ends {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (f *fake) Publish(context.Context, []string) error {
	if f.silent != nil {
		<-f.silent
	}
	f.published.Add(1)
	return f.broken
}

func (f *fake) PublishFlush(ctx context.Context) error { return f.Publish(ctx, nil) }

func three() (a, b, c *fake, s *Source) {
	a, b, c = &fake{name: "a"}, &fake{name: "b"}, &fake{name: "c"}
	s, err := New(Config{Sources: []backends.Invalidator{a, b, c}, Recheck: time.Minute})
	if err != nil {
		panic(err)
	}
	return a, b, c, s
}

func TestWatch_UsesTheFirstThatIsNotRefusedAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _, s := three()
		a.refuses.Store(true)
		l := sinktest.Watch(t, s)
		if st := l.State(); len(st.Downs) != 1 || !strings.Contains(st.Downs[0].Error(), "degraded: a: ") {
			t.Errorf("downs %v", st.Downs)
		}
		if d := s.Degraded(); !strings.HasPrefix(d, "using b; not a: ") || !strings.Contains(d, "NOPERM") {
			t.Errorf("degraded: %q", d)
		}
		if s.String() != "b" {
			t.Error(s.String())
		}
	})
}

func TestWatch_GoesBackToTheBetterOneOnceItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _, s := three()
		a.refuses.Store(true)
		b.refuses.Store(true)
		l := sinktest.Watch(t, s)
		time.Sleep(3 * time.Minute) // of the fake clock
		synctest.Wait()
		if s.String() != "c" {
			t.Fatalf("uses %s", s)
		}
		b.refuses.Store(false)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if s.String() != "b" || len(l.State().Flushes) != 2 {
			t.Errorf("uses %s after %q", s, l.State().Flushes)
		}
		a.refuses.Store(false)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if s.Degraded() != "" {
			t.Error(s.Degraded())
		}
	})
}

// While the better one connects nobody listens: L1 must know, and so must Degraded.
func TestWatch_IsDownWhileTheBetterOneConnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _, s := three()
		a.refuses.Store(true)
		a.connects = 2 * time.Second
		l := sinktest.Watch(t, s)
		a.refuses.Store(false)
		time.Sleep(time.Minute + 2*time.Second + time.Millisecond) // found to work, and begun again
		synctest.Wait()
		if st := l.State(); st.Up || s.String() != "b" {
			t.Errorf("up %v, uses %s", st.Up, s)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if st := l.State(); !st.Up || s.String() != "a" || s.Degraded() != "" {
			t.Errorf("up %v, uses %s, degraded %q", st.Up, s, s.Degraded())
		}
	})
}

// While all are tried again, none is in use yet.
func TestWatch_StaysDegradedWhileAllAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c, s := three()
		for _, f := range []*fake{a, b, c} {
			f.refuses.Store(true)
		}
		a.connects = time.Hour
		_, _ = sinktest.Start(t, s)
		synctest.Wait()
		a.refuses.Store(false)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if s.String() != "none" || s.Degraded() == "" {
			t.Errorf("uses %s, degraded %q", s, s.Degraded())
		}
	})
}

func TestWatch_ASourceThatEndsForNoReasonIsAnError(t *testing.T) {
	s, _ := New(Config{Sources: []backends.Invalidator{&fake{name: "a", ends: true}}})
	if err := s.Watch(t.Context(), sinktest.New()); err == nil || !strings.Contains(err.Error(), "a ended") {
		t.Errorf("got %v", err)
	}
}

func TestWatch_NoneLeftIsDownAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c, s := three()
		for _, f := range []*fake{a, b, c} {
			f.refuses.Store(true)
		}
		l, _ := sinktest.Start(t, s)
		synctest.Wait()
		if l.State().Up || s.String() != "none" || !strings.HasPrefix(s.Degraded(), "using none; not a: ") {
			t.Errorf("up %v, %s: %s", l.State().Up, s, s.Degraded())
		}
		c.refuses.Store(false)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if !l.State().Up {
			t.Error("not tried again")
		}
	})
}

func TestWatch_AnythingElseIsReturned(t *testing.T) {
	own := errors.New("runs already")
	s, _ := New(Config{Sources: []backends.Invalidator{failing{own}}})
	if err := s.Watch(t.Context(), sinktest.New()); !errors.Is(err, own) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Watch(context.Context, backends.Sink) error { return f.err }
func (f failing) Publish(context.Context, []string) error    { return f.err }
func (f failing) PublishFlush(context.Context) error         { return f.err }

func TestPublish_TellsThroughEverySource(t *testing.T) {
	a, b, c, s := three()
	b.broken = errors.New("b is broken")
	if err := s.Publish(t.Context(), []string{"k"}); !errors.Is(err, b.broken) {
		t.Errorf("got %v", err)
	}
	if err := s.PublishFlush(t.Context()); !errors.Is(err, b.broken) {
		t.Errorf("got %v", err)
	}
	for _, f := range []*fake{a, b, c} {
		if f.published.Load() != 2 {
			t.Errorf("%s published %d", f, f.published.Load())
		}
	}
}

func TestPublish_ASilentSourceDoesNotKeepTheOthersWaiting(t *testing.T) {
	for silent := range 3 {
		synctest.Test(t, func(t *testing.T) {
			a, b, c, s := three()
			all := []*fake{a, b, c}
			all[silent].silent = make(chan struct{})
			done := make(chan error, 1)
			go func() { done <- s.Publish(t.Context(), []string{"k"}) }()
			synctest.Wait()
			for i, f := range all {
				if told := f.published.Load() == 1; told != (i != silent) {
					t.Errorf("source %d is silent; %s published: %v", silent, f, told)
				}
			}
			close(all[silent].silent)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// ear hears of one namespace.
type ear struct {
	fake
	namespace string
}

func (e *ear) Hears(namespace string) bool { return e.namespace == namespace }

func TestHears_AsTheMostSelectiveSourceDoes(t *testing.T) {
	s, err := New(Config{Sources: []backends.Invalidator{&fake{}, &ear{namespace: "user"}}})
	if err != nil {
		t.Fatal(err)
	}
	if !s.Hears("user") || s.Hears("order") {
		t.Errorf("user: %v, order: %v", s.Hears("user"), s.Hears("order"))
	}
}

func TestNew_RefusesWhatCannotWork(t *testing.T) {
	for _, cfg := range []Config{{}, {Sources: []backends.Invalidator{nil}}, {Sources: []backends.Invalidator{(*fake)(nil)}}, {Sources: []backends.Invalidator{&fake{}}, Recheck: -1}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
