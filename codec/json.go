package codec

import (
	"bytes"
	"encoding/json"
	"sync"
)

type jsonCodec[V any] struct{ writers *sync.Pool }

// JSON encodes with encoding/json. It is the default. HTML characters are not escaped. What JSON
// cannot hold is refused by [New] where the type shows it (channels, functions, complex numbers)
// and by Append where only the value does (NaN); decoding into an interface turns numbers into
// float64.
func JSON[V any]() Codec[V] {
	return jsonCodec[V]{writers: &sync.Pool{New: func() any { return newJSONWriter() }}}
}

func (jsonCodec[V]) builtin() {}

// ID implements [Codec].
func (jsonCodec[V]) ID() byte { return idJSON }

// Append implements [Codec].
func (c jsonCodec[V]) Append(dst []byte, v V) ([]byte, error) {
	w := c.writers.Get().(*jsonWriter)
	defer c.writers.Put(w)
	// By address, so that marshalling methods with pointer receivers are found, as they are
	// when decoding.
	return w.append(dst, &v)
}

// Decode implements [Codec].
func (jsonCodec[V]) Decode(p []byte) (V, error) {
	var v V
	err := json.Unmarshal(p, &v)
	return v, err
}

// jsonWriter lets an encoder append to a slice: json.Marshal would copy twice.
type jsonWriter struct {
	enc *json.Encoder
	dst []byte
}

func newJSONWriter() *jsonWriter {
	w := new(jsonWriter)
	w.enc = json.NewEncoder(w)
	w.enc.SetEscapeHTML(false)
	return w
}

// Write implements io.Writer for the encoder; it cannot fail.
func (w *jsonWriter) Write(p []byte) (int, error) {
	w.dst = append(w.dst, p...)
	return len(p), nil
}

func (w *jsonWriter) append(dst []byte, v any) ([]byte, error) {
	w.dst = dst
	defer func() { w.dst = nil }()
	if err := w.enc.Encode(v); err != nil {
		return dst, err
	}
	return bytes.TrimSuffix(w.dst, []byte{'\n'}), nil
}
