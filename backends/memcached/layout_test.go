package memcached

import (
	"fmt"
	"strings"
	"testing"
)

func TestLayout_IsThatOfTheStore(t *testing.T) {
	servers := []Server{{Addr: "a:1"}, {Addr: "b:1"}, {Addr: "c:1"}}
	for _, r := range []Router{Rendezvous, Ketama, Modulo} {
		s, err := New(Config{Servers: servers, Router: r})
		if err != nil {
			t.Fatal(err)
		}
		l, err := NewLayout(r, servers)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 500 {
			key := fmt.Sprintf("key %d", i) // a blank: hashed
			if i%2 == 0 {
				key = fmt.Sprintf("key:%d", i)
			}
			p := s.place(key)
			s.prefix = "v2:"
			if q, _, err := PrefixedWireKey("v2:", key); err != nil || q != s.place(key).wire {
				t.Fatalf("behind a prefix %q is at %q for the layout, %q for the store", key, q, s.place(key).wire)
			}
			s.prefix = ""
			wire, hashed, err := WireKey(key)
			if err != nil || wire != p.wire || hashed != p.hashed || l.Owner(wire) != p.server {
				t.Fatalf("%v: %q is at %q on %d for the layout, %q on %d for the store", r, key, wire, l.Owner(wire), p.wire, p.server)
			}
			if (KindOf(wire) == Hashed) != hashed {
				t.Fatalf("kind of %q is %d", wire, KindOf(wire))
			}
		}
		s.Close()
	}
}

func TestUnpack_NamesTheKeyOrNone(t *testing.T) {
	for _, key := range []string{"with blank", strings.Repeat("x", 300), "\x00"} {
		wire, _, _ := WireKey(key)
		got, rest, ok := Unpack(wire, Pack(key, []byte("v")))
		if !ok || got != key || string(rest) != "v" {
			t.Errorf("unpacked %q as %q %q %t", key, got, rest, ok)
		}
		if _, _, ok := Unpack(shape(asHash, "another"), Pack(key, []byte("v"))); ok {
			t.Errorf("a label of %q was believed under another key", key)
		}
	}
	long := strings.Repeat("x", 600)
	wire, _, _ := WireKey(long)
	if _, _, ok := Unpack(wire, Pack(long, []byte("v"))); ok {
		t.Error("a key too long to be named was named")
	}
	if _, _, ok := Unpack(wire, []byte("17")); ok {
		t.Error("a counter named its key")
	}
	if KindOf(shape(asLease, "k")) != Beside || KindOf("k") != Plain {
		t.Error("kinds are mixed up")
	}
}
