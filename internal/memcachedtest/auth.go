package memcachedtest

import "strings"

// maxAuthBytes bounds the value that carries name and password.
const maxAuthBytes = 2048

// authenticate takes the first command of a connection where users are
// configured: set <anything> <anything> <anything> <bytes>, and as the value the
// name and the password with a blank between them.
func (s *session) authenticate(w []string) {
	if len(w) < 5 || w[0] != "set" {
		s.fail("CLIENT_ERROR unauthenticated")
		return
	}
	n, ok := seconds(w[4])
	switch {
	case !ok || n < 0:
		s.fail("CLIENT_ERROR unauthenticated")
		return
	case n+2 > maxAuthBytes:
		s.fail("CLIENT_ERROR authentication token too large")
		return
	}
	value, ok := s.data(n)
	if s.over {
		return
	}
	name, password, found := strings.Cut(string(value), " ")
	if !ok || !found {
		s.fail("CLIENT_ERROR bad authentication token format")
		return
	}
	want, is := s.srv.cfg.Users[name]
	if !is || want != password {
		s.fail("CLIENT_ERROR authentication failure")
		return
	}
	s.known = true
	s.fail("STORED")
}
