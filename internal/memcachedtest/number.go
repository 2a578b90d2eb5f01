package memcachedtest

import (
	"strconv"
	"strings"
)

// seconds parses an expiry time or a length as the server does: it reads 64 bits
// and keeps the lower 32, so 2147483648 is negative.
func seconds(s string) (int, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return int(int32(n)), err == nil
}

// bits32 parses client flags, of which it keeps the lower 32 bits.
func bits32(s string) (uint32, bool) {
	n, ok := bits64(s)
	return uint32(n), ok
}

// bits64 parses a cas id, a delta or a counter. Blanks around the digits and a
// sign are allowed, as strtoull allows them, but no negative result. A zero byte
// ends the number like a blank.
func bits64(s string) (uint64, bool) {
	const blank = " \t\n\v\f\r"
	s = strings.TrimLeft(s, blank)
	if i := strings.IndexAny(s, blank+"\x00"); i >= 0 {
		s = s[:i]
	}
	s, negative := strings.CutPrefix(s, "-")
	if !negative {
		s = strings.TrimPrefix(s, "+")
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, false
	}
	if negative {
		n = -n
		return n, int64(n) >= 0
	}
	return n, true
}
