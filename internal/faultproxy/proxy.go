package faultproxy

import (
	"errors"
	"fmt"
	"net"
	"sync"
)

// Proxy forwards connections to one server. It is safe for concurrent use.
type Proxy struct {
	target string
	lis    net.Listener
	counts counts
	work   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	fault   Fault
	changed chan struct{} // closed and replaced when fault changes
	version int           // grows with every change
	swallow []swallowing  // replies still to be lost
	links   map[*link]struct{}
}

// New listens on a free loopback port and forwards to target, a "host:port". The
// server need not run yet.
func New(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("faultproxy: %w", err)
	}
	p := &Proxy{
		target:  target,
		lis:     l,
		changed: make(chan struct{}),
		links:   make(map[*link]struct{}),
	}
	p.work.Go(p.accept)
	return p, nil
}

// Addr returns the "127.0.0.1:port" that clients dial.
func (p *Proxy) Addr() string { return p.lis.Addr().String() }

// Set replaces the fault, for open connections as well as for new ones. It takes
// hold before the next byte is passed.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	p.version++
	close(p.changed)
	p.changed = make(chan struct{})
}

// Clear makes the network good again.
func (p *Proxy) Clear() { p.Set(Fault{}) }

// ResetAll resets every open connection, on both sides.
func (p *Proxy) ResetAll() {
	p.mu.Lock()
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}
	p.mu.Unlock()
	for _, l := range links {
		l.reset()
	}
}

// Close resets all connections, stops listening and waits for its goroutines.
// Closing twice is fine.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.lis.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	p.ResetAll()
	p.work.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		c, err := p.lis.Accept()
		if err != nil {
			return // closed
		}
		client := c.(*net.TCPConn)
		if p.refuses() {
			reset(client)
			continue
		}
		p.work.Go(func() { p.connect(client) })
	}
}

func (p *Proxy) refuses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault.Refuse || p.closed
}

// connect dials the server and forwards until both directions have ended.
func (p *Proxy) connect(client *net.TCPConn) {
	c, err := net.Dial("tcp", p.target)
	if err != nil {
		reset(client)
		return
	}
	l := newLink(p, client, c.(*net.TCPConn))
	if !p.enter(l) {
		l.reset()
		return
	}
	p.counts.conns.Add(1)
	l.run()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

func (p *Proxy) enter(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.links[l] = struct{}{}
	return true
}

// flow returns what is wrong with a direction now, the version of that, and a
// channel that closes when it changes.
func (p *Proxy) flow(up bool) (Flow, int, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if up {
		return p.fault.Up, p.version, p.changed
	}
	return p.fault.Down, p.version, p.changed
}

// reset closes a connection so that the other side sees a reset, not an end.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
