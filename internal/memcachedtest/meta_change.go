package memcachedtest

import "fmt"

const errMetaFlags = "CLIENT_ERROR invalid or duplicate flag"

// metaDelete answers md key flags. With I the item stays, marked as stale, and
// the next mg that finds it is told to refresh it.
func (s *session) metaDelete(w []string) {
	st := s.srv.store
	st.Lock()
	defer st.Unlock()
	m, failure := st.parseMeta(w[1], w[2:])
	if failure != "" {
		s.fail(errMetaFlags)
		return
	}
	if !m.opaqueFits() {
		s.fail(errOpaque)
		return
	}
	it := st.peek(m.key)
	switch {
	case it == nil:
		s.fail("NF" + string(m.echoes(nil))) // not silenced by q in 1.6.18
		return
	case m.hasCAS && it.cas != m.cas:
		s.fail("EX" + string(m.echoes(nil)))
		return
	case m.invalidate:
		if m.hasTTL {
			it.expires = m.ttl
		}
		it.stale, it.won = true, false
		it.cas = st.nextCAS()
	default:
		delete(st.items, m.key)
	}
	s.status("HD", m.echoes(nil), m.quiet)
}

// countModes says which modes of ma count upwards.
var countModes = map[byte]bool{0: true, 'I': true, '+': true, 'D': false, '-': false}

// metaArithmetic answers ma key flags.
func (s *session) metaArithmetic(w []string) {
	st := s.srv.store
	st.Lock()
	defer st.Unlock()
	m, failure := st.parseMeta(w[1], w[2:])
	up, known := countModes[m.mode]
	switch {
	case failure != "":
		s.fail(errMetaFlags)
		return
	case !known:
		s.fail("CLIENT_ERROR invalid mode for ma M token")
		return
	case !m.opaqueFits():
		s.fail(errOpaque)
		return
	}
	it := st.peek(m.key)
	created := it == nil && m.vivify
	digits, ok, size := "", true, 0
	switch {
	case created:
		digits = fmt.Sprint(m.initial)
		it = &item{value: []byte(digits)}
		st.put(m.key, it)
	case it == nil:
		s.fail("NF" + string(m.echoes(nil)))
		return
	case m.cas != 0 && m.cas != it.cas && len(it.value) > 0:
		s.fail("EX" + string(m.echoes(nil)))
		return
	default:
		size = len(it.value)
		digits, ok = st.count(it, up, m.delta)
	}
	if !ok {
		s.fail(errNumber)
		return
	}
	expires := it.expires
	flags := st.countReply(m, it, created)
	if !created && len(it.value) > size {
		it.expires = expires // 1.6.18 loses the T of a number that gets longer
	}
	silent := m.quiet && !created // a new counter is told even to the quiet
	if m.value {
		s.status(fmt.Sprintf("VA %d", len(digits)), append(flags, "\r\n"+digits...), silent)
		return
	}
	s.status("HD", flags, silent)
}

// countReply carries out the flags in their order and returns those of the reply.
func (st *store) countReply(m metaCommand, it *item, created bool) []byte {
	var out []byte
	for _, f := range m.flags {
		switch f[0] {
		case 'c':
			out = number(out, 'c', it.cas)
		case 't':
			out = number(out, 't', st.left(it))
		case 'T':
			it.expires = m.ttl
		case 'N':
			if created {
				it.expires = m.vivifyTTL
			}
		default:
			out = m.echo(out, f, m.binary)
		}
	}
	return out
}
