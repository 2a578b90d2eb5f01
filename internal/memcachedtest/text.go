package memcachedtest

import (
	"bytes"
	"strconv"
)

// get answers get and gets: the items found, and END.
func (s *session) get(keys []string, withCAS bool) {
	s.values(keys, withCAS, (*store).get)
}

// getAndTouch answers gat and gats.
func (s *session) getAndTouch(exptime string, keys []string, withCAS bool) {
	secs, ok := seconds(exptime)
	if !ok {
		s.fail("CLIENT_ERROR invalid exptime argument")
		return
	}
	s.values(keys, withCAS, func(st *store, key string) *item {
		it := st.get(key)
		if it != nil {
			st.counts.touches++
			it.expires = st.expiry(secs)
		}
		return it
	})
}

func (s *session) values(keys []string, withCAS bool, get func(*store, string) *item) {
	before := len(s.out)
	st := s.srv.store
	st.Lock()
	defer st.Unlock()
	for _, key := range keys {
		if len(key) > maxKeyBytes {
			s.out = s.out[:before]
			s.fail(errFormat)
			return
		}
		it := get(st, key)
		if it == nil {
			continue
		}
		s.out = append(s.out, "VALUE "+key+" "...)
		s.out = strconv.AppendUint(s.out, uint64(it.flags), 10)
		s.out = append(s.out, ' ')
		s.out = strconv.AppendInt(s.out, int64(len(it.value)), 10)
		if withCAS {
			s.out = append(s.out, ' ')
			s.out = strconv.AppendUint(s.out, it.cas, 10)
		}
		s.out = append(s.out, "\r\n"...)
		s.out = append(s.out, it.value...)
		s.out = append(s.out, "\r\n"...)
	}
	s.fail("END")
}

// update answers set, add, replace, append, prepend and cas.
func (s *session) update(m mode, w []string) {
	s.noreply(w)
	flags, ok1 := bits32(w[2])
	secs, ok2 := seconds(w[3])
	n, ok3 := seconds(w[4])
	cas, ok4 := uint64(0), true
	if m == modeCAS {
		cas, ok4 = bits64(w[5])
	}
	key := w[1]
	if len(key) > maxKeyBytes || !ok1 || !ok2 || !ok3 || !ok4 || n < 0 {
		s.reply(errFormat) // and the data is read as commands, as there
		return
	}
	st := s.srv.store
	if !st.fits(key, flags, n) {
		s.reply(errLarge)
		s.skip(n)
		if m == modeSet {
			st.Lock()
			defer st.Unlock()
			delete(st.items, key) // the old value would be a lie
		}
		return
	}
	value, ok := s.data(n)
	if !ok {
		s.reply(errData)
		return
	}
	st.Lock()
	defer st.Unlock()
	s.reply(textOutcome(st.write(write{
		mode: m,
		key:  key,
		item: &item{value: value, flags: flags, expires: st.expiry(secs)},
		cas:  cas,
	})))
}

func textOutcome(o outcome) string {
	switch o {
	case stored:
		return "STORED"
	case exists:
		return "EXISTS"
	case notFound:
		return "NOT_FOUND"
	}
	return "NOT_STORED"
}

// delete answers delete key [0] [noreply].
func (s *session) delete(w []string) {
	if len(w) > 2 {
		zero := w[2] == "0"
		quiet := s.noreply(w)
		if valid := len(w) == 3 && (zero || quiet) || len(w) == 4 && zero && quiet; !valid {
			s.reply(errFormat + ".  Usage: delete <key> [noreply]")
			return
		}
	}
	key := w[1]
	if len(key) > maxKeyBytes {
		s.reply(errFormat)
		return
	}
	st := s.srv.store
	st.Lock()
	defer st.Unlock()
	if st.peek(key) == nil {
		s.reply("NOT_FOUND")
		return
	}
	delete(st.items, key)
	s.reply("DELETED")
}

// touch answers touch key exptime [noreply].
func (s *session) touch(w []string) {
	s.noreply(w)
	secs, ok := seconds(w[2])
	switch {
	case len(w[1]) > maxKeyBytes:
		s.reply(errFormat)
		return
	case !ok:
		s.reply("CLIENT_ERROR invalid exptime argument")
		return
	}
	st := s.srv.store
	st.Lock()
	defer st.Unlock()
	st.counts.touches++
	it := st.peek(w[1])
	if it == nil {
		s.reply("NOT_FOUND")
		return
	}
	st.use(it)
	it.expires = st.expiry(secs)
	s.reply("TOUCHED")
}

// arithmetic answers incr and decr.
func (s *session) arithmetic(w []string) {
	s.noreply(w)
	delta, ok := bits64(w[2])
	switch {
	case len(w[1]) > maxKeyBytes:
		s.reply(errFormat)
		return
	case !ok:
		s.reply("CLIENT_ERROR invalid numeric delta argument")
		return
	}
	st := s.srv.store
	st.Lock()
	defer st.Unlock()
	it := st.peek(w[1])
	if it == nil {
		s.reply("NOT_FOUND")
		return
	}
	n, ok := st.count(it, w[0] == "incr", delta)
	if !ok {
		s.reply(errNumber)
		return
	}
	s.reply(n)
}

const errNumber = "CLIENT_ERROR cannot increment or decrement non-numeric value"

// count adds to or subtracts from a number: it wraps at 2^64 upwards and stops
// at 0 downwards. A shorter number is padded with blanks to the old length.
func (st *store) count(it *item, up bool, delta uint64) (string, bool) {
	n, ok := bits64(string(it.value))
	if !ok {
		return "", false
	}
	if up {
		n += delta
	} else {
		n -= min(n, delta)
	}
	digits := strconv.AppendUint(nil, n, 10)
	if len(digits) > len(it.value) {
		it.stale, it.won, it.fetched = false, false, false // a new item in the old place
	}
	value := bytes.Repeat([]byte{' '}, max(len(it.value), len(digits)))
	copy(value, digits)
	it.value = value
	it.cas = st.nextCAS()
	return string(digits), true
}
