package memcachedtest

// metaSet answers ms key length flags: HD, NS, EX or NF.
func (s *session) metaSet(w []string) {
	if len(w) < 3 {
		s.fail(errFormat)
		return
	}
	n, ok := seconds(w[2])
	if !ok || n < 0 {
		s.fail(errFormat) // and the data is read as commands, as there
		return
	}
	st := s.srv.store
	st.Lock()
	m, failure := st.parseMeta(w[1], w[3:])
	st.Unlock()
	how, known := metaModes[m.mode]
	switch {
	case failure != "":
	case !m.opaqueFits():
		failure = errOpaque
	case !known:
		failure = "CLIENT_ERROR invalid mode for ms M token"
	case !st.fits(m.key, m.clientFlags, n):
		failure = errLarge
		st.Lock()
		delete(st.items, m.key) // the old value would be a lie
		st.Unlock()
	}
	if failure != "" {
		s.fail(failure)
		s.skip(n)
		return
	}
	value, ok := s.data(n)
	if !ok {
		s.fail(errData)
		return
	}
	if m.hasCAS && (how == modeSet || how == modeReplace) {
		how = modeCAS
	}
	it := &item{value: value, flags: m.clientFlags, expires: m.ttl, binary: m.binary}
	st.Lock()
	defer st.Unlock()
	result := st.write(write{
		mode: how, key: m.key, item: it,
		cas: m.cas, invalid: m.invalidate, as: m.as,
	})
	s.status(metaOutcome(result), m.storeReply(it.cas), m.quiet && result == stored)
}

var metaModes = map[byte]mode{
	0: modeSet, 'S': modeSet, 'E': modeAdd, 'R': modeReplace, 'A': modeAppend, 'P': modePrepend,
}

// storeReply returns the flags behind the outcome of a write.
func (m metaCommand) storeReply(cas uint64) []byte {
	var out []byte
	for _, f := range m.flags {
		if f[0] == 'c' {
			out = number(out, 'c', cas)
			continue
		}
		out = m.echo(out, f, m.binary)
	}
	return out
}

func metaOutcome(o outcome) string {
	switch o {
	case stored:
		return "HD"
	case exists:
		return "EX"
	case notFound:
		return "NF"
	}
	return "NS"
}
