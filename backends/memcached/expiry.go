package memcached

import (
	"math"
	"time"
)

const (
	// month is the longest relative lifetime; memcached takes a larger number for a Unix time.
	month = 30 * 24 * 60 * 60

	// gone is an expiry in the past: the item is removed by storing it.
	gone = -1
)

// expiry returns the lifetime ttl as memcached wants it: 0 = until evicted; seconds, rounded up,
// plus one because the server's clock ticks once a second and cuts the first one short (an
// expiry of 1 lives 86 to 917 ms); beyond 30 days as Unix time, plus one more as that is cut to
// the second on both sides; never past 2038, where the 31 bits that gomemcache and old servers
// have for it end. A value thus never lives shorter than asked, and up to two seconds longer. A
// negative ttl is gone at once.
func expiry(ttl time.Duration, now time.Time) int32 {
	switch {
	case ttl == 0:
		return 0
	case ttl < 0:
		return gone
	}
	s := int64(ttl / time.Second)
	if ttl%time.Second != 0 {
		s++
	}
	s++
	if s > month {
		s += now.Unix() + 1
	}
	return int32(min(s, math.MaxInt32))
}

// remaining turns the seconds that the server says are left into a lifetime that does not exceed
// what was asked of [expiry]: -1 is no expiry, and of the others the second added there is taken
// off again, so that a value copied back and forth does not live for ever.
func remaining(seconds int64) time.Duration {
	switch {
	case seconds < 0:
		return 0
	case seconds <= 1:
		return time.Millisecond // not 0, which would say "no expiry"
	case seconds-1 > int64(math.MaxInt64/time.Second):
		return math.MaxInt64
	}
	return time.Duration(seconds-1) * time.Second
}
