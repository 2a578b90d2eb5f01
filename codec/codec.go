package codec

import "errors"

// Codec turns a value into bytes and back. Codecs are safe for concurrent use.
//
// ID is written into every frame, so that values stay readable after the code has moved to
// another codec (see Config.Readers). 1 to 127 belong to this package; an application's own
// codecs take 128 to 255, one number for ever for one encoding. ID is constant.
//
// Append appends the encoding of v to dst and returns the longer slice, as the append builtin
// does. It neither keeps dst nor changes what dst already holds. Every value has an encoding,
// nil pointers included: "there is no record" is not said here but by [Header].Negative.
//
// Decode is the inverse. p is only lent and must not be changed; a result may share its memory
// where the codec says so. Bytes that it cannot understand are an error, never a zero value; a
// panic is caught by the [Framer] and counts as an error.
type Codec[V any] interface {
	// ID returns the number of the encoding.
	ID() byte
	// Append returns dst with the encoding of v behind it; an error where v cannot be encoded, and
	// dst is then not used any more.
	Append(dst []byte, v V) ([]byte, error)
	// Decode returns the value of which p is the encoding, else an error.
	Decode(p []byte) (V, error)
}

// filler is a codec that decodes into memory that is there already. v is zero before, and where
// there is an error what it holds after is of no use.
type filler[V any] interface {
	decodeInto(p []byte, v *V) error
}

// The ids of the codecs of this package, as they are in frames.
const (
	idNone byte = 0 // no payload: a negative frame
	idRaw  byte = 1 // Bytes and String
	idJSON byte = 2
	idCBOR byte = 3

	firstUserID byte = 128
)

// builtin marks the codecs of this package, which alone may use ids below 128.
type builtin interface{ builtin() }

type bytesCodec struct{}

// Bytes keeps byte slices as they are. It is the default for V = []byte.
//
// The decoded slice shares memory with the frame it came from (or with the buffer it was
// decompressed into): nothing is copied, and it must not be modified, as nothing that comes out
// of a cache must. Its capacity is its length, so appending to it is fine. A nil slice comes
// back as an empty one.
func Bytes() Codec[[]byte] { return bytesCodec{} }

func (bytesCodec) builtin() {}

// ID implements [Codec].
func (bytesCodec) ID() byte { return idRaw }

// Append implements [Codec]; it cannot fail.
func (bytesCodec) Append(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }

// Decode implements [Codec]; it cannot fail.
func (bytesCodec) Decode(p []byte) ([]byte, error) { return p[:len(p):len(p)], nil }

type stringCodec struct{}

// String keeps strings as they are, valid UTF-8 or not. It is the default for V = string. Its
// frames are those of [Bytes], so a cache can change between the two.
func String() Codec[string] { return stringCodec{} }

func (stringCodec) builtin() {}

// ID implements [Codec].
func (stringCodec) ID() byte { return idRaw }

// Append implements [Codec]; it cannot fail.
func (stringCodec) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }

// Decode implements [Codec]; it cannot fail.
func (stringCodec) Decode(p []byte) (string, error) { return string(p), nil }

type funcCodec[V any] struct {
	id     byte
	append func(dst []byte, v V) ([]byte, error)
	decode func(p []byte) (V, error)
}

// Func makes a codec of two functions, which follow the rules of [Codec]. id is 128 to 255;
// [New] refuses others, and nil functions.
func Func[V any](id byte, append func(dst []byte, v V) ([]byte, error), decode func(p []byte) (V, error)) Codec[V] {
	return funcCodec[V]{id: id, append: append, decode: decode}
}

// ID implements [Codec].
func (c funcCodec[V]) ID() byte { return c.id }

// Append implements [Codec].
func (c funcCodec[V]) Append(dst []byte, v V) ([]byte, error) { return c.append(dst, v) }

// Decode implements [Codec].
func (c funcCodec[V]) Decode(p []byte) (V, error) { return c.decode(p) }

func (c funcCodec[V]) check() error {
	if c.append == nil || c.decode == nil {
		return errors.New("codec: Func with a nil function")
	}
	return nil
}
