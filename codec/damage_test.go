package codec_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hearthcache/hearth/codec"
	"github.com/hearthcache/hearth/internal/wire"
)

// shapes are frames of every kind, with the framer that reads them.
func shapes(t *testing.T) map[string]struct {
	f     *codec.Framer[[]byte]
	frame []byte
} {
	out := map[string]struct {
		f     *codec.Framer[[]byte]
		frame []byte
	}{}
	value := []byte(strings.Repeat("all work and no play ", 20))
	for name, cfg := range map[string]codec.Config[[]byte]{
		"plain":          {},
		"schema":         {Schema: 9},
		"s2":             {Compression: codec.S2, CompressOver: 10},
		"zstd":           {Compression: codec.Zstd, CompressOver: 10},
		"encrypted":      {Keys: ring(t, 1, 1)},
		"s2 + encrypted": {Keys: ring(t, 1, 1), Compression: codec.S2, CompressOver: 10},
	} {
		f := newFramer(t, cfg)
		out[name] = struct {
			f     *codec.Framer[[]byte]
			frame []byte
		}{f, mustAppend(t, f, "key", fullHeader(), value)}
		out[name+", negative"] = struct {
			f     *codec.Framer[[]byte]
			frame []byte
		}{f, mustNegative(t, f, "key", fullHeader())}
	}
	return out
}

func TestDecode_EverySingleBitFlipIsAnError(t *testing.T) {
	for name, s := range shapes(t) {
		for i := range s.frame {
			for bit := range 8 {
				bad := bytes.Clone(s.frame)
				bad[i] ^= 1 << bit
				if _, _, err := s.f.Decode("key", bad); !errors.Is(err, codec.ErrUnreadable) {
					t.Fatalf("%s: bit %d of byte %d flipped: error %v", name, bit, i, err)
				}
			}
		}
	}
}

func TestDecode_BitFlipsPassWithoutTheChecksum(t *testing.T) {
	f := newFramer(t, codec.Config[[]byte]{})
	frame := mustAppend(t, f, "key", plainHeader(), []byte("hello"))
	bad := bytes.Clone(frame)
	bad[len(bad)-9] ^= 1 // the last byte of the payload
	if _, v, err := codec.Without(f, "checksum").Decode("key", bad); err != nil || string(v) != "helln" {
		t.Fatalf("got %q, %v", v, err)
	}
	_, _, err := f.Decode("key", bad)
	wantErr(t, err, codec.ErrCorrupt)
}

func TestDecode_TruncationAtEveryLengthIsAnError(t *testing.T) {
	for name, s := range shapes(t) {
		for n := range s.frame {
			if _, _, err := s.f.Decode("key", s.frame[:n:n]); !errors.Is(err, codec.ErrUnreadable) {
				t.Fatalf("%s cut to %d of %d: error %v", name, n, len(s.frame), err)
			}
			if _, err := codec.ParseHeader(s.frame[:n:n]); !errors.Is(err, codec.ErrUnreadable) {
				t.Fatalf("%s: header, cut to %d of %d: error %v", name, n, len(s.frame), err)
			}
		}
		if _, _, err := s.f.Decode("key", append(bytes.Clone(s.frame), 0)); !errors.Is(err, codec.ErrCorrupt) {
			t.Fatalf("%s with a byte behind: error %v", name, err)
		}
	}
}

func TestDecode_FrameOfAnotherKeyOrNamespaceIsCorrupt(t *testing.T) {
	for _, keys := range []*codec.KeyRing{nil, ring(t, 1, 1)} {
		at := func(ns string) *codec.Framer[[]byte] {
			return newFramer(t, codec.Config[[]byte]{Namespace: ns, Keys: keys})
		}
		frame := mustAppend(t, at("a:b"), "c", plainHeader(), []byte("x"))
		for _, other := range []struct{ ns, key string }{{"a:b", "d"}, {"a", "b:c"}, {"a:", "bc"}, {"a:bc", ""}, {"", "a:bc"}, {"x", "c"}} {
			_, _, err := at(other.ns).Decode(other.key, frame)
			wantErr(t, err, codec.ErrCorrupt)
		}
		if _, _, err := at("a:b").Decode("c", frame); err != nil {
			t.Fatal(err)
		}

		// Without the binding, a mix-up gives somebody else's value.
		loose := codec.Without(at("a:b"), "binding")
		frame = mustAppend(t, loose, "c", plainHeader(), []byte("x"))
		if _, v, err := loose.Decode("d", frame); err != nil || string(v) != "x" {
			t.Fatalf("got %q, %v", v, err)
		}
	}
}

