package memcachedtest

import (
	"net"
	"sync"
)

// outbox writes replies from a goroutine of its own and takes any amount of
// them, as the buffers of a TCP connection would: on a net.Pipe the two sides
// would otherwise wait for each other while a client still writes its pipeline.
type outbox struct {
	conn net.Conn
	done chan struct{}

	mu     sync.Mutex
	more   sync.Cond
	buf    []byte
	closed bool
}

func newOutbox(c net.Conn) *outbox {
	o := &outbox{conn: c, done: make(chan struct{})}
	o.more.L = &o.mu
	go o.run()
	return o
}

// send takes p over.
func (o *outbox) send(p []byte) {
	if len(p) == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = append(o.buf, p...)
	o.more.Signal()
}

// close writes what is left, closes the connection and waits for the goroutine.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.more.Signal()
	o.mu.Unlock()
	<-o.done
}

func (o *outbox) run() {
	defer close(o.done)
	defer func() { _ = o.conn.Close() }()
	for {
		o.mu.Lock()
		for len(o.buf) == 0 && !o.closed {
			o.more.Wait()
		}
		buf := o.buf
		o.buf = nil
		o.mu.Unlock()
		if len(buf) == 0 {
			return
		}
		if _, err := o.conn.Write(buf); err != nil {
			return // the reader sees it too
		}
	}
}
