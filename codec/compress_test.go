package codec_test

import (
	"crypto/rand"
	"strings"
	"sync"
	"testing"

	"github.com/hearthcache/hearth/codec"
)

func TestCompression_OnlyWhereItShrinksAndOnlyOverTheThreshold(t *testing.T) {
	noise := make([]byte, 5000)
	_, _ = rand.Read(noise)
	for _, c := range []codec.Compression{codec.S2, codec.Zstd} {
		f := newFramer(t, codec.Config[[]byte]{Compression: c})
		for _, tc := range []struct {
			v    []byte
			want codec.Compression
		}{
			{noise, codec.None},
			{make([]byte, codec.DefaultCompressOver), codec.None},
			{make([]byte, codec.DefaultCompressOver+1), c},
		} {
			frame := mustAppend(t, f, "k", plainHeader(), tc.v)
			if got := codec.Compression(frame[13]); got != tc.want {
				t.Errorf("%v: %d bytes were written with %v, want %v", c, len(tc.v), got, tc.want)
			}
			if _, v, err := f.Decode("k", frame); err != nil || string(v) != string(tc.v) {
				t.Errorf("%v: came back otherwise: %v", c, err)
			}
		}
	}
}

func TestCompression_ChangingItKeepsOldFramesReadable(t *testing.T) {
	all := []codec.Compression{codec.None, codec.S2, codec.Zstd}
	v := strings.Repeat("value ", 1000)
	for _, from := range all {
		frame := mustAppend(t, newFramer(t, codec.Config[string]{Compression: from}), "k", plainHeader(), v)
		for _, to := range all {
			_, got, err := newFramer(t, codec.Config[string]{Compression: to}).Decode("k", frame)
			if err != nil || got != v {
				t.Errorf("%v to %v: %v", from, to, err)
			}
		}
	}
}

func TestCompression_UnknownOneIsNamedSo(t *testing.T) {
	f := newFramer(t, codec.Config[[]byte]{})
	_, _, err := f.Decode("key", stuffed(t, 3, []byte("x")))
	wantErr(t, err, codec.ErrUnknownCompression)
}

func TestFramer_IsSafeForConcurrentUse(t *testing.T) {
	for _, c := range []codec.Compression{codec.S2, codec.Zstd} {
		f := newFramer(t, codec.Config[string]{Compression: c, Keys: ring(t, 1, 1), Codec: codec.JSON[string]()})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				v := strings.Repeat(string(rune('a'+i)), 3000+i)
				for range 50 {
					frame, err := f.Append(nil, "k", fullHeader(), v)
					if err != nil {
						t.Error(err)
						return
					}
					if _, got, err := f.Decode("k", frame); err != nil || got != v {
						t.Errorf("came back otherwise: %v", err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}
