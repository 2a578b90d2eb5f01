package redis

import (
	"strings"

	"github.com/hearthcache/hearth/backends/redis/internal/hashslot"
)

// sideSuffix ends every side key; a digit follows that says how the key was built.
const sideSuffix = "~hearth"

// SideKey returns the key that keeps what belongs beside key: the right to refresh it and, with
// [Separate], its lease or tombstone. It is always in the slot of key, and no two keys share one.
//
// The slot is a hash of the part of a key between its first '{' and the next '}', if that is
// not empty, else of the whole key (Redis Cluster specification, "hash tags").
func SideKey(key string) string {
	switch {
	case hasTag(key):
		return key + sideSuffix + "0"
	case !strings.Contains(key, "}"):
		return "{" + key + "}" + sideSuffix + "1"
	}
	// The key as a tag would end at its own '}'. Any tag of the same slot does.
	return "{" + tagFor(hashslot.Sum(key)) + "}" + key + sideSuffix + "2"
}

// isSideKey reports whether key was made by SideKey.
func isSideKey(key string) bool {
	n := len(key) - 1
	return n > len(sideSuffix) && key[n] >= '0' && key[n] <= '2' && strings.HasSuffix(key[:n], sideSuffix)
}

// hasTag reports whether only a part of key is hashed.
func hasTag(key string) bool {
	_, rest, ok := strings.Cut(key, "{")
	if !ok {
		return false
	}
	return strings.Index(rest, "}") > 0
}

// tagFor returns two bytes whose CRC selects the same slot as sum does. CRC16 maps two bytes
// one to one onto its 16 bits, so each of the four sums of a slot has one pair; the bytes are
// found back to front. The first pair that does not end the tag early is taken.
func tagFor(sum uint16) string {
	for ; ; sum += hashslot.Count {
		x := withLow(byte(sum))
		c := sum ^ hashslot.SumOf(x)
		y := withLow(byte(c >> 8))
		tag := [2]byte{y, x ^ byte(hashslot.SumOf(y)>>8)}
		if tag[0] != '}' && tag[1] != '}' {
			return string(tag[:])
		}
	}
}

// withLow returns the byte whose CRC ends in low: there is exactly one, since the polynomial is
// odd.
func withLow(low byte) byte {
	for x := range 256 {
		if byte(hashslot.SumOf(byte(x))) == low {
			return byte(x)
		}
	}
	panic("unreachable")
}
