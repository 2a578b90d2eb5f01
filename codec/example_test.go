package codec_test

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/hearthcache/hearth/codec"
)

type Product struct {
	Name  string `json:"name"`
	Cents int    `json:"cents"`
}

func Example() {
	framer, err := codec.New(codec.Config[Product]{Namespace: "shop", Compression: codec.S2})
	if err != nil {
		fmt.Println(err)
		return
	}
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	frame, err := framer.Append(nil, "product:7", codec.Header{
		Version:    12,
		Created:    created.UnixMilli(),
		FreshUntil: created.Add(time.Minute).UnixMilli(),
	}, Product{Name: "kettle", Cents: 2450})
	if err != nil {
		fmt.Println(err)
		return
	}

	h, p, err := framer.Decode("product:7", frame)
	fmt.Println(h.Version, p.Name, p.Cents, err)

	// The same bytes under another key are no value at all.
	_, _, err = framer.Decode("product:8", frame)
	fmt.Println(errors.Is(err, codec.ErrUnreadable), codec.Reason(err))

	// Nor is what another client wrote.
	_, _, err = framer.Decode("product:7", []byte(`{"name":"kettle"}`))
	fmt.Println(codec.Reason(err))
	// Output:
	// 12 kettle 2450 <nil>
	// true corrupt
	// foreign
}

func ExampleFramer_AppendNegative() {
	framer, err := codec.New(codec.Config[Product]{})
	if err != nil {
		fmt.Println(err)
		return
	}
	frame, err := framer.AppendNegative(nil, "product:404", codec.Header{})
	if err != nil {
		fmt.Println(err)
		return
	}
	h, _, err := framer.Decode("product:404", frame)
	fmt.Println(h.Negative, err)
	// Output: true <nil>
}

// A codec of one's own, here for a fixed pair of bytes. One for protobuf calls
// proto.MarshalOptions{}.MarshalAppend and proto.Unmarshal.
func ExampleFunc() {
	type point struct{ x, y byte }
	points := codec.Func(128,
		func(dst []byte, p point) ([]byte, error) { return append(dst, p.x, p.y), nil },
		func(b []byte) (point, error) {
			if len(b) != 2 {
				return point{}, fmt.Errorf("point of %d bytes", len(b))
			}
			return point{b[0], b[1]}, nil
		})
	framer, err := codec.New(codec.Config[point]{Codec: points})
	if err != nil {
		fmt.Println(err)
		return
	}
	frame, _ := framer.Append(nil, "p", codec.Header{}, point{3, 4})
	_, p, err := framer.Decode("p", frame)
	fmt.Println(p.x, p.y, err)
	// Output: 3 4 <nil>
}

// Rotating a key takes three releases: know the new key, write with it, forget the old one.
func ExampleNewKeyRing() {
	january, february := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	before, _ := codec.NewKeyRing(1, map[byte][]byte{1: january})
	after, _ := codec.NewKeyRing(2, map[byte][]byte{1: january, 2: february})

	writer, _ := codec.New(codec.Config[string]{Keys: before})
	reader, _ := codec.New(codec.Config[string]{Keys: after})
	frame, _ := writer.Append(nil, "k", codec.Header{}, "still readable")
	_, v, err := reader.Decode("k", frame)
	fmt.Println(v, err)
	fmt.Println(after)
	// Output:
	// still readable <nil>
	// codec.KeyRing(writes with key 2 of 2)
}
