package redis

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hearthcache/hearth/backends/redis/internal/hashslot"
)

// keyGen makes keys in which braces are frequent.
func keyGen() *rapid.Generator[string] {
	return rapid.StringOfN(rapid.SampledFrom([]rune("{}ab:~\x00é")), 1, 12, -1)
}

func TestCRC16_IsXModem(t *testing.T) {
	if got := hashslot.Sum("123456789"); got != 0x31c3 {
		t.Fatalf("got %#x, want 0x31c3, the check value of the Redis Cluster specification", got)
	}
}

func TestSideKey_IsInTheSlotOfItsKeyAndItsAlone(t *testing.T) {
	seen := map[string]string{}
	rapid.Check(t, func(t *rapid.T) {
		key := keyGen().Draw(t, "key")
		side := SideKey(key)
		if hashslot.Of(side) != hashslot.Of(key) {
			t.Fatalf("%q is in slot %d, its side key %q in %d", key, hashslot.Of(key), side, hashslot.Of(side))
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
		if n := hashslot.Of(key); a != int64(n) {
			t.Errorf("%q is in slot %v, not in %d", key, a, n)
		}
		if a != b {
			t.Errorf("%q is in slot %v, its side key in %v", key, a, b)
		}
	}
}

func TestTagFor_FindsATagForEverySlot(t *testing.T) {
	for n := range hashslot.Count {
		tag := tagFor(uint16(n))
		if got := hashslot.Sum(tag) % hashslot.Count; int(got) != n || strings.Contains(tag, "}") {
			t.Fatalf("slot %d: tag %q is in slot %d", n, tag, got)
		}
	}
}
