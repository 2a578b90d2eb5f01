package tier

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// fakeLink is an Invalidator that does what the test says.
type fakeLink struct {
	sink   chan backends.Sink
	others []*fakeLink // who hears what is published
	cur    backends.Sink
}

func newLink() *fakeLink { return &fakeLink{sink: make(chan backends.Sink, 1)} }

func (f *fakeLink) Watch(ctx context.Context, sink backends.Sink) error {
	f.sink <- sink
	<-ctx.Done()
	return ctx.Err()
}

func (f *fakeLink) up() backends.Sink {
	if f.cur == nil {
		f.cur = <-f.sink
	}
	f.cur.Alive()
	return f.cur
}

func (f *fakeLink) Publish(_ context.Context, keys []string) error {
	for _, o := range f.others {
		o.cur.Forget(keys)
	}
	return nil
}

func (f *fakeLink) PublishFlush(context.Context) error { return nil }

func linked(link *fakeLink, src *source, p *probe) Config[string] {
	cfg := over(src, p)
	cfg.Local.Invalidator = link
	return cfg
}

func TestLink_NewsOfAChangeReachesL1(t *testing.T) {
	p := newProbe()
	la, lb := newLink(), newLink()
	la.others = []*fakeLink{lb}
	a, b := open(t, linked(la, nil, p)), open(t, linked(lb, nil, p))
	la.up()
	lb.up()
	if err := a.Set(t.Context(), "k", "1"); err != nil {
		t.Fatal(err)
	}
	v, err := b.Get(t.Context(), "k")
	want(t, v, err, "1")
	if err := a.Set(t.Context(), "k", "2"); err != nil {
		t.Fatal(err)
	}
	v, err = b.Get(t.Context(), "k")
	want(t, v, err, "2")
	lb.cur.Forget([]string{"other:k"}) // another namespace is none of ours
	reads := p.count("get")
	v, err = b.Get(t.Context(), "k")
	want(t, v, err, "2")
	if p.count("get") != reads {
		t.Error("a key of another namespace was forgotten here")
	}
}

func TestLink_WhileItIsDownL1IsPassedBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, link := newProbe(), newLink()
		c := open(t, linked(link, newSource("k", "v"), p))
		reads := func() int {
			before := p.count("get")
			v, err := c.Get(t.Context(), "k")
			want(t, v, err, "v")
			return p.count("get") - before
		}
		reads()
		if reads() != 1 {
			t.Error("L1 was used before the link was up")
		}
		sink := link.up()
		reads()
		if reads() != 0 {
			t.Error("L1 was not used with the link up")
		}
		sink.Down(errors.New("reset"))
		if first, second := reads(), reads(); first != 1 || second != 1 {
			t.Error("L1 was used while the link was down")
		}
		if h := c.Health(); h.Link != "down" || h.LinkErr == nil {
			t.Errorf("health %+v", h)
		}
		sink.Alive()
		reads()
		if reads() != 0 {
			t.Error("L1 was not used after the link came back")
		}
		time.Sleep(10 * time.Second) // silence beyond DeadAfter
		if first, second := reads(), reads(); first != 1 || second != 1 {
			t.Error("L1 was used while the link was silent")
		}
	})
}

func TestLink_PolicyDecidesWhatL1DoesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for policy, wantReads := range map[WhenDown]int{Bypass: 2, ShortTTL: 1, Serve: 0} {
			p, link := newProbe(), newLink()
			cfg := linked(link, newSource("k", "v"), p)
			cfg.Local.WhenDown = policy
			c := open(t, cfg)
			sink := link.up()
			c.Get(t.Context(), "k")
			sink.Down(errors.New("reset"))
			before := p.count("get")
			c.Get(t.Context(), "k")
			c.Get(t.Context(), "k")
			if n := p.count("get") - before; n != wantReads {
				t.Errorf("policy %d: %d remote reads, want %d", policy, n, wantReads)
			}
			time.Sleep(1100 * time.Millisecond)
			before = p.count("get")
			c.Get(t.Context(), "k")
			if n := p.count("get") - before; (n == 0) != (policy == Serve) {
				t.Errorf("policy %d: %d remote reads after a second", policy, n)
			}
		}
	})
}

