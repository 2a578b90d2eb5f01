package memcached

import (
	"context"
	"net"
	"sync"
	"time"
)

// lane is one connection (or the room for one) that obeys the ctx of whichever call uses it: its
// deadline bounds every deadline set on the connection, and its end cuts the call short at once.
// That gives a client without contexts their full effect, with no goroutine that would have to be
// left behind: one call, one lane, and both end together. Calls use it one at a time.
type lane struct {
	dial    dialFunc
	stop    func() bool   // ends the watch over the ctx of the call in progress; nil = none
	onEnd   func()        // abort, kept so that a call need not allocate it
	aborted chan struct{} // abort is through

	mu    sync.Mutex
	ctx   context.Context // of the call in progress, for dialling below a client that has none
	limit time.Time       // the deadline of ctx; zero = none
	over  bool            // ctx ended during the call
	conn  net.Conn        // nil = none open
	fresh bool            // conn was opened by this call
	wrote bool            // bytes were handed to conn by this call
}

func (l *lane) init(dial dialFunc) {
	l.dial, l.onEnd, l.aborted = dial, l.abort, make(chan struct{}, 1)
}

// begin starts a call under ctx; every begin is followed by an end.
func (l *lane) begin(ctx context.Context) {
	l.mu.Lock()
	l.ctx, l.over, l.fresh, l.wrote = ctx, false, false, false
	l.limit, _ = ctx.Deadline()
	l.mu.Unlock()
	if ctx.Done() != nil {
		l.stop = context.AfterFunc(ctx, l.onEnd)
	}
}

func (l *lane) end() {
	if l.stop != nil && !l.stop() {
		<-l.aborted // it is running: it must not hit the next call
	}
	l.stop = nil
	l.mu.Lock()
	l.ctx = nil
	l.mu.Unlock()
}

// abort cuts the call in progress short.
func (l *lane) abort() {
	l.mu.Lock()
	l.over = true
	if l.conn != nil {
		l.conn.SetDeadline(time.Unix(1, 0)) // long past: pending reads and writes return
	}
	l.mu.Unlock()
	l.aborted <- struct{}{}
}

// open dials for the call in progress.
func (l *lane) open() (net.Conn, error) {
	l.mu.Lock()
	ctx := l.ctx
	l.mu.Unlock()
	if ctx == nil {
		ctx = context.Background()
	}
	conn, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.fresh = conn, true
	return &laneConn{conn, l}, nil
}

// laneConn is the connection of a lane as its user sees it.
type laneConn struct {
	net.Conn
	lane *lane
}

// SetDeadline sets t, or the end of the call's ctx if that is sooner.
func (c *laneConn) SetDeadline(t time.Time) error {
	l := c.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.over:
		t = time.Unix(1, 0)
	case !l.limit.IsZero() && (t.IsZero() || l.limit.Before(t)):
		t = l.limit
	}
	return c.Conn.SetDeadline(t)
}

func (c *laneConn) Write(p []byte) (int, error) {
	c.lane.wrote = true
	return c.Conn.Write(p)
}

func (c *laneConn) Close() error {
	c.lane.mu.Lock()
	c.lane.conn = nil
	c.lane.mu.Unlock()
	return c.Conn.Close()
}
