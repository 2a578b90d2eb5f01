package faultproxy

import (
	"sync"
	"sync/atomic"
)

// counts is what has passed since New.
type counts struct {
	conns, up, down, chunks, commands, trips atomic.Int64
}

// Connections returns how many connections were forwarded.
func (p *Proxy) Connections() int64 { return p.counts.conns.Load() }

// BytesUp returns how many bytes clients have sent, lost ones included.
func (p *Proxy) BytesUp() int64 { return p.counts.up.Load() }

// BytesDown returns how many bytes the server has sent, lost ones included.
func (p *Proxy) BytesDown() int64 { return p.counts.down.Load() }

// Chunks returns how many reads it took to get what clients sent: an upper bound
// of their writes that reached the wire apart from each other.
func (p *Proxy) Chunks() int64 { return p.counts.chunks.Load() }

// Commands returns how many commands clients have sent: RESP arrays, or request
// lines of memcached's text protocol without the data blocks. The protocol is
// told by the first byte of a connection.
func (p *Proxy) Commands() int64 { return p.counts.commands.Load() }

// RoundTrips returns how often a client turned to the server after it had heard
// the answer to what it had sent before: per connection the first request is one
// round trip, and each change of direction from server back to client is one
// more. A pipeline or a batch is one. The handshake of a client (HELLO, AUTH) and
// what the server sends unasked count too: take the difference around the
// operation.
func (p *Proxy) RoundTrips() int64 { return p.counts.trips.Load() }

// trips counts the turns of one link.
type trips struct {
	commands parser // only the upward goroutine touches it

	mu      sync.Mutex
	waiting bool // the last bytes went up
}

// turn notes a direction and reports whether a new round trip begins.
func (t *trips) turn(up bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	begins := up && !t.waiting
	t.waiting = up
	return begins
}
