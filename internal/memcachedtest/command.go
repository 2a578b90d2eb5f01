package memcachedtest

const (
	errFormat = "CLIENT_ERROR bad command line format"
	errData   = "CLIENT_ERROR bad data chunk"
	errLarge  = "SERVER_ERROR object too large for cache"
)

// command carries out one command line. The counts of words are those the real
// server accepts; with others it answers ERROR without a look at the words.
func (s *session) command(line string) {
	w := words(line)
	if !s.known {
		s.authenticate(w)
		return
	}
	if len(w) == 0 {
		s.fail("ERROR")
		return
	}
	switch n := len(w); w[0] {
	case "get", "gets":
		s.want(n >= 2, func() { s.get(w[1:], w[0] == "gets") })
	case "gat", "gats":
		s.want(n >= 2, func() { s.getAndTouch(w[1], w[2:], w[0] == "gats") })
	case "set":
		s.want(n == 5 || n == 6, func() { s.update(modeSet, w) })
	case "add":
		s.want(n == 5 || n == 6, func() { s.update(modeAdd, w) })
	case "replace":
		s.want(n == 5 || n == 6, func() { s.update(modeReplace, w) })
	case "append":
		s.want(n == 5 || n == 6, func() { s.update(modeAppend, w) })
	case "prepend":
		s.want(n == 5 || n == 6, func() { s.update(modePrepend, w) })
	case "cas":
		s.want(n == 6 || n == 7, func() { s.update(modeCAS, w) })
	case "incr", "decr":
		s.want(n == 3 || n == 4, func() { s.arithmetic(w) })
	case "delete":
		s.want(n >= 2 && n <= 4, func() { s.delete(w) })
	case "touch":
		s.want(n == 3 || n == 4, func() { s.touch(w) })
	case "mg", "ms", "md", "ma", "mn", "me":
		s.meta(w)
	default:
		s.admin(w)
	}
}

func (s *session) want(ok bool, do func()) {
	if !ok {
		s.fail("ERROR")
		return
	}
	do()
}

// noreply notes whether the last word asks for silence.
func (s *session) noreply(w []string) bool {
	s.quiet = w[len(w)-1] == "noreply"
	return s.quiet
}
