package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/codec"
)

// stuffed returns an intact frame that claims to hold payload as compressed by c. It is written
// by a codec that appends payload as it is, and then resealed with the compression's id.
func stuffed(t *testing.T, c codec.Compression, payload []byte) []byte {
	t.Helper()
	f := newFramer(t, codec.Config[[]byte]{MaxDecodedBytes: 1 << 30})
	frame := mustAppend(t, f, "key", codec.Header{}, payload)
	frame[13] = byte(c)
	return codec.Reseal(f, "key", frame)
}

func zstdOf(t *testing.T, p []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil, append(opts, zstd.WithEncoderConcurrency(1))...)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	return e.EncodeAll(p, nil)
}

// allocated returns how many bytes fn allocated.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestDecode_BombsAreRefusedBeforeTheyAllocate(t *testing.T) {
	const size = 64 << 20
	zeros := make([]byte, size)
	f := newFramer(t, codec.Config[[]byte]{MaxDecodedBytes: 1 << 20})
	_, _, _ = f.Decode("key", stuffed(t, codec.Zstd, zstdOf(t, []byte("warm up"))))
	for name, frame := range map[string][]byte{
		"s2":           stuffed(t, codec.S2, s2.Encode(nil, zeros)),
		"zstd":         stuffed(t, codec.Zstd, zstdOf(t, zeros)),
		"s2 that lies": stuffed(t, codec.S2, binary.AppendUvarint(nil, 1<<31)),
	} {
		if len(frame) > 1<<20 {
			t.Fatalf("%s: %d bytes are no bomb", name, len(frame))
		}
		var err error
		n := allocated(func() { _, _, err = f.Decode("key", frame) })
		if !errors.Is(err, codec.ErrTooLarge) {
			t.Errorf("%s: error %v", name, err)
		}
		if n > 1<<20 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}

	// Without the bound the same frame fills the memory.
	loose := codec.Without(f, "bound")
	n := allocated(func() { _, _, _ = loose.Decode("key", stuffed(t, codec.S2, s2.Encode(nil, zeros))) })
	if n < size {
		t.Errorf("without the bound only %d bytes were allocated: this test sees nothing", n)
	}
}

func TestDecode_ZstdThatLiesAboutItsSizeIsCorrupt(t *testing.T) {
	f := newFramer(t, codec.Config[[]byte]{MaxDecodedBytes: 1 << 20})
	honest := zstdOf(t, bytes.Repeat([]byte{7}, 4096))
	twice := append(bytes.Clone(honest), honest...)
	var stream bytes.Buffer
	e, err := zstd.NewWriter(&stream, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		_, _ = e.Write(bytes.Repeat([]byte{1}, 100))
		_ = e.Flush()
	}
	_ = e.Close()
	for name, p := range map[string][]byte{
		"two frames":      twice,
		"no content size": stream.Bytes(),
		"nothing":         {},
		"noise":           []byte("no zstd at all"),
	} {
		n := allocated(func() { _, _, err = f.Decode("key", stuffed(t, codec.Zstd, p)) })
		if !errors.Is(err, codec.ErrCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
		if n > 1<<20 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
	_, _, err = f.Decode("key", stuffed(t, codec.S2, []byte{4, 1, 2}))
	wantErr(t, err, codec.ErrCorrupt)
}

func TestAppend_RefusesWhatCouldNeverBeRead(t *testing.T) {
	f := newFramer(t, codec.Config[[]byte]{MaxDecodedBytes: 1000, Compression: codec.S2, CompressOver: 10})
	if _, err := f.Append(nil, "key", codec.Header{}, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	got, err := f.Append([]byte("kept"), "key", codec.Header{}, make([]byte, 1001))
	if !errors.Is(err, backends.ErrTooLarge) || errors.Is(err, codec.ErrUnreadable) || string(got) != "kept" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestDecode_UncompressedAndEncryptedPayloadsOverTheLimitAreRefused(t *testing.T) {
	for _, keys := range []*codec.KeyRing{nil, ring(t, 1, 1)} {
		big := newFramer(t, codec.Config[[]byte]{Keys: keys})
		small := newFramer(t, codec.Config[[]byte]{Keys: keys, MaxDecodedBytes: 100})
		_, _, err := small.Decode("key", mustAppend(t, big, "key", codec.Header{}, make([]byte, 101)))
		wantErr(t, err, codec.ErrTooLarge)
		if _, _, err := small.Decode("key", mustAppend(t, big, "key", codec.Header{}, make([]byte, 100))); err != nil {
			t.Fatal(err)
		}
	}
}
