package codec_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hearthcache/hearth/codec"
	"github.com/hearthcache/hearth/internal/wire"
)

// seeds are frames of all kinds, and things that are none.
func seeds(f *testing.F, framers ...*codec.Framer[[]byte]) [][]byte {
	out := [][]byte{nil, {0}, []byte("foreign"), wire.NewLease(), wire.NewTombstone(1), {0, 'F', 2}}
	for _, fr := range framers {
		out = append(out,
			mustAppend(f, fr, "key", codec.Header{}, nil),
			mustAppend(f, fr, "key", plainHeader(), []byte("hello")),
			mustAppend(f, fr, "key", fullHeader(), make([]byte, 100)),
			mustNegative(f, fr, "key", fullHeader()))
	}
	return out
}

// FuzzParseHeader: what is accepted is exactly what would be written.
func FuzzParseHeader(f *testing.F) {
	plain := newFramer(f, codec.Config[[]byte]{})
	for _, s := range seeds(f, plain) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, err := codec.ParseHeader(frame)
		if err != nil {
			if !errors.Is(err, codec.ErrUnreadable) || codec.Reason(err) == "" {
				t.Fatalf("error %v", err)
			}
			return
		}
		if h.Version != wire.VersionOf(frame) {
			t.Fatalf("version %d, but %d at the agreed offset", h.Version, wire.VersionOf(frame))
		}
		// The same header, made again: equal up to codec, compression, key and schema, which a
		// Header does not hold.
		again := mustNegative(t, plain, "key", h)
		if !h.Negative {
			again = mustAppend(t, plain, "key", h, nil)
		}
		h2, err := codec.ParseHeader(again)
		if err != nil || len(h2.Tags) != len(h.Tags) || h2.Created != h.Created || h2.FreshUntil != h.FreshUntil ||
			h2.Expires != h.Expires || h2.Load != h.Load || h2.Op != h.Op || h2.Generation != h.Generation {
			t.Fatalf("%+v became %+v, %v", h, h2, err)
		}
		const flagSchema = 0x40
		if frame[3]&flagSchema == 0 && !bytes.Equal(again[15:len(again)-12], frame[15:15+len(again)-12-15]) {
			t.Fatalf("two forms of one header:\n%x\n%x", frame, again)
		}
	})
}

// FuzzDecode lets every framer read anything. The checksum of a plain frame is set right first,
// or the fuzzer would never come past it.
func FuzzDecode(f *testing.F) {
	const limit = 1 << 16
	cfg := codec.Config[[]byte]{MaxDecodedBytes: limit}
	plain := newFramer(f, cfg)
	cfg.Compression, cfg.CompressOver = codec.S2, 10
	snappy := newFramer(f, cfg)
	cfg.Compression = codec.Zstd
	zstandard := newFramer(f, cfg)
	sealed := newFramer(f, codec.Config[[]byte]{MaxDecodedBytes: limit, Keys: ring(f, 1, 1)})
	asJSON := newFramer(f, codec.Config[map[string]any]{MaxDecodedBytes: limit})
	asCBOR := newFramer(f, codec.Config[map[string]any]{MaxDecodedBytes: limit, Codec: codec.CBOR[map[string]any]()})
	for _, s := range seeds(f, plain, snappy, zstandard, sealed) {
		f.Add(s)
	}
	v := map[string]any{"a": []any{1.5, "b", nil, true}}
	f.Add(mustAppend(f, asJSON, "key", plainHeader(), v))
	f.Add(mustAppend(f, asCBOR, "key", plainHeader(), v))

	f.Fuzz(func(t *testing.T, frame []byte) {
		given := bytes.Clone(frame)
		if len(frame) > 15 && frame[0] == 0 && frame[14] == 0 {
			frame = codec.Reseal(plain, "key", bytes.Clone(frame))
		}
		_, _, errJSON := asJSON.Decode("key", frame)
		_, _, errCBOR := asCBOR.Decode("key", frame)
		_, _, errSealed := sealed.Decode("key", given)
		for _, err := range []error{errJSON, errCBOR, errSealed} {
			if err != nil && codec.Reason(err) == "" {
				t.Fatalf("error %v has no reason", err)
			}
		}
		h, got, err := plain.Decode("key", frame)
		if err != nil {
			if codec.Reason(err) == "" {
				t.Fatalf("error %v has no reason", err)
			}
			return
		}
		if len(got) > limit {
			t.Fatalf("%d bytes, the limit is %d", len(got), limit)
		}
		if codec.Compression(frame[13]) != codec.None {
			return
		}
		again := mustNegative(t, plain, "key", h)
		if !h.Negative {
			again = mustAppend(t, plain, "key", h, got)
		}
		if !bytes.Equal(again, frame) {
			t.Fatalf("two forms of one frame:\n%x\n%x", frame, again)
		}
	})
}
