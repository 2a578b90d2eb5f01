// Package hashslot knows in which slot of a Redis Cluster a key is.
package hashslot

import "strings"

// Count is the number of slots.
const Count = 16384

// Of returns the slot of key: a hash of the part between its first '{' and the next '}', if that is
// not empty, else of the whole key (Redis Cluster specification, "hash tags").
func Of(key string) int {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			key = tag
		}
	}
	return int(Sum(key) % Count)
}

// Sum is CRC-16/XMODEM (polynomial 0x1021), the hash of Redis Cluster.
func Sum(s string) (sum uint16) {
	for i := range len(s) {
		sum = sum<<8 ^ SumOf(byte(sum>>8)^s[i])
	}
	return sum
}

// SumOf is the sum of one byte. It is computed rather than looked up: it is seldom asked for.
func SumOf(b byte) uint16 {
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
