package clock

import (
	"sync"
	"sync/atomic"
	"time"
)

// Tick is the resolution of [Clock.Now].
const Tick = time.Millisecond

// staleEvery is how many ticks pass between two looks at whether anybody reads: 64 ms, so that
// the slow read (about 100 ns) vanishes among fast ones and an idle clock stops soon.
const staleEvery = 64

// Clock is a coarse monotonic clock. Make one with [New]. Safe for concurrent use.
type Clock struct {
	now atomic.Int64 // nanoseconds since start; 0 = stale, ask the system
	_   [56]byte     // now is read by everybody: keep writes to the rest off its cache line

	start time.Time
	quit  chan struct{}

	mu      sync.Mutex // orders all writes to now, so that it never goes backwards
	running bool
	stopped bool
	done    chan struct{} // closed when the running goroutine has ended
	frozen  bool          // set once by NewFake: now only moves by hand
	wall    atomic.Int64  // frozen clocks: unix nanoseconds at now == 0
}

// New returns a running clock. It costs nothing until it is read.
func New() *Clock {
	return &Clock{start: time.Now(), quit: make(chan struct{})}
}

// Now returns the nanoseconds since the clock was made, always above zero, at most one [Tick]
// and a scheduling delay old (see the package comment for what that means after a pause).
func (c *Clock) Now() int64 {
	if now := c.now.Load(); now != 0 {
		return now
	}
	return c.renew()
}

// Precise returns the nanoseconds since the clock was made, exactly. It costs a system clock
// read.
func (c *Clock) Precise() int64 {
	if c.frozen {
		return c.now.Load()
	}
	return int64(time.Since(c.start)) + 1
}

// Wall returns the wall clock as unix milliseconds. Unlike the others it jumps when the
// machine's clock is set.
func (c *Clock) Wall() int64 {
	if c.frozen {
		return (c.wall.Load() + c.now.Load()) / int64(time.Millisecond)
	}
	return time.Now().UnixMilli()
}

// Stop ends the goroutine, if there is one, and waits for that. The clock goes on telling the
// time, at the cost of Precise. Stopping twice is fine.
func (c *Clock) Stop() {
	c.mu.Lock()
	if !c.stopped && !c.frozen {
		c.stopped = true
		c.now.Store(0)
		close(c.quit)
	}
	done := c.done
	c.mu.Unlock()
	if done != nil {
		<-done
	}
}

// renew is the read that met a stale mark.
func (c *Clock) renew() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now.Load(); now != 0 {
		return now
	}
	now := c.Precise()
	if c.stopped {
		return now
	}
	c.now.Store(now)
	if !c.running {
		c.running = true
		c.done = make(chan struct{})
		go c.run(c.done)
	}
	return now
}

// run renews now every Tick until nobody reads any more.
func (c *Clock) run(done chan struct{}) {
	defer close(done)
	ticker := time.NewTicker(Tick)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ticker.C:
		case <-c.quit:
			return
		}
		if !c.advance(n) {
			return
		}
	}
}

// advance is one tick. It returns false when the goroutine is to end.
func (c *Clock) advance(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return false
	}
	if c.now.Load() == 0 { // the mark of the tick before still stands
		c.running = false
		return false
	}
	if n%staleEvery == 0 {
		c.now.Store(0)
		return true
	}
	c.now.Store(c.Precise())
	return true
}
