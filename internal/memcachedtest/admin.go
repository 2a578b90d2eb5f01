package memcachedtest

import (
	"fmt"
	"net/url"
	"os"
	"strings"
)

// admin answers everything that is not about single items.
func (s *session) admin(w []string) {
	switch {
	case w[0] == "version":
		s.reply("VERSION " + s.srv.cfg.Version)
	case w[0] == "quit":
		s.over = true
	case w[0] == "flush_all" && len(w) <= 3:
		s.flushAll(w)
	case w[0] == "verbosity" && len(w) >= 2:
		s.noreply(w)
		if _, ok := bits32(w[1]); !ok {
			s.reply(errFormat)
			return
		}
		s.reply("OK")
	case w[0] == "stats":
		s.stats(w[1:])
	case w[0] == "lru_crawler" && len(w) >= 3 && w[1] == "metadump":
		s.metadump(w[2])
	case len(w) >= 2 && strings.HasPrefix(w[len(w)-1], "HTTP/"):
		s.over = true // a browser or an attack
	default:
		s.fail("ERROR")
	}
}

// flushAll answers flush_all [delay] [noreply].
func (s *session) flushAll(w []string) {
	quiet := s.noreply(w)
	st := s.srv.store
	st.Lock()
	defer st.Unlock()
	secs := 0
	if len(w) == 3 || len(w) == 2 && !quiet {
		n, ok := seconds(w[1])
		if !ok {
			s.reply("CLIENT_ERROR invalid exptime argument")
			return
		}
		secs = n
	}
	if secs <= 0 {
		st.flush(st.now())
	} else {
		st.flush(st.expiry(secs))
	}
	s.reply("OK")
}

// stats answers the general statistics, those a client may look for.
func (s *session) stats(sub []string) {
	st := s.srv.store
	st.Lock()
	defer st.Unlock()
	if len(sub) > 0 {
		switch sub[0] {
		case "reset":
			st.counts = counts{}
			s.fail("RESET")
		case "settings":
			s.stat("item_size_max", st.cfg.MaxItemBytes)
			s.fail("END")
		case "items", "slabs", "sizes", "conns":
			s.fail("END")
		default:
			s.fail("ERROR")
		}
		return
	}
	live, bytes := 0, 0
	for key := range st.items {
		if it := st.peek(key); it != nil {
			live++
			bytes += len(key) + len(it.value)
		}
	}
	s.stat("pid", os.Getpid())
	s.stat("uptime", int64(st.now().Sub(st.started).Seconds()))
	s.stat("time", st.now().Unix())
	s.stat("version", st.cfg.Version)
	s.stat("cmd_get", st.counts.gets)
	s.stat("cmd_set", st.counts.sets)
	s.stat("cmd_touch", st.counts.touches)
	s.stat("cmd_flush", st.counts.flushes)
	s.stat("get_hits", st.counts.hits)
	s.stat("get_misses", st.counts.misses)
	s.stat("curr_items", live)
	s.stat("total_items", st.counts.total)
	s.stat("bytes", bytes)
	s.stat("evictions", 0)
	s.fail("END")
}

func (s *session) stat(name string, value any) {
	s.fail(fmt.Sprintf("STAT %s %v", name, value))
}

// metadump lists the keys, escaped as in a URL, with what is known of them.
func (s *session) metadump(classes string) {
	if classes != "all" && classes != "hash" {
		s.fail("BADCLASS invalid class id")
		return
	}
	st := s.srv.store
	st.Lock()
	defer st.Unlock()
	for key := range st.items {
		it := st.peek(key)
		if it == nil {
			continue
		}
		exp := int64(-1)
		if !it.expires.IsZero() {
			exp = it.expires.Unix()
		}
		s.out = fmt.Appendf(s.out, "key=%s exp=%d la=%d cas=%d fetch=%s cls=1 size=%d\n",
			escape(key), exp, it.used.Unix(), it.cas, yes(it.fetched), st.size(key, it))
	}
	s.fail("END")
}

// escape writes every byte but letters, digits and -._~ as %XX.
func escape(key string) string {
	return strings.ReplaceAll(url.QueryEscape(key), "+", "%20")
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// size returns the bytes an item takes, see fits.
func (st *store) size(key string, it *item) int {
	n := 48 + 8 + len(key) + 1 + len(it.value) + 2
	if it.flags != 0 {
		n += 4
	}
	return n
}
