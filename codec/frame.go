package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/hearthcache/hearth/backends"
)

// maxPayload is what the length field can say, less room for what encryption adds.
const maxPayload = math.MaxInt32 - 64

// Append appends the frame of v under key to dst. h.Negative is ignored. On error dst comes back
// as it was: [ErrEncode] if the codec failed, [ErrTooManyTags], or [backends.ErrTooLarge] if the
// encoded value is over Config.MaxDecodedBytes and could never be read.
func (f *Framer[V]) Append(dst []byte, key string, h Header, v V) ([]byte, error) {
	base := len(dst)
	b, err := appendHeader(dst, &h, false, shape{codec: f.id, key: f.writeKey(), schema: f.schema})
	if err != nil {
		return dst, err
	}
	at := len(b)
	if b, err = f.encode(b, v); err != nil {
		return dst[:base], err
	}
	if n := len(b) - at; n > f.limit {
		return dst[:base], fmt.Errorf("codec: encoded value has %d bytes, the limit is %d (%w)", n, f.limit, backends.ErrTooLarge)
	}
	b = f.shrink(b, base, at)
	return f.finish(b, base, at, key), nil
}

// AppendNegative appends the frame that says "key is known not to exist" to dst. The only error
// is [ErrTooManyTags]; dst then comes back as it was.
func (f *Framer[V]) AppendNegative(dst []byte, key string, h Header) ([]byte, error) {
	base := len(dst)
	b, err := appendHeader(dst, &h, true, shape{codec: idNone, key: f.writeKey(), schema: f.schema})
	if err != nil {
		return dst, err
	}
	return f.finish(b, base, len(b), key), nil
}

// Decode reads a frame that was stored under key. Every error is an [ErrUnreadable]. A negative
// frame gives the zero V, no error, and Header.Negative. The header of an unreadable frame is
// not returned: it is not to be trusted.
func (f *Framer[V]) Decode(key string, frame []byte) (h Header, v V, err error) {
	h, c, payload, err := f.unpack(key, frame)
	if err != nil || h.Negative {
		return h, v, err
	}
	if v, err = f.decode(c, payload); err != nil {
		return Header{}, v, err
	}
	return h, v, nil
}

// DecodeInto is [Framer.Decode] that puts the value where v points, which saves an allocation
// where that is in memory already. What is there must be the zero V, and is again after an error.
func (f *Framer[V]) DecodeInto(key string, frame []byte, v *V) (Header, error) {
	h, c, payload, err := f.unpack(key, frame)
	if err != nil || h.Negative {
		return h, err
	}
	if into, ok := c.(filler[V]); ok {
		err = f.decodeInto(into, payload, v)
	} else {
		*v, err = f.decode(c, payload)
	}
	if err != nil {
		return Header{}, err
	}
	return h, nil
}

// unpack returns a frame's header, and its payload and what decodes it unless it is negative.
func (f *Framer[V]) unpack(key string, frame []byte) (h Header, c Codec[V], payload []byte, err error) {
	h, s, err := parse(frame)
	if err != nil {
		return Header{}, nil, nil, err
	}
	if payload, err = f.open(key, frame, s); err != nil {
		return Header{}, nil, nil, err
	}
	if s.schema != f.schema {
		return Header{}, nil, nil, fmt.Errorf("%w: %d, want %d", ErrSchema, s.schema, f.schema)
	}
	if h.Negative {
		return h, nil, nil, nil
	}
	if c = f.readers[s.codec]; c == nil {
		return Header{}, nil, nil, fmt.Errorf("%w: id %d", ErrUnknownCodec, s.codec)
	}
	if len(payload) > f.limit && !f.off.bound {
		return Header{}, nil, nil, ErrTooLarge
	}
	if s.compression != None {
		if payload, err = s.compression.decompress(payload, f.bound()); err != nil {
			return Header{}, nil, nil, err
		}
	}
	return h, c, payload, nil
}

func (f *Framer[V]) bound() int {
	if f.off.bound {
		return maxPayload
	}
	return f.limit
}

// encode lets the codec append to b and turns its panics and broken promises into errors.
func (f *Framer[V]) encode(b []byte, v V) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %T panicked: %v", ErrEncode, f.write, r)
		}
	}()
	out, err = f.write.Append(b, v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEncode, err)
	}
	if len(out) < len(b) || !bytes.Equal(out[:len(b)], b) {
		return nil, fmt.Errorf("%w: %T did not append", ErrEncode, f.write)
	}
	return out, nil
}

