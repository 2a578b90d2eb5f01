package memcachedtest

import "fmt"

// metaGet answers mg key flags: HD or VA, or EN for a miss.
func (s *session) metaGet(w []string) {
	st := s.srv.store
	st.Lock()
	defer st.Unlock()
	m, failure := st.parseMeta(w[1], w[2:])
	if failure == "" && !m.opaqueFits() {
		failure = errOpaque
	}
	if failure != "" {
		s.fail(failure)
		return
	}
	st.counts.gets++
	it := st.peek(m.key)
	created := it == nil && m.vivify
	if created {
		it = &item{} // 1.6.18 forgets here that the key came in base64
		st.put(m.key, it)
	}
	if it == nil {
		st.counts.misses++
		s.status("EN", m.echoes(nil), m.quiet)
		return
	}
	st.counts.hits++
	reply := st.metaReply(m, it, created)
	code := "HD"
	if m.value {
		code = fmt.Sprintf("VA %d", len(it.value))
	}
	s.fail(code + string(reply))
	if m.value {
		s.fail(string(it.value))
	}
	if !m.idle {
		st.use(it)
	}
}

// metaReply carries out the flags in their order and returns those of the reply:
// "t T30" shows the time left before, "T30 t" the one after.
func (st *store) metaReply(m metaCommand, it *item, created bool) []byte {
	var out []byte
	won := false
	for _, f := range m.flags {
		switch f[0] {
		case 'T':
			it.expires = m.ttl
		case 'N':
			if created {
				it.expires = m.vivifyTTL
				won = true
			}
		case 'R':
			if !it.won && !created && !it.expires.IsZero() && it.expires.Before(m.recache) {
				won = true
			}
		case 's':
			out = number(out, 's', len(it.value))
		case 't':
			out = number(out, 't', st.left(it))
		case 'c':
			out = number(out, 'c', it.cas)
		case 'f':
			out = number(out, 'f', it.flags)
		case 'l':
			out = number(out, 'l', int64(st.now().Sub(it.used).Seconds()))
		case 'h':
			out = append(out, " h0"...)
			if it.fetched {
				out[len(out)-1] = '1'
			}
		default:
			out = m.echo(out, f, it.binary)
		}
	}
	if it.won {
		out = append(out, " Z"...)
	}
	if it.stale {
		out = append(out, " X"...)
		won = won || !it.won
	}
	if won {
		out = append(out, " W"...)
		it.won = true
	}
	return out
}

// metaDebug answers me key: what the server knows of the item.
func (s *session) metaDebug(w []string) {
	key, binary := w[1], len(w) > 2 && w[2] == "b"
	if binary {
		raw, ok := decodeKey(key)
		if !ok {
			s.fail(errFormat)
			return
		}
		key = raw
	}
	st := s.srv.store
	st.Lock()
	defer st.Unlock()
	it := st.peek(key)
	if it == nil {
		s.fail("EN")
		return
	}
	exp := int64(-1)
	if !it.expires.IsZero() {
		exp = -st.left(it) // negative while it lives, as in 1.6.18
	}
	s.fail(fmt.Sprintf("ME %s exp=%d la=%d cas=%d fetch=%s cls=1 size=%d",
		w[1], exp, int64(st.now().Sub(it.used).Seconds()), it.cas, yes(it.fetched), st.size(key, it)))
}
