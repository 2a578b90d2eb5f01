package codec_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hearthcache/hearth/codec"
)

var update = flag.Bool("update", false, "write the golden frames; a change is a change of the wire format")

// golden is one frame in testdata. Frames of a fixed form must be written again bit by bit;
// encrypted ones (random nonces) and compressed ones (the compressor may improve) need only stay
// readable.
type golden struct {
	name  string
	fixed bool
	write func(t *testing.T) []byte
	read  func(t *testing.T, frame []byte)
}

func goldenOf[V any](name string, fixed bool, cfg codec.Config[V], h codec.Header, v V) golden {
	cfg.Namespace = "shop"
	return golden{
		name: name, fixed: fixed,
		write: func(t *testing.T) []byte {
			if h.Negative {
				return mustNegative(t, newFramer(t, cfg), "order:7", h)
			}
			return mustAppend(t, newFramer(t, cfg), "order:7", h, v)
		},
		read: func(t *testing.T, frame []byte) {
			gotH, gotV, err := newFramer(t, cfg).Decode("order:7", frame)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(h, gotH); d != "" {
				t.Errorf("header (-want +got):\n%s", d)
			}
			if d := cmp.Diff(v, gotV); d != "" {
				t.Errorf("value (-want +got):\n%s", d)
			}
		},
	}
}

func goldens(t *testing.T) []golden {
	long := strings.Repeat("the same again and again; ", 80)
	keys := ring(t, 2, 1, 2)
	reverse := codec.Func(200,
		func(dst []byte, v string) ([]byte, error) {
			for i := len(v) - 1; i >= 0; i-- {
				dst = append(dst, v[i])
			}
			return dst, nil
		},
		func(p []byte) (string, error) {
			var b []byte
			for i := len(p) - 1; i >= 0; i-- {
				b = append(b, p[i])
			}
			return string(b), nil
		})
	raw := codec.Config[[]byte]{}
	one := func(name string, h codec.Header) golden {
		h.Created = now
		return goldenOf(name, true, raw, h, []byte("v"))
	}
	return []golden{
		goldenOf("zero_header", true, raw, codec.Header{}, []byte{}),
		goldenOf("plain", true, raw, plainHeader(), []byte("hello")),
		goldenOf("all_fields", true, codec.Config[[]byte]{Schema: 300}, fullHeader(), []byte("hello")),
		one("version", codec.Header{Version: 1<<63 + 1}),
		one("fresh_until", codec.Header{FreshUntil: now + 1000}),
		one("expires", codec.Header{Expires: now - 1000}),
		one("load", codec.Header{Load: 1_000_000_000}),
		one("op", codec.Header{Op: 1}),
		one("generation", codec.Header{Generation: 1 << 40}),
		one("tags", codec.Header{Tags: []codec.TagStamp{{ID: 5, Barrier: 1000}}}),
		goldenOf("schema", true, codec.Config[[]byte]{Schema: 1}, codec.Header{Created: now}, []byte("v")),
		goldenOf("negative", true, raw, codec.Header{Created: now, Negative: true}, nil),
		goldenOf("negative_encrypted", false, codec.Config[[]byte]{Keys: keys}, codec.Header{Created: now, Negative: true}, nil),
		goldenOf("string", true, codec.Config[string]{}, plainHeader(), "hello"),
		goldenOf("json", true, codec.Config[order]{}, plainHeader(), sampleOrder()),
		goldenOf("cbor", true, codec.Config[order]{Codec: codec.CBOR[order]()}, plainHeader(), sampleOrder()),
		goldenOf("func", true, codec.Config[string]{Codec: reverse}, plainHeader(), "hello"),
		goldenOf("s2", false, codec.Config[string]{Compression: codec.S2}, plainHeader(), long),
		goldenOf("zstd", false, codec.Config[string]{Compression: codec.Zstd}, plainHeader(), long),
		goldenOf("encrypted", false, codec.Config[string]{Keys: keys}, plainHeader(), "hello"),
		goldenOf("zstd_encrypted", false, codec.Config[string]{Compression: codec.Zstd, Keys: keys}, plainHeader(), long),
	}
}

func TestGolden_WireFormatStaysAsItIs(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			path := filepath.Join("testdata", g.name+".hex")
			written := g.write(t)
			if *update {
				if err := os.WriteFile(path, []byte(wrap(hex.EncodeToString(written))), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			frame, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
			if err != nil {
				t.Fatal(err)
			}
			g.read(t, frame)
			g.read(t, written)
			if g.fixed && !bytes.Equal(frame, written) {
				t.Errorf("the wire format changed:\n was %x\n now %x", frame, written)
			}
		})
	}
}

// wrap breaks s into lines.
func wrap(s string) string {
	var b strings.Builder
	for len(s) > 80 {
		b.WriteString(s[:80] + "\n")
		s = s[80:]
	}
	return b.String() + s + "\n"
}

func TestFrame_PlainValueHasLessThan48BytesAround(t *testing.T) {
	frame := mustAppend(t, newFramer(t, codec.Config[[]byte]{}), "k", plainHeader(), make([]byte, 100))
	if n := len(frame) - 100; n >= 48 {
		t.Errorf("%d bytes around a plain value", n)
	}
}
