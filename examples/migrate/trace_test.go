package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pack is a trace of keys of width bits.
func pack(t *testing.T, keys []uint64, width int) []byte {
	t.Helper()
	var raw []byte
	for _, k := range keys {
		if width == 32 {
			raw = binary.BigEndian.AppendUint32(raw, uint32(k))
			continue
		}
		raw = binary.BigEndian.AppendUint64(raw, k)
	}
	return zip(t, raw)
}

func zip(t *testing.T, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func writeTrace(t *testing.T, keys []uint64, width int) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys.gz")
	if err := os.WriteFile(name, pack(t, keys, width), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestParseTrace_FindsOutTheWidth(t *testing.T) {
	small := zipf(1, 5000, 0.8, 20_000)
	large := make([]uint64, len(small))
	spread := make([]uint64, len(small))
	for i, k := range small {
		large[i] = mix(k)
		spread[i] = mix(k) >> 32
	}
	for _, c := range []struct {
		name  string
		keys  []uint64
		width int
	}{
		{"small numbers in 32 bits", small, 32},
		{"large numbers in 32 bits", spread, 32},
		{"an odd number of keys in 32 bits", spread[1:], 32},
		{"large numbers in 64 bits", large, 64},
		{"an odd number of keys in 64 bits", large[1:], 64},
	} {
		for _, told := range []int{0, c.width} {
			got, err := parseTrace(bytes.NewReader(pack(t, c.keys, c.width)), told, 1<<20)
			if err != nil || !slices.Equal(got, c.keys) {
				t.Errorf("%s, told %d: %d keys of %d, %v", c.name, told, len(got), len(c.keys), err)
			}
		}
	}
}

func TestParseTrace_StopsAtTheLimit(t *testing.T) {
	for _, width := range []int{32, 64} {
		got, err := parseTrace(bytes.NewReader(pack(t, []uint64{7, 8, 9, 10, 11, 12}, width)), width, 4)
		if err != nil || !slices.Equal(got, []uint64{7, 8, 9, 10}) {
			t.Errorf("%d bits: %v, %v", width, got, err)
		}
	}
}

func TestParseTrace_SaysWhatIsWrong(t *testing.T) {
	whole := pack(t, zipf(1, 100, 0.8, 1000), 32)
	for _, c := range []struct {
		name  string
		file  []byte
		width int
		says  string
	}{
		{"no gzip", []byte("keys"), 0, "gzip"},
		{"cut off", whole[:len(whole)/2], 0, "damaged"},
		{"empty", zip(t, nil), 0, "empty"},
		{"the wrong width", zip(t, make([]byte, 12)), 64, "-width"},
		{"no whole key", zip(t, make([]byte, 6)), 0, "-width"},
	} {
		_, err := parseTrace(bytes.NewReader(c.file), c.width, 1<<20)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want something about %q", c.name, err, c.says)
		}
	}
}
