package codec_test

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/hearthcache/hearth/codec"
	"github.com/hearthcache/hearth/internal/wire"
)

func genHeader(t *rapid.T) codec.Header {
	ms := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(now-1e6, now+1e9), rapid.Int64())
	tag := rapid.Custom(func(t *rapid.T) codec.TagStamp {
		return codec.TagStamp{ID: rapid.Uint64().Draw(t, "id"), Barrier: rapid.Uint64().Draw(t, "barrier")}
	})
	return codec.Header{
		Version:    rapid.Uint64().Draw(t, "version"),
		Created:    ms.Draw(t, "created"),
		FreshUntil: ms.Draw(t, "fresh"),
		Expires:    ms.Draw(t, "expires"),
		Load:       time.Duration(rapid.Int64Range(0, math.MaxInt64/1000).Draw(t, "load")) * time.Microsecond,
		Op:         rapid.Uint64().Draw(t, "op"),
		Generation: rapid.Uint64().Draw(t, "generation"),
		Tags:       rapid.SliceOfNDistinct(tag, 0, 20, func(s codec.TagStamp) uint64 { return s.ID }).Draw(t, "tags"),
	}
}

func TestRoundTrip_AnyHeaderAndPayload(t *testing.T) {
	rings := []*codec.KeyRing{nil, ring(t, 3, 3)}
	rapid.Check(t, func(t *rapid.T) {
		f, err := codec.New(codec.Config[[]byte]{
			Compression:  codec.Compression(rapid.IntRange(0, 2).Draw(t, "compression")),
			CompressOver: rapid.IntRange(0, 100).Draw(t, "over"),
			Keys:         rapid.SampledFrom(rings).Draw(t, "keys"),
			Namespace:    rapid.String().Draw(t, "namespace"),
			Schema:       rapid.Uint32().Draw(t, "schema"),
		})
		if err != nil {
			t.Fatal(err)
		}
		key, h := rapid.String().Draw(t, "key"), genHeader(t)
		v := rapid.SliceOfN(rapid.ByteRange(0, 3), 0, 400).Draw(t, "value")
		prefix := rapid.SliceOf(rapid.Byte()).Draw(t, "prefix")
		h.Negative = rapid.Bool().Draw(t, "negative")

		var out []byte
		if h.Negative {
			v = nil
			out, err = f.AppendNegative(slices.Clone(prefix), key, h)
		} else {
			out, err = f.Append(slices.Clone(prefix), key, h, v)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(out[:len(prefix)], prefix) {
			t.Fatal("what dst held has changed")
		}
		frame := out[len(prefix):]
		gotH, gotV, err := f.Decode(key, frame)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(h.Tags, func(a, b codec.TagStamp) int { return cmpUint(a.ID, b.ID) })
		if d := cmp.Diff(h, gotH, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("header (-want +got):\n%s", d)
		}
		if !slices.Equal(v, gotV) {
			t.Fatalf("value %x became %x", v, gotV)
		}
		parsed, err := codec.ParseHeader(frame)
		if err != nil || !cmp.Equal(parsed, gotH) {
			t.Fatalf("ParseHeader: %+v, %v; Decode: %+v", parsed, err, gotH)
		}
		if got := wire.VersionOf(frame); got != h.Version {
			t.Fatalf("version at the agreed offset is %d, want %d", got, h.Version)
		}
	})
}

func cmpUint(a, b uint64) int {
	if a < b {
		return -1
	}
	return 1
}

func TestHeader_TagsAreSortedAndTheLowestBarrierCounts(t *testing.T) {
	f := newFramer(t, codec.Config[[]byte]{})
	given := []codec.TagStamp{{ID: 9, Barrier: 4}, {ID: 2, Barrier: 8}, {ID: 9, Barrier: 3}, {ID: 2, Barrier: 8}}
	before := slices.Clone(given)
	h, err := codec.ParseHeader(mustAppend(t, f, "k", codec.Header{Tags: given}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if want := []codec.TagStamp{{ID: 2, Barrier: 8}, {ID: 9, Barrier: 3}}; !slices.Equal(h.Tags, want) {
		t.Errorf("got %v, want %v", h.Tags, want)
	}
	if !slices.Equal(given, before) {
		t.Error("the caller's tags were reordered")
	}
}

func TestHeader_MoreThan255TagsAreRefused(t *testing.T) {
	f := newFramer(t, codec.Config[[]byte]{})
	tags := make([]codec.TagStamp, 256)
	for i := range tags {
		tags[i].ID = uint64(i)
	}
	dst := []byte("kept")
	got, err := f.Append(dst, "k", codec.Header{Tags: tags}, nil)
	if !errors.Is(err, codec.ErrTooManyTags) || string(got) != "kept" {
		t.Errorf("Append: %q, %v", got, err)
	}
	got, err = f.AppendNegative(dst, "k", codec.Header{Tags: tags})
	if !errors.Is(err, codec.ErrTooManyTags) || string(got) != "kept" {
		t.Errorf("AppendNegative: %q, %v", got, err)
	}
	tags[255].ID = 0 // now one is there twice
	h, err := codec.ParseHeader(mustNegative(t, f, "k", codec.Header{Tags: tags}))
	if err != nil || len(h.Tags) != 255 {
		t.Errorf("%d tags, %v", len(h.Tags), err)
	}
}

func TestHeader_LoadIsRoundedUpToMicroseconds(t *testing.T) {
	f := newFramer(t, codec.Config[[]byte]{})
	for in, want := range map[time.Duration]time.Duration{
		-1: 0, 0: 0, 1: time.Microsecond, 1001: 2 * time.Microsecond, time.Second: time.Second,
		math.MaxInt64: math.MaxInt64 / time.Microsecond * time.Microsecond,
	} {
		h, err := codec.ParseHeader(mustAppend(t, f, "k", codec.Header{Load: in}, nil))
		if err != nil || h.Load != want {
			t.Errorf("%d became %d, %v; want %d", in, h.Load, err, want)
		}
	}
}

func TestAppend_IgnoresNegativeInTheHeader(t *testing.T) {
	f := newFramer(t, codec.Config[[]byte]{})
	h, v, err := f.Decode("k", mustAppend(t, f, "k", codec.Header{Negative: true}, []byte("x")))
	if err != nil || h.Negative || string(v) != "x" {
		t.Errorf("%+v, %q, %v", h, v, err)
	}
}
