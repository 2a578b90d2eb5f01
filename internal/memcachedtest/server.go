package memcachedtest

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// ErrClosed is returned by [Server.Dial] and [Server.Listen] after Close.
var ErrClosed = errors.New("memcachedtest: server closed")

// DefaultMaxItemBytes is the item limit of memcached without -I. It counts the
// key and 56 bytes and more of header too.
const DefaultMaxItemBytes = 1 << 20

// Config says how the server behaves. The zero value is a memcached 1.6.18
// without authentication whose clock is exact.
type Config struct {
	// Now is the clock. Nil means time.Now, which is the fake clock in a
	// synctest bubble.
	Now func() time.Time

	// Tick is the step of the server's clock, counted from New. The real
	// memcached has one second; 0 means exact.
	Tick time.Duration

	// MaxItemBytes limits one item with its key and header; 0 means
	// [DefaultMaxItemBytes].
	MaxItemBytes int

	// Users maps names to passwords. If it is not empty, a connection must
	// first "set" a value of "name password", as with memcached -Y.
	Users map[string]string

	// Version is what the command version answers; "" means "1.6.18".
	Version string

	// Before, if set, is called with each command line before the command is
	// carried out, from the goroutine of the connection. A test blocks in it to
	// force an interleaving. It must not keep the line.
	Before func(line []byte)
}

// Server is an in-process memcached. It is safe for concurrent use.
type Server struct {
	cfg   Config
	store *store

	mu     sync.Mutex
	closed bool
	lis    []net.Listener
	conns  map[net.Conn]struct{}
	work   sync.WaitGroup
}

// New returns a server that holds nothing and listens nowhere. Close it.
func New(cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxItemBytes == 0 {
		cfg.MaxItemBytes = DefaultMaxItemBytes
	}
	if cfg.Version == "" {
		cfg.Version = "1.6.18"
	}
	return &Server{
		cfg:   cfg,
		store: newStore(cfg),
		conns: make(map[net.Conn]struct{}),
	}
}

// Listen serves a TCP address, "127.0.0.1:0" for a free port, until Close.
func (s *Server) Listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("memcachedtest: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.Join(ErrClosed, l.Close())
	}
	s.lis = append(s.lis, l)
	s.work.Go(func() { s.accept(l) })
	return nil
}

// Addr returns the address of the first Listen, "" before it.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lis) == 0 {
		return ""
	}
	return s.lis[0].Addr().String()
}

// Dial returns the client's end of a connection that lives in memory.
func (s *Server) Dial() (net.Conn, error) {
	client, server := net.Pipe()
	if !s.serve(server) {
		return nil, errors.Join(ErrClosed, client.Close(), server.Close())
	}
	return client, nil
}

// Len returns the number of items, without the expired ones.
func (s *Server) Len() int {
	s.store.Lock()
	defer s.store.Unlock()
	n := 0
	for key := range s.store.items {
		if s.store.peek(key) != nil {
			n++
		}
	}
	return n
}

// HangUp closes every open connection, as a restart would, and keeps the items.
func (s *Server) HangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

// Close closes all connections and waits for their goroutines. Closing twice is
// fine.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	var errs []error
	for _, l := range s.lis {
		errs = append(errs, l.Close())
	}
	s.lis = nil
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.work.Wait()
	return errors.Join(errs...)
}

func (s *Server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed
		}
		if !s.serve(c) {
			_ = c.Close()
		}
	}
}

// serve starts the goroutine of a connection; false after Close.
func (s *Server) serve(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	s.work.Go(func() {
		newSession(s, c).run()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	})
	return true
}
