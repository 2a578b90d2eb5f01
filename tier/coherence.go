package tier

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// coherence is what keeps L1 in line with changes made by other processes.
type coherence[V any] struct {
	lastHeard atomic.Int64 // clock time of the last sign of life of the link
	down      atomic.Bool  // the link is down, or not yet up
	flushes   atomic.Int64

	mu      sync.Mutex
	downErr error

	linkEvents linkEvents
}

// startCoherence listens to the Invalidator, if there is one. Until it says that the link is up,
// the link is down.
func (c *Cache[V]) startCoherence() {
	if c.cfg.Local.Invalidator == nil || c.l1 == nil {
		c.waiters.silent = true
		return
	}
	c.down.Store(true)
	c.downErr = errNotYet
	if c.cfg.Observer != nil {
		c.linkEvents.wake = make(chan struct{}, 1)
		c.tasks.Go(c.tellLinkEvents)
	}
	c.tasks.Go(func() {
		for pause := rewatchFirst; c.life.Err() == nil; pause = min(2*pause, rewatchLast) {
			err := c.cfg.Local.Invalidator.Watch(c.life, link[V]{c})
			if c.life.Err() != nil {
				return
			}
			link[V]{c}.Down(err)
			_ = sleep(c.life, pause)
		}
	})
	c.tasks.Go(c.watchdog)
}

// Pauses before a source that gave up is started again: what made it give up (rights, a proxy)
// rarely mends itself.
const (
	rewatchFirst = 100 * time.Millisecond
	rewatchLast  = 10 * time.Second
)

var (
	errNotYet = errors.New("cache: the invalidator has not connected yet")
	errSilent = errors.New("cache: the invalidator's link is silent")
)

// watchdog declares the link down when it has been silent for DeadAfter. It does not trust the
// source to notice by itself.
func (c *Cache[V]) watchdog() {
	every := c.cfg.Local.DeadAfter / 4
	for sleep(c.life, every) == nil {
		if !c.down.Load() && c.silent() {
			link[V]{c}.Down(errSilent)
		}
	}
}

// silent reports whether the link has been quiet for too long.
func (c *Cache[V]) silent() bool {
	return c.clock.Precise()-c.lastHeard.Load() > int64(c.cfg.Local.DeadAfter)
}

// link is the cache as its Invalidator sees it.
type link[V any] struct{ c *Cache[V] }

// Forget drops keys that changed elsewhere. Keys of other namespaces are none of ours. It is no
// sign of life of the whole link: one of several connections may bring it while another is gone.
func (l link[V]) Forget(keys []string) {
	prefix := ""
	if ns := l.c.cfg.Namespace; ns != "" {
		prefix = ns + ":"
	}
	mine := make([]string, 0, len(keys))
	for _, k := range keys {
		if k, ok := strings.CutPrefix(k, prefix); ok {
			mine = append(mine, k)
		}
	}
	l.c.forgetL1(mine)
	l.c.waiters.wake(mine)
}

// Flush drops everything. It may have been somebody's Clear: what this process knows of the barriers
// goes first, or a reader could put a cleared value into the empty L1 by what is known still.
func (l link[V]) Flush(reason string) {
	l.c.barriers.expire()
	l.c.flushL1()
	l.c.flushes.Add(1)
	l.c.observeLink(Event{Kind: EventL1Flushed, Err: errors.New(reason)})
}

// Alive notes a sign of life. A link that was down, or silent for too long while this process
// could not look, is up from here on; what changed meanwhile is unknown, so L1 starts empty.
func (l link[V]) Alive() {
	c := l.c
	heard := c.clock.Precise()
	silent := heard-c.lastHeard.Swap(heard) > int64(c.cfg.Local.DeadAfter)
	down := c.down.Load()
	switch {
	case down:
		l.Flush("the link is up again")
	case silent:
		l.Flush("the link was silent")
	}
	if c.cfg.Local.WhenDown != Serve {
		// A process that is stopped does not hear that the link is down: L1 falls silent by itself.
		c.l1.SetHorizon(heard + int64(c.cfg.Local.DeadAfter))
	}
	if down {
		c.mu.Lock()
		c.downErr = nil
		c.mu.Unlock()
		c.down.Store(false)
		c.observeLink(Event{Kind: EventLinkUp})
	}
}

// Down notes that the link is gone.
func (l link[V]) Down(reason error) {
	c := l.c
	c.mu.Lock()
	c.downErr = reason
	c.mu.Unlock()
	if c.down.Swap(true) {
		return
	}
	if c.cfg.Local.WhenDown != Serve {
		l.Flush("the link is down")
	}
	if c.cfg.Local.WhenDown == ShortTTL {
		c.l1.SetHorizon(0) // now that L1 has forgotten what it had, it may serve for a moment each
	}
	c.observeLink(Event{Kind: EventLinkDown, Err: reason})
}

// fillable reports whether L1 may take values now: not while the link is down and the setting
// says to pass L1 by.
func (c *Cache[V]) fillable() bool {
	return !c.down.Load() || c.cfg.Local.WhenDown != Bypass
}

// hearsUnstored reports whether L1 is told of changes of a key that no remote tier holds. Without an
// Invalidator it is told nothing, and its TTL is the bound.
func (c *Cache[V]) hearsUnstored() bool {
	s, ok := c.cfg.Local.Invalidator.(backends.StoredOnly)
	return !ok || !s.StoredOnly()
}

// localTTL is how long a value may be served from L1.
func (c *Cache[V]) localTTL() time.Duration {
	if c.down.Load() && c.cfg.Local.WhenDown == ShortTTL {
		return min(shortTTL, c.cfg.Local.TTL)
	}
	return c.cfg.Local.TTL
}

// linkState is the link's part of Health.
func (c *Cache[V]) linkState() (string, error) {
	if c.cfg.Local.Invalidator == nil || c.l1 == nil {
		return "none", nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down.Load() {
		return "down", c.downErr
	}
	return "up", nil
}
