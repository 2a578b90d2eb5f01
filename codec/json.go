package codec

import (
	"bytes"
	"encoding"
	"encoding/json"
	"math/big"
	"reflect"
	"slices"
	"sync"
	"time"
)

type jsonCodec[V any] struct {
	writers *sync.Pool // *jsonWriter
	readers *sync.Pool // *jsonReader; nil: every value is read by json.Unmarshal
}

// JSON encodes with encoding/json. It is the default. HTML characters are not escaped. What JSON
// cannot hold is refused by [New] where the type shows it (channels, functions, complex numbers)
// and by Append where only the value does (NaN); decoding into an interface turns numbers into
// float64.
func JSON[V any]() Codec[V] {
	c := jsonCodec[V]{writers: &sync.Pool{New: func() any { return newJSONWriter() }}}
	if !decodesItself(reflect.TypeFor[V](), map[reflect.Type]bool{}) {
		c.readers = &sync.Pool{New: func() any { return newJSONReader() }}
	}
	return c
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
func (c jsonCodec[V]) Decode(p []byte) (V, error) {
	var v V
	err := c.decodeInto(p, &v)
	return v, err
}

// decodeInto implements [filler].
func (c jsonCodec[V]) decodeInto(p []byte, v *V) error {
	if c.readers == nil || len(p) > maxReread {
		return json.Unmarshal(p, v)
	}
	r := c.readers.Get().(*jsonReader)
	if r.read(p, v) {
		c.readers.Put(r)
		return nil
	}
	var zero V
	*v = zero
	return json.Unmarshal(p, v) // which says what is wrong; r is not used again
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

// maxReread is up to which size a value is read by a decoder that is kept: it holds on to a buffer
// of about that size, and with larger values what it saves is lost among the rest.
const maxReread = 16 << 10

// jsonReader is a decoder that is used again and again: json.Unmarshal allocates one for every
// value, which is most of what small values cost.
type jsonReader struct {
	src bytes.Reader
	dec *json.Decoder
}

func newJSONReader() *jsonReader {
	r := new(jsonReader)
	r.dec = json.NewDecoder(&r.src)
	return r
}

// read decodes p into v and reports whether p was one value and nothing else. If not, r is spent.
func (r *jsonReader) read(p []byte, v any) bool {
	began := r.dec.InputOffset()
	r.src.Reset(p)
	err := r.dec.Decode(v)
	r.src.Reset(nil)
	return err == nil && r.dec.InputOffset()-began == int64(len(p))
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

	// copying are types whose unmarshalling methods keep nothing of what they read.
	copying = []reflect.Type{reflect.TypeFor[time.Time](), reflect.TypeFor[json.RawMessage](), reflect.TypeFor[big.Int]()}
)

// decodesItself reports whether t is, or holds, a type with an unmarshalling method that is not
// known to copy. Such a method is not allowed to keep the bytes it gets, but one that does works
// as long as nobody writes to them: the bytes of a frame stay, those of a jsonReader do not.
func decodesItself(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	if p := reflect.PointerTo(t); p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler) {
		return !slices.Contains(copying, t)
	}
	switch t.Kind() {
	case reflect.Map:
		return decodesItself(t.Key(), seen) || decodesItself(t.Elem(), seen)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return decodesItself(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if decodesItself(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}
