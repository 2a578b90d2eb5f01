package codec_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/hearthcache/hearth/codec"
)

func TestKeyRing_RotationKeepsOldFramesReadable(t *testing.T) {
	with := func(r *codec.KeyRing) *codec.Framer[string] { return newFramer(t, codec.Config[string]{Keys: r}) }
	old := with(ring(t, 1, 1))
	both := with(ring(t, 1, 1, 2))
	rotated := with(ring(t, 2, 1, 2))
	last := with(ring(t, 2, 2))

	before := mustAppend(t, old, "k", plainHeader(), "v")
	after := mustAppend(t, rotated, "k", plainHeader(), "v")
	for name, tc := range map[string]struct {
		f     *codec.Framer[string]
		frame []byte
		want  error
	}{
		"old key, both known":      {both, before, nil},
		"old key, after rotation":  {rotated, before, nil},
		"new key, before rotation": {both, after, nil},
		"new key, not yet known":   {old, after, codec.ErrUnknownKey},
		"old key, taken out":       {last, before, codec.ErrUnknownKey},
		"no keys at all":           {with(nil), before, codec.ErrUnknownKey},
	} {
		_, v, err := tc.f.Decode("k", tc.frame)
		if tc.want == nil && (err != nil || v != "v") {
			t.Errorf("%s: %q, %v", name, v, err)
		}
		if tc.want != nil {
			wantErr(t, err, tc.want)
		}
	}
}

func TestKeyRing_SameIDWithAnotherKeyIsCorrupt(t *testing.T) {
	other, err := codec.NewKeyRing(1, map[byte][]byte{1: bytes.Repeat([]byte{99}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	frame := mustAppend(t, newFramer(t, codec.Config[string]{Keys: ring(t, 1, 1)}), "k", plainHeader(), "v")
	_, _, err = newFramer(t, codec.Config[string]{Keys: other}).Decode("k", frame)
	wantErr(t, err, codec.ErrCorrupt)
}

func TestKeyRing_PlainFramesAreRefusedUnlessAskedFor(t *testing.T) {
	plain := mustAppend(t, newFramer(t, codec.Config[string]{}), "k", plainHeader(), "planted")
	strict := newFramer(t, codec.Config[string]{Keys: ring(t, 1, 1)})
	_, _, err := strict.Decode("k", plain)
	wantErr(t, err, codec.ErrUnknownKey)

	moving := newFramer(t, codec.Config[string]{Keys: ring(t, 1, 1), ReadPlain: true})
	if _, v, err := moving.Decode("k", plain); err != nil || v != "planted" {
		t.Errorf("%q, %v", v, err)
	}
	if _, v, err := codec.Without(strict, "downgrade").Decode("k", plain); err != nil || v != "planted" {
		t.Errorf("without the guard: %q, %v", v, err)
	}
}

func TestKeyRing_PayloadIsHiddenAndNoncesDiffer(t *testing.T) {
	f := newFramer(t, codec.Config[string]{Keys: ring(t, 1, 1)})
	a := mustAppend(t, f, "k", plainHeader(), "top secret")
	b := mustAppend(t, f, "k", plainHeader(), "top secret")
	if bytes.Contains(a, []byte("secret")) || bytes.Equal(a, b) {
		t.Error("the payload shows")
	}
}

func TestKeyRing_EncryptedNegativeCannotBeForged(t *testing.T) {
	f := newFramer(t, codec.Config[string]{Keys: ring(t, 1, 1)})
	h, v, err := f.Decode("k", mustNegative(t, f, "k", plainHeader()))
	if err != nil || !h.Negative || v != "" {
		t.Errorf("%+v, %q, %v", h, v, err)
	}
	_, _, err = f.Decode("k", mustNegative(t, newFramer(t, codec.Config[string]{}), "k", plainHeader()))
	wantErr(t, err, codec.ErrUnknownKey)
}

func TestNewKeyRing_RefusesWhatCannotWork(t *testing.T) {
	key := bytes.Repeat([]byte{0xA5}, 32)
	for name, tc := range map[string]struct {
		current byte
		keys    map[byte][]byte
	}{
		"no keys":           {1, nil},
		"current not there": {2, map[byte][]byte{1: key}},
		"id 0":              {0, map[byte][]byte{0: key}},
		"short key":         {1, map[byte][]byte{1: key[:16]}},
	} {
		if r, err := codec.NewKeyRing(tc.current, tc.keys); err == nil {
			t.Errorf("%s: got %v", name, r)
		} else if strings.Contains(err.Error(), string(key[:16])) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
}

func TestKeyRing_PrintsNoKeys(t *testing.T) {
	r := ring(t, 1, 1, 2)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, r); got != "codec.KeyRing(writes with key 1 of 2)" {
			t.Errorf("%s prints %s", format, got)
		}
	}
}
