package servers

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// A Server is one running (or stopped) cache server. It keeps its address for
// life, so a restarted server is found by the clients of the old one.
//
// It is safe for concurrent use.
type Server struct {
	addr string
	kind string
	tidy func() error // removes what Close must remove

	mu  sync.Mutex
	run engine
}

// engine is what a process and a stand-in have in common. The Server calls it
// under its lock.
type engine interface {
	start(addr string) error
	stop() error // graceful; nil when not running
	kill() error // at once; nil when not running
	pause() error
	resume() error
	pid() int
	log() string
}

// Addr returns "127.0.0.1:port". It stays the same over restarts.
func (s *Server) Addr() string { return s.addr }

// Kind returns [Real] or [Embedded].
func (s *Server) Kind() string { return s.kind }

// PID returns the process id, 0 when the server is embedded or not running.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.pid()
}

// Log returns what the server has printed so far, for error messages. An
// embedded server prints nothing.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.log()
}

// Start starts a stopped or killed server again, on the same port. It returns
// once the server answers. Starting a running server is an error.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.start(s.addr)
}

// Stop asks the server to end and waits until it has; after five seconds it is
// killed. Stopping a server that does not run is fine.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.stop()
}

// Kill ends the server at once, as kill -9 does, and waits until it is gone.
// Killing a server that does not run is fine.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.kill()
}

// Restart is Kill, then Start: the server loses what it had only in memory.
func (s *Server) Restart() error {
	if err := s.Kill(); err != nil {
		return err
	}
	return s.Start()
}

// Pause freezes the process (SIGSTOP): the port still accepts connections and
// nothing is answered. It returns [errors.ErrUnsupported] where there is no
// process to freeze.
func (s *Server) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.pause()
}

// Resume lets a paused server go on.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.resume()
}

// Close kills the server and removes its temporary directory.
func (s *Server) Close() error {
	return errors.Join(s.Kill(), s.tidy())
}

// launch starts a server made by build, with a new port on each attempt: another
// process may take a port between our look and the server's bind.
func launch(kind string, tidy func() error, build func() engine) (*Server, error) {
	var err error
	for range 5 {
		addr, e := freeAddr()
		if e != nil {
			return nil, errors.Join(e, tidy())
		}
		s := &Server{addr: addr, kind: kind, tidy: tidy, run: build()}
		if err = s.Start(); err == nil {
			return s, nil
		}
	}
	return nil, errors.Join(err, tidy())
}

// workdir returns the directory of the options or a temporary one, and what
// removes it.
func workdir(o Options) (string, func() error, error) {
	if o.Dir != "" {
		return o.Dir, func() error { return nil }, nil
	}
	dir, err := os.MkdirTemp("", "hearth-server-")
	if err != nil {
		return "", nil, fmt.Errorf("servers: %w", err)
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}