func TestDecode_ForeignValuesAreForeign(t *testing.T) {
	f := newFramer(t, codec.Config[[]byte]{})
	for _, v := range [][]byte{nil, {}, {0}, {0, 0}, []byte(`{"a":1}`), []byte("12"), {0, 'X', 1, 0}, wire.NewLease(), wire.NewTombstone(7)} {
		_, _, err := f.Decode("key", v)
		wantErr(t, err, codec.ErrForeign)
		_, err = codec.ParseHeader(v)
		wantErr(t, err, codec.ErrForeign)
	}
}

func TestDecode_NewerFormatIsSkippedWhateverFollows(t *testing.T) {
	f := newFramer(t, codec.Config[[]byte]{})
	for _, v := range [][]byte{{0, 'F', 2}, append([]byte{0, 'F', 2}, make([]byte, 100)...), {0, 'F', 255, 255, 255}} {
		_, _, err := f.Decode("key", v)
		wantErr(t, err, codec.ErrNewer)
	}
	_, _, err := f.Decode("key", append([]byte{0, 'F', 0}, make([]byte, 100)...))
	wantErr(t, err, codec.ErrCorrupt)
}

func TestParseHeader_RefusesEveryFormButTheCanonicalOne(t *testing.T) {
	f := newFramer(t, codec.Config[[]byte]{})
	frame := func(h codec.Header) []byte { return mustAppend(t, f, "key", h, nil) }
	const fields = 15
	insert := func(b []byte, at int, p ...byte) []byte { return slices.Insert(bytes.Clone(b), at, p...) }
	set := func(b []byte, at int, v byte) []byte { b = bytes.Clone(b); b[at] = v; return b }

	zero := frame(codec.Header{})
	if _, err := codec.ParseHeader(zero); err != nil {
		t.Fatal(err)
	}
	tagged := frame(codec.Header{Tags: []codec.TagStamp{{ID: 1}, {ID: 2}}})
	for name, bad := range map[string][]byte{
		"created in two bytes":        insert(set(zero, fields, 0x80), fields+1, 0),
		"created over 64 bits":        insert(zero, fields, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1),
		"fresh until that is zero":    insert(set(zero, 3, 1), fields+1, 0),
		"expires that is zero":        insert(set(zero, 3, 2), fields+1, 0),
		"load that is zero":           insert(set(zero, 3, 4), fields+1, 0),
		"load over a Duration":        insert(set(zero, 3, 4), fields+1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1),
		"operation that is zero":      insert(set(zero, 3, 8), fields+1, 0, 0, 0, 0, 0, 0, 0, 0),
		"generation that is zero":     insert(set(zero, 3, 16), fields+1, 0),
		"no tags":                     insert(set(zero, 3, 32), fields+1, 0),
		"schema that is zero":         insert(set(zero, 3, 64), fields+1, 0),
		"schema over 32 bits":         insert(set(zero, 3, 64), fields+1, 0x80, 0x80, 0x80, 0x80, 0x10),
		"negative with a codec":       set(zero, 3, 128),
		"no codec, yet not negative":  set(zero, 12, 0),
		"tag twice":                   set(tagged, fields+1+1+9+7, 1),
		"tags in the wrong order":     set(tagged, fields+1+1+9+7, 0),
		"more tags than bytes":        set(tagged, fields+1, 255),
		"length that is one too much": set(zero, fields+4, 1),
	} {
		if _, err := codec.ParseHeader(bad); !errors.Is(err, codec.ErrCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestReason_NamesEveryKind(t *testing.T) {
	for err, want := range map[error]string{
		codec.ErrForeign: "foreign", codec.ErrCorrupt: "corrupt", codec.ErrNewer: "newer",
		codec.ErrUnknownCodec: "unknown_codec", codec.ErrUnknownCompression: "unknown_compression",
		codec.ErrUnknownKey: "unknown_key", codec.ErrTooLarge: "too_large", codec.ErrSchema: "schema",
		codec.ErrDecode: "decode", errors.New("else"): "", codec.ErrEncode: "", nil: "",
	} {
		if got := codec.Reason(err); got != want {
			t.Errorf("Reason(%v) = %q, want %q", err, got, want)
		}
		if want != "" {
			wantErr(t, err, codec.ErrUnreadable)
		}
	}
}
