package memcachedtest

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
)

const (
	maxKeyBytes = 250
	// maxLineBytes is where the real server hangs up on a line without an end
	// that is no multi-get.
	maxLineBytes = 2048
	// flushBytes bounds what a pipelining client makes us hold back.
	flushBytes = 64 << 10
)

// session is one connection. Only its own goroutine touches it.
type session struct {
	srv   *Server
	conn  net.Conn
	r     *bufio.Reader
	out   []byte // replies not yet handed to the writer
	w     *outbox
	known bool // authenticated, or no need to be
	quiet bool // this command said noreply
	over  bool // hang up after this command
}

func newSession(srv *Server, c net.Conn) *session {
	return &session{
		srv:   srv,
		conn:  c,
		r:     bufio.NewReader(c),
		w:     newOutbox(c),
		known: len(srv.cfg.Users) == 0,
	}
}

// run serves commands until the client hangs up.
func (s *session) run() {
	defer s.w.close()
	for !s.over {
		line, err := s.line()
		if err != nil {
			break
		}
		if s.srv.cfg.Before != nil {
			s.srv.cfg.Before(line)
		}
		s.command(string(line))
		s.quiet = false
		// A client may write its whole pipeline before it reads: replies are
		// sent when the input runs dry, and never by this goroutine.
		if s.r.Buffered() == 0 || len(s.out) > flushBytes {
			s.flush()
		}
	}
	s.flush()
}

func (s *session) flush() {
	s.w.send(s.out)
	s.out = nil
}

// line reads one line without its end ("\r\n" or "\n").
func (s *session) line() ([]byte, error) {
	var line []byte
	for {
		part, err := s.r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			line = line[:len(line)-1]
			return bytes.TrimSuffix(line, []byte{'\r'}), nil
		}
		if err != bufio.ErrBufferFull {
			return nil, err
		}
		start := bytes.TrimLeft(line, " ")
		if len(line) > maxLineBytes && !bytes.HasPrefix(start, []byte("get ")) && !bytes.HasPrefix(start, []byte("gets ")) {
			return nil, bufio.ErrTooLong
		}
	}
}

// data reads the n bytes behind a storage command and their end; ok is false if
// the end is not where it should be.
func (s *session) data(n int) (p []byte, ok bool) {
	p = make([]byte, n+2)
	if _, err := io.ReadFull(s.r, p); err != nil {
		s.over = true
		return nil, false
	}
	return p[:n], string(p[n:]) == "\r\n"
}

// skip throws away the n bytes behind a refused storage command and their end.
func (s *session) skip(n int) {
	if _, err := s.r.Discard(n + 2); err != nil {
		s.over = true
	}
}

// reply sends one line, unless the command said noreply.
func (s *session) reply(line string) {
	if s.quiet {
		return
	}
	s.fail(line)
}

// fail sends one line in any case.
func (s *session) fail(line string) {
	s.out = append(s.out, line...)
	s.out = append(s.out, "\r\n"...)
}

// words splits a command line at its blanks.
func words(line string) []string {
	if i := strings.IndexByte(line, 0); i >= 0 {
		line = line[:i] // a C string ends here
	}
	return strings.FieldsFunc(line, func(r rune) bool { return r == ' ' })
}
