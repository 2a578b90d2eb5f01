package redis

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// keyGen makes keys in which braces are frequent.
func keyGen() *rapid.Generator[string] {
	return rapid.StringOfN(rapid.SampledFrom([]rune("{}ab:~\x00é")), 1, 12, -1)
}

// hashed is the part of a key that the cluster specification hashes.
func hashed(key string) string {
	if i := strings.IndexByte(key, '{'); i >= 0 {
		if j := strings.IndexByte(key[i+1:], '}'); j > 0 {
			return key[i+1 : i+1+j]
		}
	}
	return key
}

func slot(key string) uint16 { return crc16(hashed(key)) % slots }

func TestCRC16_IsXModem(t *testing.T) {
	if got := crc16("123456789"); got != 0x31c3 {
		t.Fatalf("got %#x, want 0x31c3, the check value of the Redis Cluster specification", got)
	}
}

func TestSideKey_IsInTheSlotOfItsKeyAndItsAlone(t *testing.T) {
	seen := map[string]string{}
	rapid.Check(t, func(t *rapid.T) {
		key := keyGen().Draw(t, "key")
		side := SideKey(key)
		if slot(side) != slot(key) {
			t.Fatalf("%q is in slot %d, its side key %q in %d", key, slot(key), side, slot(side))
		}
		if !isSideKey(side) {
			t.Fatalf("%q is not taken for a side key", side)
		}
		if other, ok := seen[side]; ok && other != key {
			t.Fatalf("%q and %q share the side key %q", key, other, side)
		}
		seen[side] = key
	})
}

func TestSideKey_ServerAgreesOnTheSlot(t *testing.T) {
	t.Parallel()
	s := open(t, server(t, "--cluster-enabled", "yes"), Config{})
	for _, key := range []string{"k", "a{b}c", "{}", "{}x", "a}b", "}{", "a}b{c", "{a}", "{", "x{y{z", "}", "\x00}\xff"} {
		a, b := do(t, s, "cluster", "keyslot", key), do(t, s, "cluster", "keyslot", SideKey(key))
		if a != b {
			t.Errorf("%q is in slot %v, its side key in %v", key, a, b)
		}
	}
}

func TestTagFor_FindsATagForEverySlot(t *testing.T) {
	for n := range slots {
		tag := tagFor(uint16(n))
		if got := crc16(tag) % slots; int(got) != n || strings.Contains(tag, "}") {
			t.Fatalf("slot %d: tag %q is in slot %d", n, tag, got)
		}
	}
}
