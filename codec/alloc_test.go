package codec_test

import (
	"strings"
	"testing"

	"github.com/hearthcache/hearth/codec"
)

func TestAllocations_BytesCostNone(t *testing.T) {
	value := []byte(strings.Repeat("value ", 500))
	if raceEnabled {
		return
	}
	for name, tc := range map[string]struct {
		cfg            codec.Config[[]byte]
		h              codec.Header
		append, decode float64
	}{
		"plain":     {codec.Config[[]byte]{}, plainHeader(), 0, 0},
		"tags":      {codec.Config[[]byte]{}, fullHeader(), 0, 1},                       // the tags
		"s2":        {codec.Config[[]byte]{Compression: codec.S2}, plainHeader(), 0, 1}, // the decompressed payload
		"zstd":      {codec.Config[[]byte]{Compression: codec.Zstd}, plainHeader(), 0, 1},
		"encrypted": {codec.Config[[]byte]{Keys: ring(t, 1, 1)}, plainHeader(), 0, 1}, // the decrypted payload
	} {
		t.Run(name, func(t *testing.T) {
			f := newFramer(t, tc.cfg)
			buf := make([]byte, 0, 2*len(value))
			frame := mustAppend(t, f, "key", tc.h, value)
			if n := testing.AllocsPerRun(200, func() { _, _ = f.Append(buf, "key", tc.h, value) }); n > tc.append {
				t.Errorf("Append allocates %v times, want %v", n, tc.append)
			}
			if n := testing.AllocsPerRun(200, func() { _, _, _ = f.Decode("key", frame) }); n > tc.decode {
				t.Errorf("Decode allocates %v times, want %v", n, tc.decode)
			}
			if n := testing.AllocsPerRun(200, func() { _, _ = f.AppendNegative(buf, "key", tc.h) }); n > 0 {
				t.Errorf("AppendNegative allocates %v times", n)
			}
		})
	}
}

// Of a value in JSON only what it consists of is allocated: here two strings.
func TestAllocations_JSONCostsWhatTheValueIsMadeOf(t *testing.T) {
	type user struct {
		ID          int
		Name, Email string
	}
	if raceEnabled {
		return
	}
	f := newFramer(t, codec.Config[user]{})
	frame := mustAppend(t, f, "key", plainHeader(), user{ID: 7, Name: "Ada Lovelace", Email: "ada@example.org"})
	var u user
	n := testing.AllocsPerRun(200, func() {
		u = user{}
		if _, err := f.DecodeInto("key", frame, &u); err != nil {
			t.Fatal(err)
		}
	})
	if n > 2 {
		t.Errorf("DecodeInto allocates %v times, want 2", n)
	}
	if n := testing.AllocsPerRun(200, func() { _, u, _ = f.Decode("key", frame) }); n > 3 {
		t.Errorf("Decode allocates %v times, want 3: the strings, and the value", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	bench(b, func(f *codec.Framer[[]byte], buf, v, _ []byte) { _, _ = f.Append(buf, "key", plainHeader(), v) })
}
func BenchmarkDecode(b *testing.B) {
	bench(b, func(f *codec.Framer[[]byte], _, _, frame []byte) { _, _, _ = f.Decode("key", frame) })
}

func bench(b *testing.B, op func(f *codec.Framer[[]byte], buf, v, frame []byte)) {
	for name, cfg := range map[string]codec.Config[[]byte]{"plain": {}, "encrypted": {Keys: ring(b, 1, 1)}} {
		b.Run(name, func(b *testing.B) {
			f := newFramer(b, cfg)
			v, buf := make([]byte, 100), make([]byte, 0, 300)
			frame := mustAppend(b, f, "key", plainHeader(), v)
			b.ReportAllocs()
			for b.Loop() {
				op(f, buf, v, frame)
			}
		})
	}
}
