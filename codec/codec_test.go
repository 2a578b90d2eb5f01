package codec_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/hearthcache/hearth/codec"
)

// now is a fixed creation time: 2026-01-02 03:04:05 UTC.
const now int64 = 1767323045000

type order struct {
	ID    int       `json:"id"`
	Buyer string    `json:"buyer"`
	Lines []line    `json:"lines"`
	At    time.Time `json:"at"`
}

type line struct {
	SKU   string  `json:"sku"`
	Count int     `json:"count"`
	Price float64 `json:"price"`
}

func sampleOrder() order {
	return order{ID: 7, Buyer: "Ada <ada@example.org>", At: time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC),
		Lines: []line{{SKU: "kettle", Count: 1, Price: 24.5}, {SKU: "tea", Count: 12, Price: 0.25}}}
}

func fullHeader() codec.Header {
	return codec.Header{
		Version: 42, Created: now, FreshUntil: now + 60_000, Expires: now + 300_000,
		Load: 1500 * time.Microsecond, Op: 0x0123456789abcdef, Generation: 3,
		Tags: []codec.TagStamp{{ID: 1, Barrier: 0}, {ID: 1 << 60, Barrier: 9}},
	}
}

func plainHeader() codec.Header {
	return codec.Header{Created: now, FreshUntil: now + 60_000, Expires: now + 300_000, Load: 1500 * time.Microsecond, Generation: 1}
}

func newFramer[V any](t testing.TB, cfg codec.Config[V]) *codec.Framer[V] {
	t.Helper()
	f, err := codec.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustAppend[V any](t testing.TB, f *codec.Framer[V], key string, h codec.Header, v V) []byte {
	t.Helper()
	frame, err := f.Append(nil, key, h, v)
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

func mustNegative[V any](t testing.TB, f *codec.Framer[V], key string, h codec.Header) []byte {
	t.Helper()
	frame, err := f.AppendNegative(nil, key, h)
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func ring(t testing.TB, current byte, ids ...byte) *codec.KeyRing {
	t.Helper()
	keys := map[byte][]byte{}
	for _, id := range ids {
		keys[id] = bytes.Repeat([]byte{id}, 32)
	}
	r, err := codec.NewKeyRing(current, keys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