// Without news the TTL is all that bounds how old L1 is, so it is short unless told otherwise.
func TestLink_WithoutOneL1IsOldForFiveSecondsAtMost(t *testing.T) {
	for _, news := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p, link := newProbe(), newLink()
			cfg := over(nil, p)
			if news {
				cfg.Local.Invalidator, cfg.Local.WhenDown = link, Serve
			}
			c := open(t, cfg)
			other := open(t, over(nil, p))
			if err := other.Set(t.Context(), "k", "old"); err != nil {
				t.Fatal(err)
			}
			v, err := c.Get(t.Context(), "k")
			want(t, v, err, "old")
			if err := other.Set(t.Context(), "k", "new"); err != nil {
				t.Fatal(err)
			}
			v, err = c.Get(t.Context(), "k")
			want(t, v, err, "old")
			time.Sleep(5*time.Second + 2*time.Millisecond) // and two ticks of L1's clock
			wanted := "new"
			if news {
				wanted = "old" // sensitivity: with an Invalidator it may be kept for longer
			}
			v, err = c.Get(t.Context(), "k")
			want(t, v, err, wanted)
		})
	}
}

func TestLink_FlushForgetsEverything(t *testing.T) {
	p, link := newProbe(), newLink()
	c := open(t, linked(link, newSource("k", "v"), p))
	sink := link.up()
	c.Get(t.Context(), "k")
	before := p.count("get")
	sink.Flush("gap")
	c.Get(t.Context(), "k")
	if p.count("get") != before+1 {
		t.Error("L1 answered after a flush")
	}
	if c.Stats().L1.Flushes == 0 {
		t.Error("flush not counted")
	}
}

func TestLink_L1FallsSilentBeforeTheWatchdogLooks(t *testing.T) {
	for policy, silent := range map[WhenDown]bool{Bypass: true, ShortTTL: true, Serve: false} {
		synctest.Test(t, func(t *testing.T) {
			p, link := newProbe(), newLink()
			cfg := linked(link, newSource("k", "v"), p)
			cfg.Local.TTL, cfg.Local.WhenDown = time.Hour, policy
			c := open(t, cfg)
			link.up()
			c.Get(t.Context(), "k")
			time.Sleep(defaultDeadAfter + 2*time.Millisecond) // the watchdog looks every quarter of DeadAfter
			synctest.Wait()
			before := p.count("get")
			v, err := c.Get(t.Context(), "k")
			want(t, v, err, "v")
			if h := c.Health(); (p.count("get") > before) != silent || h.Link != "up" {
				t.Errorf("policy %d: %d remote reads, link %s", policy, p.count("get")-before, h.Link)
			}
			flushes := c.Stats().L1.Flushes
			link.cur.Alive()
			if c.Stats().L1.Flushes != flushes+1 {
				t.Error("what changed during the silence is unknown: L1 should start empty")
			}
		})
	}
}

// What the link hears is taken while the Observer is at work on an earlier event; it is told of all, in
// order, and at Close of the last ones.
func TestLink_ASlowObserverDoesNotHoldUpTheNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, link := newProbe(), newLink()
		release, told := make(chan struct{}), []string(nil)
		cfg := linked(link, newSource("k", "v"), p)
		cfg.Observer = ObserverFunc(func(_ context.Context, ev Event) {
			<-release
			told = append(told, string(ev.Kind))
		})
		c := open(t, cfg)
		sink := link.up() // would not return
		if told != nil {
			t.Fatal("the Observer is not slow: this test proves nothing")
		}
		v, err := c.Get(t.Context(), "k")
		want(t, v, err, "v")
		if err := open(t, over(nil, p)).Set(t.Context(), "k", "new"); err != nil {
			t.Fatal(err)
		}
		sink.Forget([]string{"t:k"})
		v, err = c.Get(t.Context(), "k")
		want(t, v, err, "new")
		sink.Down(errors.New("reset"))
		close(release)
		synctest.Wait()
		sink.Flush("the last")
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := "l1_flushed link_up l1_flushed link_down l1_flushed"; strings.Join(told, " ") != want {
			t.Errorf("told %q, want %s", told, want)
		}
	})
}

