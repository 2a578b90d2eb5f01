package codec_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hearthcache/hearth/codec"
)

func roundTrip[V any](t *testing.T, c codec.Codec[V], v V) V {
	t.Helper()
	f := newFramer(t, codec.Config[V]{Codec: c})
	h, got, err := f.Decode("k", mustAppend(t, f, "k", plainHeader(), v))
	if err != nil {
		t.Fatal(err)
	}
	if h.Negative {
		t.Fatal("a value became negative")
	}
	return got
}

func TestCodecs_NilAndEmptyValuesAreValues(t *testing.T) {
	if got := roundTrip(t, codec.JSON[*order](), nil); got != nil {
		t.Errorf("got %v", got)
	}
	if got := roundTrip(t, codec.CBOR[*order](), nil); got != nil {
		t.Errorf("got %v", got)
	}
	if got := roundTrip(t, codec.JSON[error](), nil); got != nil {
		t.Errorf("got %v", got)
	}
	if got := roundTrip(t, codec.JSON[struct{}](), struct{}{}); got != struct{}{} {
		t.Errorf("got %v", got)
	}
	if got := roundTrip(t, codec.Bytes(), nil); got == nil || len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if got := roundTrip(t, codec.String(), ""); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestCodecs_StructsComeBackWhole(t *testing.T) {
	for _, c := range []codec.Codec[order]{codec.JSON[order](), codec.CBOR[order]()} {
		if d := cmp.Diff(sampleOrder(), roundTrip(t, c, sampleOrder())); d != "" {
			t.Errorf("%T (-want +got):\n%s", c, d)
		}
	}
}

// byPointer marshals by pointer only, which plain json.Marshal(v) would not find.
type byPointer struct{ secret string }

func (b *byPointer) MarshalJSON() ([]byte, error) { return []byte(`"` + b.secret + `"`), nil }
func (b *byPointer) UnmarshalJSON(p []byte) error {
	b.secret = strings.Trim(string(p), `"`)
	return nil
}

func TestJSON_FindsMethodsOfThePointer(t *testing.T) {
	if got := roundTrip(t, codec.JSON[byPointer](), byPointer{"s"}); got.secret != "s" {
		t.Errorf("got %+v", got)
	}
}

func TestJSON_KeepsHTMLAsItIsAndAddsNoNewline(t *testing.T) {
	got, err := codec.JSON[string]().Append([]byte("> "), "<a&b>")
	if err != nil || string(got) != `> "<a&b>"` {
		t.Errorf("%q, %v", got, err)
	}
}

func TestJSON_IsUsableAfterAnError(t *testing.T) {
	c := codec.JSON[float64]()
	for range 3 {
		if _, err := c.Append(nil, math.NaN()); err == nil {
			t.Fatal("NaN was encoded")
		}
		if got, err := c.Append(nil, 1.5); err != nil || string(got) != "1.5" {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

func TestCBOR_ReadsBackEverythingItWrites(t *testing.T) {
	type odd struct {
		Raw   string
		Many  []int
		Any   any
		When  time.Time
		Text  textOnly
		Float float64
	}
	v := odd{Raw: "\xff\xfe", Many: make([]int, 200_000), Any: map[string]any{"a": []any{"b", uint64(1)}},
		When: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Text: textOnly{3}, Float: math.Inf(1)}
	if d := cmp.Diff(v, roundTrip(t, codec.CBOR[odd](), v), cmp.AllowUnexported(textOnly{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestCBOR_RefusesWhatOnlyAnAttackerWrites(t *testing.T) {
	c := codec.CBOR[map[string]any]()
	for name, p := range map[string][]byte{
		"indefinite length": {0xbf, 0x61, 'a', 0x01, 0xff},
		"key twice":         {0xa2, 0x61, 'a', 0x01, 0x61, 'a', 0x02},
		"too deep":          append(append([]byte{0xa1, 0x61, 'a'}, []byte(strings.Repeat("\x81", 100))...), 0),
		"too many":          {0xa1, 0x61, 'a', 0x9a, 0x7f, 0xff, 0xff, 0xff},
		"trailing bytes":    {0xa0, 0x00},
	} {
		if v, err := c.Decode(p); err == nil {
			t.Errorf("%s: got %v", name, v)
		}
	}
}

func TestCBOR_EqualMapsGiveEqualBytes(t *testing.T) {
	c := codec.CBOR[map[string]int]()
	a, _ := c.Append(nil, map[string]int{"a": 1, "b": 2, "c": 3, "dd": 4})
	for range 20 {
		if b, err := c.Append(nil, map[string]int{"dd": 4, "c": 3, "b": 2, "a": 1}); err != nil || string(a) != string(b) {
			t.Fatalf("%x and %x, %v", a, b, err)
		}
	}
}

func TestBytes_ResultSharesTheFrameButCannotGrowIntoIt(t *testing.T) {
	f := newFramer(t, codec.Config[[]byte]{})
	frame := mustAppend(t, f, "k", plainHeader(), []byte("value"))
	_, v, err := f.Decode("k", frame)
	if err != nil || cap(v) != len(v) || &v[0] != &frame[len(frame)-13] {
		t.Fatalf("%q with capacity %d, %v", v, cap(v), err)
	}
}

// troubled is a codec that does what it is told.
func troubled(encode, decode func() ([]byte, error)) codec.Codec[int] {
	return codec.Func(128,
		func(dst []byte, _ int) ([]byte, error) {
			p, err := encode()
			return append(dst, p...), err
		},
		func([]byte) (int, error) { _, err := decode(); return 99, err })
}

func TestFramer_TurnsTheCodecsTroubleIntoErrors(t *testing.T) {
	cause := errors.New("cause")
	fine := func() ([]byte, error) { return nil, nil }
	fails := func() ([]byte, error) { return nil, cause }
	panics := func() ([]byte, error) { panic("boom") }
	frame := mustAppend(t, newFramer(t, codec.Config[int]{Codec: troubled(fine, fine)}), "k", plainHeader(), 1)

	for _, trouble := range []func() ([]byte, error){fails, panics} {
		f := newFramer(t, codec.Config[int]{Codec: troubled(trouble, trouble)})
		got, err := f.Append([]byte("kept"), "k", plainHeader(), 1)
		wantErr(t, err, codec.ErrEncode)
		if string(got) != "kept" {
			t.Errorf("Append left %q", got)
		}
		h, v, err := f.Decode("k", frame)
		wantErr(t, err, codec.ErrDecode)
		if v != 0 || h.Created != 0 {
			t.Errorf("Decode left %+v, %d", h, v)
		}
	}
	_, _, err := newFramer(t, codec.Config[int]{Codec: troubled(fails, fails)}).Decode("k", frame)
	wantErr(t, err, cause)

	defer func() {
		if recover() == nil {
			t.Error("without the guard the panic should have come through")
		}
	}()
	_, _, _ = codec.Without(newFramer(t, codec.Config[int]{Codec: troubled(panics, panics)}), "recovery").Decode("k", frame)
}

func TestFramer_RefusesACodecThatDoesNotAppend(t *testing.T) {
	fresh := codec.Func(128,
		func([]byte, int) ([]byte, error) {
			return []byte("something that stands alone and is rather long"), nil
		},
		func([]byte) (int, error) { return 0, nil })
	_, err := newFramer(t, codec.Config[int]{Codec: fresh}).Append(nil, "k", plainHeader(), 1)
	wantErr(t, err, codec.ErrEncode)
}
