package redis

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

// tap looks at what a client and its server say to each other, and can lose an answer.
type tap struct {
	writes  atomic.Int64 // one a round trip: the client flushes a command or pipeline at once
	written atomic.Int64 // bytes
	mu      sync.Mutex
	lose    []byte // lose the answer to the next request that contains this
	watched []byte // what lose was
	sent    int    // requests that contained it since
	hole    bool   // requests vanish
}

// through makes the client of o speak through p.
func (p *tap) through(o *goredis.Options) *goredis.Options {
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &tapped{Conn: c, tap: p}, err
	}
	return o
}

// loseAnswer makes the next request that contains text go unanswered, though carried out.
func (p *tap) loseAnswer(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose, p.watched, p.sent = []byte(text), []byte(text), 0
}

// times returns how often the request whose answer was lost has been sent.
func (p *tap) times() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}

// swallow makes all requests vanish, or no longer.
func (p *tap) swallow(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hole = on
}

// trips returns how many requests fn sent.
func (p *tap) trips(fn func()) int64 {
	before := p.writes.Load()
	fn()
	return p.writes.Load() - before
}

type tapped struct {
	net.Conn
	tap    *tap
	losing atomic.Bool
}

func (c *tapped) Write(b []byte) (int, error) {
	c.tap.writes.Add(1)
	c.tap.written.Add(int64(len(b)))
	c.tap.mu.Lock()
	if c.tap.watched != nil && bytes.Contains(b, c.tap.watched) {
		c.tap.sent++
	}
	if c.tap.lose != nil && bytes.Contains(b, c.tap.lose) {
		c.tap.lose = nil
		c.losing.Store(true)
	}
	hole := c.tap.hole
	c.tap.mu.Unlock()
	if hole {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// Read waits for the answer that is to be lost, so that the request was carried out.
func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.losing.Load() {
		_ = c.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// tapOn returns a store whose client speaks through a tap. Its client repeats what fails, as
// one with the defaults of go-redis does.
func tapOn(t *testing.T, addr string, cfg Config, retries int) (*Store, *tap) {
	t.Helper()
	p := &tap{}
	o := p.through(patient(addr))
	o.MaxRetries = retries
	o.MinRetryBackoff = -1
	return openWith(t, o, cfg), p
}
