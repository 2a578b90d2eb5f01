package faultproxy

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// link is one client connection with its connection to the server.
type link struct {
	proxy          *Proxy
	client, server *net.TCPConn
	dead           chan struct{} // closed by reset
	once           sync.Once
	trips          trips
}

func newLink(p *Proxy, client, server *net.TCPConn) *link {
	return &link{proxy: p, client: client, server: server, dead: make(chan struct{})}
}

// run forwards both directions and returns when both have ended.
func (l *link) run() {
	var both sync.WaitGroup
	both.Go(func() { l.forward(true) })
	both.Go(func() { l.forward(false) })
	both.Wait()
	_, _ = l.client.Close(), l.server.Close()
}

// reset ends the link at once, with a reset on both sides.
func (l *link) reset() {
	l.once.Do(func() {
		_, _ = l.client.SetLinger(0), l.server.SetLinger(0) // whoever closes them now resets them
		close(l.dead)
		reset(l.client)
		reset(l.server)
	})
}

// chunk is what one read brought, and when.
type chunk struct {
	data []byte
	at   time.Time
}

// backlog is how many chunks may be under way in one direction: enough to keep
// a long link full, a bound for memory.
const backlog = 1024

// forward reads one direction and hands it to carry, which is slower by the
// latency: reading on meanwhile keeps the delay from adding up.
func (l *link) forward(up bool) {
	from, to := l.server, l.client
	if up {
		from, to = l.client, l.server
	}
	line := make(chan chunk, backlog)
	var carrier sync.WaitGroup
	carrier.Go(func() { l.carry(up, to, line) })
	for {
		p := make([]byte, 16<<10)
		n, err := from.Read(p)
		if n > 0 {
			l.note(up, p[:n])
			select {
			case line <- chunk{p[:n], time.Now()}:
			case <-l.dead:
				n = 0
			}
		}
		if err != nil || n == 0 {
			if err != nil && err != io.EOF {
				l.reset() // a reset on one side is one on the other
			}
			break
		}
	}
	close(line)
	carrier.Wait()
}

// note counts what was read.
func (l *link) note(up bool, p []byte) {
	c := &l.proxy.counts
	if up {
		c.up.Add(int64(len(p)))
		c.chunks.Add(1)
		c.commands.Add(int64(l.trips.commands.count(p)))
	} else {
		c.down.Add(int64(len(p)))
	}
	if l.trips.turn(up) {
		c.trips.Add(1)
	}
}

// carry writes one direction, with the fault of the moment.
func (l *link) carry(up bool, to *net.TCPConn, line <-chan chunk) {
	e := effect{link: l, up: up, to: to}
	for e.next(line) {
	}
	select {
	case <-l.dead: // the other side is to see a reset, not an end before it
	default:
		_ = to.CloseWrite()
	}
	for range line { // the reader must not block on us
	}
}

// wait sleeps, and reports false when the link died or the fault changed before.
func (l *link) wait(d time.Duration, changed <-chan struct{}) (slept, alive bool) {
	if d <= 0 {
		return true, true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true, true
	case <-changed:
		return false, true
	case <-l.dead:
		return false, false
	}
}

func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}
