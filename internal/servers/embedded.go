package servers

import (
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// embeddedRedis is the stand-in for a Redis. It has no eviction, no client
// tracking and no slots that could be crossed: tests of those ask for a real one.
type embeddedRedis struct {
	password string
	mini     *miniredis.Miniredis // nil when not running
	quit     chan struct{}
	idle     chan struct{}
}

// The stand-in's own clock stands still: its keys age in steps. A step sorts all keys with the
// stand-in's only lock held, which takes longer than agingStep from some ten thousand keys on, so
// steps are spaced out to take a tenth of the time, as far as agingMost lets them.
const (
	agingStep = 5 * time.Millisecond
	agingMost = 30 * time.Millisecond // expiry may be late by so much: less than tests allow for
)

func (e *embeddedRedis) start(addr string) error {
	if e.mini != nil {
		return errors.New("servers: the embedded Redis runs already")
	}
	m := miniredis.NewMiniRedis()
	if e.password != "" {
		m.RequireAuth(e.password)
	}
	if err := m.StartAddr(addr); err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	e.mini, e.quit, e.idle = m, make(chan struct{}), make(chan struct{})
	go age(m, e.quit, e.idle)
	return nil
}

// age lets the keys of the stand-in grow old as real time passes.
func age(m *miniredis.Miniredis, quit <-chan struct{}, idle chan<- struct{}) {
	defer close(idle)
	next := time.NewTimer(agingStep)
	defer next.Stop()
	last := time.Now()
	for {
		select {
		case <-quit:
			return
		case <-next.C:
			now := time.Now()
			m.FastForward(now.Sub(last))
			last = now
			next.Reset(min(max(9*time.Since(now), agingStep), agingMost))
		}
	}
}

func (e *embeddedRedis) stop() error { return e.kill() }

func (e *embeddedRedis) kill() error {
	if e.mini == nil {
		return nil
	}
	close(e.quit)
	<-e.idle
	e.mini.Close()
	e.mini = nil
	return nil
}

func (e *embeddedRedis) pause() error  { return errNoProcess }
func (e *embeddedRedis) resume() error { return errNoProcess }
func (e *embeddedRedis) pid() int      { return 0 }
func (e *embeddedRedis) log() string   { return "" }

var errNoProcess = fmt.Errorf("servers: an embedded server has no process to freeze: %w", errors.ErrUnsupported)
