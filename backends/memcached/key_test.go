package memcached

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hearthcache/hearth/backends"
)

// keyStore is a Store that is never connected.
func keyStore(t testing.TB, prefix string) *Store {
	return open(t, Config{Servers: fleet("127.0.0.1:1"), Prefix: prefix})
}

func TestKey_WhatMemcachedHoldsIsSentAsItIs(t *testing.T) {
	s := keyStore(t, "")
	for _, key := range []string{"a", "user:1", "ключ", "\xff\xfe", strings.Repeat("k", 250), "#", "#H", "#Hello"} {
		if p := s.place(key); p.wire != key || p.hashed {
			t.Errorf("key %.20q became %q", key, p.wire)
		}
	}
}

func TestKey_WhatItCannotHoldIsHashed(t *testing.T) {
	s := keyStore(t, "app:")
	for _, key := range []string{
		" ", "a b", "a\r\nflush_all", "tab\t", "\x00", "\x7f", "\x1f", strings.Repeat("k", 247), strings.Repeat("long", 1000),
		shape(asHash, "a b"), shape(asLease, "k"), shape(asRefresh, "k"),
	} {
		p := s.place(key)
		if !p.hashed || len(p.wire) > maxKey || !legal(p.wire) || !strings.HasPrefix(p.wire, "app:#H") {
			t.Errorf("key %.20q became %q", key, p.wire)
		}
	}
}

// FuzzKey: whatever the keys, what is sent is legal, two keys never share a wire key, and no
// wire key is one of the side keys.
func FuzzKey(f *testing.F) {
	for _, k := range []string{"a", "a b", "\r\n", strings.Repeat("x", 251), shape(asHash, "a b"), shape(asRefresh, "a"), "#Habc", "\x7f"} {
		f.Add(k, "a b")
		f.Add(k, shape(asHash, k))
	}
	s := keyStore(f, "p:")
	f.Fuzz(func(t *testing.T, a, b string) {
		if a == "" || b == "" {
			return // refused
		}
		pa, pb := s.place(a), s.place(b)
		for _, w := range []string{pa.wire, s.beside(pa, asLease), s.beside(pa, asRefresh)} {
			if w == "" || len(w) > maxKey || !legal(w) {
				t.Fatalf("key %q is sent as %q", a, w)
			}
		}
		if (pa.wire == pb.wire) != (a == b) {
			t.Fatalf("keys %q and %q are sent as %q and %q", a, b, pa.wire, pb.wire)
		}
		for _, purpose := range []byte{asLease, asRefresh} {
			if pa.wire == s.beside(pb, purpose) {
				t.Fatalf("key %q is sent as what lies beside %q", a, b)
			}
		}
	})
}

// FuzzLabel: a label comes off as it was put on, and off no other key's value.
func FuzzLabel(f *testing.F) {
	f.Add("a b", "c d", []byte("v"))
	f.Add(strings.Repeat("x", 600), "c d", []byte(nil))
	f.Add("a b", "c d", []byte("12"))
	f.Add("a b", "c d", []byte("\x00K\x00\x03a bv"))
	f.Fuzz(func(t *testing.T, a, b string, v []byte) {
		pa, pb := place{key: a, hashed: true}, place{key: b, hashed: true}
		packed := pa.label(v)
		if got, ok := pa.unlabel(packed); !ok || !bytes.Equal(got, v) {
			t.Fatalf("%q came back as %q, %v", v, got, ok)
		}
		if _, ok := pb.unlabel(packed); ok && a != b && !isCounter(v) {
			t.Fatalf("the value of %q passed for one of %q", a, b)
		}
		pb.unlabel(v) // whatever it is: no panic
	})
}

func TestKey_AnotherKeysValueUnderAHashIsAMiss(t *testing.T) {
	s, ctx := one(t, Config{}), context.Background()
	const mine, other = "my key", "other key"
	// As if both had the same hash, and as if somebody else had written there.
	for _, v := range [][]byte{place{key: other, hashed: true}.label([]byte("theirs")), []byte("plain text"), {0}} {
		c := foreign(s, mine)
		defer c.Close()
		ok(t, c.Set(&memcache.Item{Key: s.place(mine).wire, Value: v}))
		_, err := s.Get(ctx, mine)
		is(t, err, backends.ErrMiss)
		is(t, s.GetMany(ctx, []string{mine})[0].Err, backends.ErrMiss)
		// It does not stand in the way of the key's own value either.
		l, _, err := s.Acquire(ctx, mine, 1e9)
		ok(t, err)
		ok(t, l.Fill(ctx, text("mine")))
		holds(t, s, mine, "mine")
		ok(t, c.Set(&memcache.Item{Key: s.place(mine).wire, Value: v}))
		ok(t, s.Add(ctx, mine, text("added")))
		holds(t, s, mine, "added")
	}
}

func TestKey_CountersUnderAHashCount(t *testing.T) {
	s, ctx := one(t, Config{}), context.Background()
	const key = "visits of page 1"
	ok(t, s.Set(ctx, key, text("100")))
	n, err := s.Increment(ctx, key, -95, 0, 0)
	if ok(t, err); n != 5 {
		t.Fatalf("got %d, want 5", n)
	}
	holds(t, s, key, "5")
}

// The empty key makes "set  0 0 9\r\nflush_all\r\n", and memcached runs the value.
func TestKey_EmptyKeyNeverReachesTheServer(t *testing.T) {
	for _, prefix := range []string{"", "app:"} {
		s, ctx := one(t, Config{Prefix: prefix}), context.Background()
		ok(t, s.Set(ctx, "canary", text("sings")))
		tok := backends.IDToken(1)
		evil := text("flush_all")
		_, err := s.Get(ctx, "")
		is(t, err, backends.ErrEmptyKey)
		_, err = s.GetTTL(ctx, "")
		is(t, err, backends.ErrEmptyKey)
		_, _, err = s.Acquire(ctx, "", 1e9)
		is(t, err, backends.ErrEmptyKey)
		_, err = s.AcquireRefresh(ctx, "", tok, 1e9)
		is(t, err, backends.ErrEmptyKey)
		_, err = s.Seize(ctx, "", 1e9)
		is(t, err, backends.ErrEmptyKey)
		_, err = s.Increment(ctx, "", 1, 1, 0)
		is(t, err, backends.ErrEmptyKey)
		for _, err := range []error{
			s.Set(ctx, "", evil), s.Delete(ctx, ""), s.Add(ctx, "", evil), s.SetNewer(ctx, "", evil), s.Touch(ctx, "", 1e9),
			s.CompareAndSwap(ctx, "", tok, evil), s.CompareAndDelete(ctx, "", tok), s.DeleteHold(ctx, "", 1e9, 1),
			s.SetMany(ctx, []backends.KeyItem{{Item: evil}})[0], s.DeleteMany(ctx, []string{""})[0], s.GetMany(ctx, []string{""})[0].Err,
		} {
			is(t, err, backends.ErrEmptyKey)
		}
		for _, key := range []string{"a\r\nflush_all", "x 0 0 1\r\nset canary", " ", "\r\n"} {
			ok(t, s.Set(ctx, key, evil))
			holds(t, s, key, "flush_all")
			ok(t, s.Delete(ctx, key))
		}
		holds(t, s, "canary", "sings")
	}
}
