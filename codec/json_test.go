package codec_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hearthcache/hearth/codec"
)

// note is of types that JSON reads in ways of their own.
type note struct {
	ID    uint64          `json:"id"`
	Text  string          `json:"text"`
	At    time.Time       `json:"at"`
	Sum   *big.Int        `json:"sum"`
	Raw   json.RawMessage `json:"raw"`
	Any   any             `json:"any"`
	Kids  []*note         `json:"kids"`
	Named map[string]int  `json:"named"`
	Bytes []byte          `json:"bytes"`
}

// readings are texts that are one value, and texts that are not quite.
var readings = []string{
	``, ` `, `null`, `true`, `7`, `-7.5e3`, `"a"`, `"a`, `[]`, `{}`, `{`, `}`, `[1,2`, `7 8`, `7,`, `{}}`, `{}]`, `{} x`, `[]]`, `"a""b"`,
	" {\"id\":1}\n ", `{"id":1}{"id":2}`, `{"id":"one"}`, `{"id":-1}`, `{"id":1,"id":2}`, `{"unknown":[{"deep":null}],"id":3}`,
	`{"text":"\u00e4\ud83d\ude00\ud83d"}`, "{\"text\":\"\xff\"}", "{\"text\":\"a\nb\"}", `{"at":"2020-02-29T12:00:00.5Z"}`, `{"at":"yesterday"}`,
	`{"sum":123456789012345678901234567890}`, `{"raw":{"a":[1, 2]},"any":{"b":[null,1.5,"c"]},"kids":[{"id":4},null],"named":{"n":5},"bytes":"AAEC"}`,
	`{"bytes":"?"}`, strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001), `{"text":"` + strings.Repeat("long ", 10_000) + `"}`,
}

// What JSON decodes, and what it refuses and why, is what json.Unmarshal does, whatever was decoded
// before with the same codec.
func TestJSON_ReadsWhatUnmarshalReads(t *testing.T) {
	notes, anys, numbers := codec.JSON[note](), codec.JSON[any](), codec.JSON[*int]()
	for range 3 {
		for _, text := range readings {
			like(t, notes, text)
			like(t, anys, text)
			like(t, numbers, text)
		}
	}
}

func FuzzJSON_ReadsWhatUnmarshalReads(f *testing.F) {
	for _, text := range readings {
		f.Add(text)
	}
	notes, anys := codec.JSON[note](), codec.JSON[any]()
	f.Fuzz(func(t *testing.T, text string) {
		like(t, notes, text)
		like(t, anys, text)
		like(t, notes, `{"id":7}`)
	})
}

// like compares c with json.Unmarshal.
func like[V any](t *testing.T, c codec.Codec[V], text string) {
	t.Helper()
	var want V
	wantErr := json.Unmarshal([]byte(text), &want)
	got, err := c.Decode([]byte(text))
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
		t.Fatalf("%.60q into %T: error %v, want %v", text, got, err, wantErr)
	}
	if err == nil && !reflect.DeepEqual(got, want) {
		t.Fatalf("%.60q into %T: %v, want %v", text, got, got, want)
	}
}

// keeper keeps the bytes that it decodes, which it must not do.
type keeper struct{ p []byte }

func (k *keeper) UnmarshalJSON(p []byte) error { k.p = p; return nil }
func (k keeper) MarshalJSON() ([]byte, error)  { return k.p, nil }

// textKeeper keeps the text that it decodes.
type textKeeper struct{ p []byte }

func (k *textKeeper) UnmarshalText(p []byte) error { k.p = p; return nil }
func (k textKeeper) MarshalText() ([]byte, error)  { return k.p, nil }

// around has its method from what is in it.
type around struct{ textKeeper }

func TestJSON_BytesThatATypeKeepsAreNotOverwritten(t *testing.T) {
	type holder struct {
		In  map[string][]*keeper
		And around
	}
	c := codec.JSON[holder]()
	first, err := c.Decode([]byte(`{"In":{"a":["first"]},"And":"first"}`))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := c.Decode([]byte(`{"In":{"a":["other"]},"And":"other"}`)); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(first.In["a"][0].p); got != `"first"` {
		t.Errorf("the first value became %s", got)
	}
	if got := string(first.And.p); got != "first" {
		t.Errorf("the first text became %s", got)
	}
}

// What comes after a value that could not be read is read.
func TestDecodeInto_IsDecodeInPlace(t *testing.T) {
	text := codec.Func(200, func(dst []byte, v note) ([]byte, error) { return append(dst, v.Text...), nil },
		func(p []byte) (v note, err error) {
			v.Text = string(p)
			switch v.Text {
			case "panic":
				panic(v.Text)
			case "fail":
				err = errors.New(v.Text)
			}
			return v, err
		})
	for _, c := range []codec.Codec[note]{codec.JSON[note](), codec.CBOR[note](), text} {
		f := newFramer(t, codec.Config[note]{Codec: c})
		for _, s := range []string{"one", "panic", "two", "fail", "three"} {
			frame := mustAppend(t, f, "k", plainHeader(), note{Text: s})
			var got note
			h, err := f.DecodeInto("k", frame, &got)
			wantH, want, wantErr := f.Decode("k", frame)
			if !reflect.DeepEqual(h, wantH) || !reflect.DeepEqual(got, want) || (err == nil) != (wantErr == nil) {
				t.Errorf("%T: %v, %v, %v, want %v, %v, %v", c, h, got, err, wantH, want, wantErr)
			}
			if err != nil && (!errors.Is(err, codec.ErrDecode) || !reflect.DeepEqual(got, note{})) {
				t.Errorf("%T: %v with %v", c, err, got)
			}
		}
		negative := mustNegative(t, f, "k", plainHeader())
		var got note
		if h, err := f.DecodeInto("k", negative, &got); err != nil || !h.Negative || !reflect.DeepEqual(got, note{}) {
			t.Errorf("negative: %v, %v, %v", h, got, err)
		}
		if _, err := f.DecodeInto("other", negative, &got); !errors.Is(err, codec.ErrCorrupt) {
			t.Errorf("another key: %v", err)
		}
	}
	for name, c := range map[string]codec.Codec[note]{"json": codec.JSON[note](), "cbor": codec.CBOR[note]()} {
		broken := newFramer(t, codec.Config[note]{Codec: codec.Func(200, func(dst []byte, _ note) ([]byte, error) {
			if name == "json" {
				return append(dst, `{"id":1,"text":"half","at":"?"}`...), nil
			}
			return append(dst, 0xa2, 0x62, 'i', 'd', 1, 0x64, 't', 'e', 'x', 't', 7), nil
		}, func([]byte) (note, error) { return note{}, nil })})
		frame := mustAppend(t, broken, "k", plainHeader(), note{})
		frame[12] = c.ID()
		f := newFramer(t, codec.Config[note]{Codec: c})
		var got note
		if _, err := f.DecodeInto("k", codec.Reseal(f, "k", frame), &got); !errors.Is(err, codec.ErrDecode) || !reflect.DeepEqual(got, note{}) {
			t.Errorf("%s, half read: %v, %v", name, got, err)
		}
	}
}
