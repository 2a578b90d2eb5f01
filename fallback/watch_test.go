package fallback

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
)

var errLink = errors.New("no link")

// linked is a memory whose link the test plays.
type linked struct {
	*memory.Store
	sink backends.Sink
	end  chan error // ends Watch
	told []string
	err  error // of Publish
}

func newLinked() *linked { return &linked{Store: memory.New(memory.Config{}), end: make(chan error)} }

func (l *linked) Watch(ctx context.Context, sink backends.Sink) error {
	if l.sink == nil { // the same ever after
		l.sink = sink
	}
	sink.Flush("connected")
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-l.end:
		return err
	}
}

func (l *linked) Publish(_ context.Context, keys []string) error {
	l.told = append(l.told, keys...)
	return l.err
}

func (l *linked) PublishFlush(context.Context) error {
	l.told = append(l.told, "everything")
	return l.err
}

// news is an L1 that writes down what it is told.
type news struct {
	mu   sync.Mutex
	said []string
}

func (n *news) say(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said = append(n.said, s)
}

func (n *news) Forget(keys []string) { n.say("forget " + strings.Join(keys, " ")) }
func (n *news) Flush(string)         { n.say("flush") }
func (n *news) Alive()               { n.say("alive") }
func (n *news) Down(error)           { n.say("down") }

func (n *news) heard(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.said, want) {
		t.Errorf("L1 was told %q, want %q", n.said, want)
	}
	n.said = nil
}

func TestWatch_TheLinkIsAsGoodAsThoseThatThePhaseDependsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, fresh, l1 := newLinked(), newLinked(), &news{}
		s := must(t, Config{New: Member{Store: fresh}, Old: []Member{{Store: old}}, Phase: PhaseNew})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Watch(ctx, l1) }()
		l1.heard(t, "flush")
		fresh.sink.Alive()
		l1.heard(t, "alive")

		// Old goes: nobody in PhaseNew minds, nor that its Watch ends.
		old.sink.Down(errLink)
		old.end <- errLink
		fresh.sink.Alive()
		fresh.sink.Forget([]string{"k"})
		l1.heard(t, "alive", "forget k")

		// On the way back it counts, and what it missed is made good first.
		_ = s.SetPhase(Ramp(50))
		fresh.sink.Alive()
		l1.heard(t)
		old.sink.Alive()
		l1.heard(t, "flush", "alive")
		old.sink.Down(errLink)
		l1.heard(t, "down")

		// In PhaseOld new does not count.
		_ = s.SetPhase(PhaseOld)
		fresh.sink.Down(errLink)
		fresh.sink.Flush("doubt")
		old.sink.Alive()
		l1.heard(t, "flush", "alive")

		old.end <- errLink
		if err := <-ended; !errors.Is(err, errLink) {
			t.Errorf("Watch ended with %v", err)
		}
		cancel()
	})
}

func TestPublish_FailsWhereSomebodyDependsOnTheStoreAlone(t *testing.T) {
	for _, row := range []struct {
		phase              Phase
		oldFails, newFails bool // a failure of that store is one of the whole
		told               bool // old is told at all
	}{
		{PhaseOld, true, false, true},
		{PhaseMirror, true, true, true},
		{Ramp(50), true, true, true},
		{PhaseNew, false, true, true},
		{PhaseRetire, false, true, false},
	} {
		old, fresh := newLinked(), newLinked()
		s := must(t, Config{New: Member{Store: fresh}, Old: []Member{{Store: old}}, Phase: row.phase})
		for _, m := range []struct {
			l     *linked
			fails bool
		}{{old, row.oldFails}, {fresh, row.newFails}} {
			m.l.err = errLink
			if err := s.Publish(t.Context(), []string{"k"}); errors.Is(err, errLink) != m.fails {
				t.Errorf("%v: publish: %v", row.phase, err)
			}
			if err := s.PublishFlush(t.Context()); errors.Is(err, errLink) != m.fails {
				t.Errorf("%v: flush: %v", row.phase, err)
			}
			m.l.err = nil
		}
		if len(fresh.told) != 4 || (len(old.told) == 4) != row.told {
			t.Errorf("%v: old was told %q, new %q", row.phase, old.told, fresh.told)
		}
	}
}

func TestScan_LeavesOldOutInRetire(t *testing.T) {
	p := newPair(t, PhaseRetire)
	p.put(p.fresh, "k", "v")
	p.put(p.old, "left behind", "v")
	p.o.Down(true)
	var got []string
	err := p.s.Scan(t.Context(), "", func(keys []string, _ string) error {
		got = append(got, keys...)
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"k"}) {
		t.Errorf("scan: %q, %v", got, err)
	}
}