// An Observer that never comes back costs a bounded number of events.
func TestLink_OfAnObserverThatHangsTheOldestEventsAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newLink()
		release := make(chan struct{})
		var told []error
		cfg := linked(link, nil, newProbe())
		cfg.Observer = ObserverFunc(func(_ context.Context, ev Event) {
			<-release
			told = append(told, ev.Err)
		})
		c := open(t, cfg)
		sink := link.up()
		synctest.Wait() // the first are in its hands
		for i := range 3 * linkEventsKept {
			sink.Flush(fmt.Sprint(i))
		}
		close(release)
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(told); n > linkEventsKept+2 || told[n-1].Error() != fmt.Sprint(3*linkEventsKept-1) {
			t.Errorf("%d events, the last one %v", n, told[n-1])
		}
	})
}

// lame is a source that works with less than it was asked for, and gives up now and then.
type lame struct {
	*fakeLink
	watched atomic.Int32
}

func (l *lame) Watch(context.Context, backends.Sink) error {
	l.watched.Add(1)
	return errors.New("no permission")
}

func (l *lame) Degraded() string { return "tracking is not allowed: messages instead" }

func TestLink_SourceThatGivesUpIsTriedAgainEverMoreSeldomAndHealthSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lame{fakeLink: newLink()}
		cfg := over(nil, newProbe())
		cfg.Local.Invalidator = l
		c := open(t, cfg)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := l.watched.Load(); n < 8 || n > 20 {
			t.Errorf("started %d times in a minute", n)
		}
		h := c.Health()
		if h.Link != "down" || h.LinkErr == nil || h.LinkErr.Error() != "no permission" || h.LinkNote != l.Degraded() {
			t.Errorf("health %+v", h)
		}
	})
}

// Ten thousand keys that change at once cost nothing until somebody asks, and then what was asked for.
func TestLink_ManyChangesAtOnceAreNoStormOfReads(t *testing.T) {
	const many = 10_000
	p, src, link := newProbe(), newSource(), newLink()
	keys, full := make([]string, many), make([]string, many)
	for i := range keys {
		keys[i], full[i] = fmt.Sprint("k", i), fmt.Sprint("t:k", i)
		src.set(keys[i], "v")
	}
	c := open(t, linked(link, src, p))
	sink := link.up()
	for _, k := range keys {
		v, err := c.Get(t.Context(), k)
		want(t, v, err, "v")
	}
	quiet(t, c)
	before, loads := p.total(), src.count()
	sink.Forget(full)
	quiet(t, c)
	if n := p.total() - before; n != 0 || src.count() != loads {
		t.Errorf("%d calls of the remote tier and %d loads, and nobody has asked", n, src.count()-loads)
	}
	v, err := c.Get(t.Context(), keys[7])
	want(t, v, err, "v")
	if n := p.total() - before; n != 1 || src.count() != loads {
		t.Errorf("%d calls and %d loads for one key", n, src.count()-loads)
	}
}

func (p *probe) total() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, calls := range p.calls {
		n += calls
	}
	return n
}

// watcher is a source that hears of what the remote tier holds, and of nothing else.
type watcher struct{ *fakeLink }

func (watcher) StoredOnly() bool { return true }

func TestLink_WhatNoTierHoldsIsKeptOnlyIfNewsOfItCouldCome(t *testing.T) {
	for _, c := range []struct {
		name    string
		watcher bool
		down    bool // the remote tier
		kept    bool
		why     string
	}{
		{"messages", false, true, true, "whoever changes it says so, whether or not a tier holds it"},
		{"the server's word", true, true, false, "nobody says that a key was removed which is not there"},
		{"the server's word, and it holds something else", true, false, true, "a change of that is heard"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, src, link := newProbe(), newSource("k", "v"), newLink()
			cfg := linked(link, src, p)
			if c.watcher {
				cfg.Local.Invalidator = watcher{link}
			}
			cache := open(t, cfg)
			link.up()
			if err := p.Set(t.Context(), "t:k", backends.Item{Value: []byte("of another client"), TTL: time.Hour}); err != nil {
				t.Fatal(err)
			}
			if c.down {
				p.down(errDown)
			}
			for range 2 {
				v, err := cache.Get(t.Context(), "k")
				want(t, v, err, "v")
			}
			if kept := src.count() == 1; kept != c.kept {
				t.Errorf("%d loads; %s", src.count(), c.why)
			}
		})
	}
}