func (f *Framer[V]) decode(c Codec[V], payload []byte) (v V, err error) {
	defer func() {
		if f.off.recovery {
			return
		}
		if r := recover(); r != nil {
			var zero V
			v, err = zero, fmt.Errorf("%w: %T panicked: %v", ErrDecode, c, r)
		}
	}()
	if v, err = c.Decode(payload); err != nil {
		var zero V
		return zero, fmt.Errorf("%w: %w", ErrDecode, err)
	}
	return v, nil
}

// decodeInto is decode in place.
func (f *Framer[V]) decodeInto(c filler[V], payload []byte, v *V) (err error) {
	defer func() {
		if !f.off.recovery {
			if r := recover(); r != nil {
				err = fmt.Errorf("%w: %T panicked: %v", ErrDecode, c, r)
			}
		}
		if err != nil {
			var zero V
			*v = zero
		}
	}()
	if err = c.decodeInto(payload, v); err != nil {
		return fmt.Errorf("%w: %w", ErrDecode, err)
	}
	return nil
}

// shrink compresses the payload, which begins at at, where that is asked for and pays.
func (f *Framer[V]) shrink(b []byte, base, at int) []byte {
	plain := b[at:]
	if f.compressor == None || len(plain) <= f.over {
		return b
	}
	buf := f.scratch.Get().(*[]byte)
	defer f.release(buf)
	small := f.compressor.compress((*buf)[:0], plain)
	*buf = small
	if len(small) >= len(plain) {
		return b
	}
	b[base+compressionOffset] = byte(f.compressor)
	return append(b[:at], small...)
}

// finish fills in the length and makes the frame tamper-evident: encrypted if there are keys,
// else with a checksum.
func (f *Framer[V]) finish(b []byte, base, at int, key string) []byte {
	length := b[at-lengthLen : at]
	if f.keys == nil {
		binary.BigEndian.PutUint32(length, uint32(len(b)-at))
		return binary.BigEndian.AppendUint64(b, f.sum(key, b[base:]))
	}
	binary.BigEndian.PutUint32(length, uint32(len(b)-at+sealLen))
	buf := f.scratch.Get().(*[]byte)
	defer f.release(buf)
	*buf = f.aad((*buf)[:0], key, b[base:at])
	// Sealing overwrites the payload in place: GCM allows the ciphertext to begin where the
	// plaintext does, and moves it for the nonce.
	return f.keys.aeads[f.keys.current].Seal(b[:at], nil, b[at:], *buf)
}

// open returns the payload of a frame that is intact and belongs to key.
func (f *Framer[V]) open(key string, frame []byte, s shape) ([]byte, error) {
	if s.key == 0 {
		want := binary.BigEndian.Uint64(frame[s.end:])
		if f.sum(key, frame[:s.end]) != want && !f.off.checksum {
			return nil, ErrCorrupt
		}
		if f.keys != nil && !f.readPlain && !f.off.downgrade {
			return nil, fmt.Errorf("%w: not encrypted", ErrUnknownKey)
		}
		return frame[s.payload:s.end], nil
	}
	if f.keys == nil || f.keys.aeads[s.key] == nil {
		return nil, fmt.Errorf("%w: id %d", ErrUnknownKey, s.key)
	}
	if s.end-s.payload-sealLen > f.bound() {
		return nil, ErrTooLarge
	}
	buf := f.scratch.Get().(*[]byte)
	defer f.release(buf)
	*buf = f.aad((*buf)[:0], key, frame[:s.payload])
	plain, err := f.keys.aeads[s.key].Open(nil, nil, frame[s.payload:s.end], *buf)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return plain, nil
}

// release gives a scratch buffer back, unless one big value has made it big.
func (f *Framer[V]) release(buf *[]byte) {
	if cap(*buf) <= 1<<20 {
		f.scratch.Put(buf)
	}
}

func (f *Framer[V]) writeKey() byte {
	if f.keys == nil {
		return 0
	}
	return f.keys.current
}

// sum is the checksum over namespace, key and frame. Lengths stand before namespace and key, so
// that "a:b" + "c" and "a" + "b:c" differ.
func (f *Framer[V]) sum(key string, frame []byte) uint64 {
	var d xxhash.Digest
	if f.off.binding {
		d.Reset()
	} else {
		d = f.seed
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(key)))
		_, _ = d.Write(n[:])
		_, _ = d.WriteString(key)
	}
	_, _ = d.Write(frame)
	return d.Sum64()
}

// aad appends what encryption authenticates beside the payload: namespace, key, and the header
// with codec, compression, key id and schema.
func (f *Framer[V]) aad(dst []byte, key string, header []byte) []byte {
	if !f.off.binding {
		dst = append(dst, f.namespace...)
		dst = binary.BigEndian.AppendUint64(dst, uint64(len(key)))
		dst = append(dst, key...)
	}
	return append(dst, header...)
}
