package redis

import "strings"

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
	return "{" + tagFor(crc16(key)) + "}" + key + sideSuffix + "2"
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

// slots is the number of hash slots of a cluster.
const slots = 16384

// tagFor returns two bytes whose CRC selects the same slot as sum does. CRC16 maps two bytes
// one to one onto its 16 bits, so each of the four sums of a slot has one pair; the bytes are
// found back to front. The first pair that does not end the tag early is taken.
func tagFor(sum uint16) string {
	for ; ; sum += slots {
		x := withLow(byte(sum))
		c := sum ^ crcOf(x)
		y := withLow(byte(c >> 8))
		tag := [2]byte{y, x ^ byte(crcOf(y)>>8)}
		if tag[0] != '}' && tag[1] != '}' {
			return string(tag[:])
		}
	}
}

// withLow returns the byte whose CRC ends in low: there is exactly one, since the polynomial is
// odd.
func withLow(low byte) byte {
	for x := range 256 {
		if byte(crcOf(byte(x))) == low {
			return byte(x)
		}
	}
	panic("unreachable")
}

// crc16 is CRC-16/XMODEM (polynomial 0x1021), the hash of Redis Cluster.
func crc16(s string) (sum uint16) {
	for i := range len(s) {
		sum = sum<<8 ^ crcOf(byte(sum>>8)^s[i])
	}
	return sum
}

// crcOf is the CRC of one byte. It is computed rather than looked up: only odd keys need it.
func crcOf(b byte) uint16 {
	sum := uint16(b) << 8
	for range 8 {
		if sum&0x8000 != 0 {
			sum = sum<<1 ^ 0x1021
		} else {
			sum <<= 1
		}
	}
	return sum
}
