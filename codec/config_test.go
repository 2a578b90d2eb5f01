package codec_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hearthcache/hearth/codec"
)

type tree struct {
	Name     string
	Children []*tree
	Parent   *tree `json:"-"`
}

type session struct {
	sync.Mutex
	User string
	_    chan int
	Skip chan int `json:"-"`
}

type hidden struct{ _, _ int }

type hook struct {
	Name string
	Deep []struct{ Call func() }
}

type textOnly struct{ a int }

func (x textOnly) MarshalText() ([]byte, error)  { return []byte{'a' + byte(x.a)}, nil }
func (x *textOnly) UnmarshalText(p []byte) error { x.a = int(p[0] - 'a'); return nil }

// hollowCodec is a codec that panics when it is nil.
type hollowCodec struct{ codec.Codec[int] }

func refused[V any](t *testing.T, cfg codec.Config[V], words ...string) {
	t.Helper()
	_, err := codec.New(cfg)
	if err == nil {
		t.Errorf("New[%T] took it, want an error with %q", *new(V), words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
}

func taken[V any](t *testing.T, cfg codec.Config[V]) {
	t.Helper()
	if _, err := codec.New(cfg); err != nil {
		t.Errorf("New[%T]: %v", *new(V), err)
	}
}

func TestNew_NamesTheTypeThatCannotBeEncoded(t *testing.T) {
	refused(t, codec.Config[chan int]{}, "chan int")
	refused(t, codec.Config[func()]{}, "func()")
	refused(t, codec.Config[complex128]{}, "complex128")
	refused(t, codec.Config[*hook]{}, "hook.Deep.Call", "func()")
	refused(t, codec.Config[hidden]{}, "codec_test.hidden", "no exported field")
	refused(t, codec.Config[map[[2]int]string]{}, "map keys", "[2]int")
	refused(t, codec.Config[hook]{Codec: codec.CBOR[hook]()}, "CBOR", "Deep.Call")
	refused(t, codec.Config[[]byte]{Readers: []codec.Codec[[]byte]{nil}}, "Config.Readers[0] is nil")
	var none *hollowCodec
	refused(t, codec.Config[int]{Codec: none}, "Config.Codec is a nil *codec_test.hollowCodec")
	refused(t, codec.Config[int]{Readers: []codec.Codec[int]{codec.JSON[int](), none}}, "Config.Readers[1] is nil", "*codec_test.hollowCodec")
}

func TestNew_TakesWhatCanBeEncoded(t *testing.T) {
	taken(t, codec.Config[tree]{})
	taken(t, codec.Config[*session]{})
	taken(t, codec.Config[time.Time]{})
	taken(t, codec.Config[struct{}]{})
	taken(t, codec.Config[any]{})
	taken(t, codec.Config[map[netip.Addr][]*big.Int]{})
	taken(t, codec.Config[map[int]json.RawMessage]{})
	taken(t, codec.Config[textOnly]{})
	taken(t, codec.Config[textOnly]{Codec: codec.CBOR[textOnly]()})
	taken(t, codec.Config[big.Int]{Codec: codec.CBOR[big.Int]()})
	taken(t, codec.Config[map[[2]int]string]{Codec: codec.CBOR[map[[2]int]string]()})
	taken(t, codec.Config[hidden]{Codec: textCodec[hidden](128)})
}

// textCodec writes "x" for everything.
func textCodec[V any](id byte) codec.Codec[V] {
	return codec.Func(id,
		func(dst []byte, _ V) ([]byte, error) { return append(dst, 'x'), nil },
		func([]byte) (v V, err error) { return v, nil })
}

func TestNew_ChecksIDsAndNumbers(t *testing.T) {
	refused(t, codec.Config[int]{Codec: textCodec[int](127)}, "127", "128")
	refused(t, codec.Config[int]{Codec: textCodec[int](0)}, "reserved")
	refused(t, codec.Config[int]{Codec: codec.Func[int](128, nil, nil)}, "nil function")
	refused(t, codec.Config[int]{Codec: textCodec[int](128), Readers: []codec.Codec[int]{textCodec[int](128)}}, "two codecs", "128")
	refused(t, codec.Config[int]{CompressOver: -1}, "CompressOver")
	refused(t, codec.Config[int]{MaxDecodedBytes: -1}, "MaxDecodedBytes")
	refused(t, codec.Config[int]{Compression: 3}, "compression(3)")
	taken(t, codec.Config[int]{Readers: []codec.Codec[int]{codec.JSON[int](), codec.CBOR[int](), textCodec[int](255)}})
}

func TestReaders_LetACacheMoveFromOneCodecToAnother(t *testing.T) {
	asJSON := newFramer(t, codec.Config[order]{})
	asCBOR := newFramer(t, codec.Config[order]{Codec: codec.CBOR[order]()})
	moving := newFramer(t, codec.Config[order]{Codec: codec.CBOR[order](), Readers: []codec.Codec[order]{codec.JSON[order]()}})

	old := mustAppend(t, asJSON, "k", plainHeader(), sampleOrder())
	if _, v, err := moving.Decode("k", old); err != nil || v.Buyer != sampleOrder().Buyer {
		t.Errorf("%+v, %v", v, err)
	}
	if _, _, err := asCBOR.Decode("k", old); !errors.Is(err, codec.ErrUnknownCodec) {
		t.Errorf("error %v", err)
	}
	// Negative frames have no codec and stay readable whatever happens.
	if h, _, err := asCBOR.Decode("k", mustNegative(t, asJSON, "k", plainHeader())); err != nil || !h.Negative {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestSchema_AnotherOneIsAMissBothWays(t *testing.T) {
	at := func(n uint32) *codec.Framer[int] { return newFramer(t, codec.Config[int]{Schema: n}) }
	for _, pair := range [][2]uint32{{0, 1}, {1, 0}, {1, 2}, {2, 1}} {
		_, _, err := at(pair[1]).Decode("k", mustAppend(t, at(pair[0]), "k", plainHeader(), 5))
		wantErr(t, err, codec.ErrSchema)
	}
}
