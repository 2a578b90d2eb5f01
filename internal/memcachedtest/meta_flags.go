package memcachedtest

import (
	"encoding/base64"
	"strconv"
	"time"
)

const (
	// maxMetaWords is the most words of a meta command, maxOpaque the longest
	// O flag with its letter.
	maxMetaWords = 19
	maxOpaque    = 32

	errToken  = "CLIENT_ERROR bad token in command line format"
	errOpaque = "CLIENT_ERROR opaque token too long"
)

// metaCommand is a parsed meta command.
type metaCommand struct {
	key    string
	binary bool     // the key came in base64
	flags  []string // as they came: replies follow their order

	value, quiet, idle, vivify, invalidate bool
	mode                                   byte // M, 0 without
	clientFlags                            uint32
	hasTTL, hasCAS                         bool
	ttl, vivifyTTL, recache                time.Time
	cas, as, delta, initial                uint64
}

// meta answers the meta commands.
func (s *session) meta(w []string) {
	if w[0] == "mn" {
		s.fail("MN")
		return
	}
	switch {
	case len(w) < 2 && w[0] == "me":
		s.fail(errFormat)
		return
	case len(w) < 2:
		s.fail("ERROR")
		return
	case len(w[1]) > maxKeyBytes:
		s.fail(errFormat)
		return
	case len(w) > maxMetaWords && w[0] == "mg":
		s.fail("CLIENT_ERROR options flags are too long")
		return
	case len(w) > maxMetaWords:
		s.fail("CLIENT_ERROR options flags too long")
		return
	}
	switch w[0] {
	case "mg":
		s.metaGet(w)
	case "ms":
		s.metaSet(w)
	case "md":
		s.metaDelete(w)
	case "ma":
		s.metaArithmetic(w)
	case "me":
		s.metaDebug(w)
	}
}

// parseMeta reads the flags behind a key. The string is the error to answer, ""
// if there is none.
func (st *store) parseMeta(key string, flags []string) (m metaCommand, failure string) {
	m = metaCommand{key: key, flags: flags, delta: 1}
	var seen [256]bool
	for _, f := range flags {
		if f[0] >= 127 || seen[f[0]] {
			return m, "CLIENT_ERROR duplicate flag"
		}
		seen[f[0]] = true
		known, problem := st.parseFlag(&m, f[0], f[1:])
		if !known {
			return m, "CLIENT_ERROR invalid flag"
		}
		if problem != "" {
			failure = problem // the last one is reported, as there
		}
	}
	return m, failure
}

func (st *store) parseFlag(m *metaCommand, letter byte, arg string) (known bool, problem string) {
	ok := true
	problem = errToken
	switch letter {
	case 'k', 's', 't', 'c', 'f', 'l', 'h', 'O', 'P', 'L':
	case 'v':
		m.value = true
	case 'q':
		m.quiet = true
	case 'u':
		m.idle = true
	case 'I':
		m.invalidate = true
	case 'b':
		m.key, ok = decodeKey(m.key)
		m.binary = true
		problem = "CLIENT_ERROR error decoding key"
	case 'N':
		m.vivify = true
		m.vivifyTTL, ok = st.parseExpiry(arg)
	case 'T':
		m.ttl, ok = st.parseExpiry(arg)
		m.hasTTL = ok
	case 'R':
		m.recache, ok = st.parseExpiry(arg)
	case 'F':
		m.clientFlags, ok = bits32(arg)
		problem = errFormat
	case 'C':
		m.cas, ok = bits64(arg)
		m.hasCAS = ok
	case 'E':
		m.as, ok = bits64(arg)
	case 'M':
		if ok = len(arg) == 1; ok {
			m.mode = arg[0]
		}
		problem = "CLIENT_ERROR incorrect length for M token"
	case 'J':
		m.initial, ok = bits64(arg)
		problem = "CLIENT_ERROR invalid numeric initial value"
	case 'D':
		m.delta, ok = bits64(arg)
		problem = "CLIENT_ERROR invalid numeric delta value"
	default:
		return false, ""
	}
	if ok {
		problem = ""
	}
	return true, problem
}

func (st *store) parseExpiry(arg string) (time.Time, bool) {
	secs, ok := seconds(arg)
	return st.expiry(secs), ok
}

func decodeKey(key string) (string, bool) {
	raw, err := base64.StdEncoding.DecodeString(key)
	return string(raw), err == nil && len(raw) > 0
}

// opaqueFits says whether every O flag is within its limit.
func (m metaCommand) opaqueFits() bool {
	for _, f := range m.flags {
		if f[0] == 'O' && len(f) > maxOpaque {
			return false
		}
	}
	return true
}

// echo appends the flags every reply may repeat: the opaque token and the key.
func (m metaCommand) echo(out []byte, flag string, binary bool) []byte {
	switch flag[0] {
	case 'O':
		return append(append(out, ' '), flag...)
	case 'k':
		return append(append(out, " k"...), metaKey(m.key, binary)...)
	}
	return out
}

// echoes appends all of them.
func (m metaCommand) echoes(out []byte) []byte {
	for _, f := range m.flags {
		out = m.echo(out, f, m.binary)
	}
	return out
}

// metaKey returns the key as replies show it.
func metaKey(key string, binary bool) string {
	if !binary {
		return key
	}
	return base64.StdEncoding.EncodeToString([]byte(key)) + " b"
}

// status sends "<code><flags>", unless it is the nominal answer to a quiet command.
func (s *session) status(code string, flags []byte, silent bool) {
	if silent {
		return
	}
	s.fail(code + string(flags))
}

// number appends " <letter><n>".
func number[N int | int64 | uint32 | uint64](out []byte, letter byte, n N) []byte {
	out = append(out, ' ', letter)
	if n < 0 {
		return strconv.AppendInt(out, int64(n), 10)
	}
	return strconv.AppendUint(out, uint64(n), 10)
}
