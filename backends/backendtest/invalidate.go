package backendtest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hearthcache/hearth/backends"
)

func needInvalidator(_ Harness, c backends.Caps) bool { return c.Invalidator != nil }

func needPeer(h Harness, _ backends.Caps) bool { return h.Peer != nil }

// heard is one thing an Invalidator reported.
type heard struct {
	what string // "forget", "flush", "alive", "down"
	keys []string
}

// sink sends what it hears down a channel, and drops what nobody reads.
type sink chan heard

func (s sink) say(h heard) {
	select {
	case s <- h:
	default:
	}
}

func (s sink) Forget(keys []string) { s.say(heard{"forget", slices.Clone(keys)}) }
func (s sink) Flush(string)         { s.say(heard{what: "flush"}) }
func (s sink) Alive()               { s.say(heard{what: "alive"}) }
func (s sink) Down(error)           { s.say(heard{what: "down"}) }

// watch starts listening and waits until the link is known to work.
func (e *env) watch(inv backends.Invalidator) (s sink, stop func() error) {
	e.Helper()
	ctx, cancel := context.WithCancel(e.ctx)
	s, ended := make(sink, 10_000), make(chan error, 1)
	go func() { ended <- inv.Watch(ctx, s) }()
	stop = func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(5 * time.Second):
			return errors.New("watch did not end with its ctx")
		}
	}
	flushed := false
	for {
		h := e.next(s, stop)
		switch h.what {
		case "flush":
			flushed = true
		case "forget":
			if !flushed {
				stop()
				e.Fatalf("watch reported keys before its first flush")
			}
		case "alive":
			if flushed {
				return s, stop
			}
		}
	}
}

func (e *env) next(s sink, stop func() error) heard {
	e.Helper()
	select {
	case h := <-s:
		return h
	case <-time.After(10 * time.Second):
		stop()
		e.Fatalf("watch: nothing heard for 10 s")
		return heard{}
	}
}

var invalidatorCases = []Case{
	{
		Name:  "invalidate/WatchFlushesFirstAndEndsWithItsCtx",
		Why:   "what changed before the link stood is unknown; a listener that does not end is a leak",
		needs: needInvalidator,
		run: func(e *env) {
			_, stop := e.watch(e.caps.Invalidator)
			e.is(stop(), context.Canceled, "watch")
		},
	},
	{
		Name:  "invalidate/OtherProcessesForget",
		Why:   "promise C3: the L1 of another process is stale for the delivery time only",
		needs: both(needInvalidator, needPeer),
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "old")
			e.get(k)
			s, stop := e.watch(e.caps.Invalidator)
			defer stop()
			e.ok(e.Peer.Set(e.ctx, k, item("new")), "set by the peer")
			if inv := backends.CapsOf(e.Peer).Invalidator; inv != nil {
				e.ok(inv.Publish(e.ctx, []string{k}), "publish by the peer")
			}
			for {
				h := e.next(s, stop)
				if h.what == "flush" || h.what == "forget" && slices.Contains(h.keys, k) {
					return
				}
			}
		},
	},
	{
		Name:  "invalidate/FlushReachesOtherProcesses",
		Why:   "a clear must empty every L1",
		needs: both(needInvalidator, needPeer),
		run: func(e *env) {
			inv := backends.CapsOf(e.Peer).Invalidator
			if inv == nil {
				e.Fatalf("the peer of an Invalidator is none")
			}
			s, stop := e.watch(e.caps.Invalidator)
			defer stop()
			e.ok(inv.PublishFlush(e.ctx), "publishflush by the peer")
			for e.next(s, stop).what != "flush" {
			}
		},
	},
	{
		Name:  "invalidate/PublishTakesAnyKey",
		Why:   "keys hold what users typed, and a batch may be empty",
		needs: needInvalidator,
		run: func(e *env) {
			e.ok(e.caps.Invalidator.Publish(e.ctx, nil), "publish of nothing")
			keys := make([]string, len(weirdKeys))
			for i := range keys {
				keys[i] = e.weird(i)
			}
			e.ok(e.caps.Invalidator.Publish(e.ctx, keys), "publish")
		},
	},
}
