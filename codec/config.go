package codec

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/hearthcache/hearth/internal/iface"
)

// Defaults of [Config].
const (
	DefaultCompressOver    = 1 << 10
	DefaultMaxDecodedBytes = 8 << 20
)

// Config says how values of one namespace become frames. The zero Config is JSON (raw bytes for
// V = []byte and string), uncompressed, not encrypted.
//
// All of it can be changed in a running system. Frames say what they were made with: the
// previous codec stays readable while it is in Readers, compressions always are, and keys as
// long as they are in the ring. A changed Namespace or Schema makes old frames unreadable, which
// is a miss.
type Config[V any] struct {
	// Codec to write with. nil = [Bytes] or [String] where V is exactly []byte or string, else
	// [JSON].
	Codec Codec[V]
	// Readers are further codecs to understand, while a cache moves from one to another.
	Readers []Codec[V]
	// Compression for payloads larger than CompressOver bytes, kept only where it makes them
	// smaller.
	Compression Compression
	// CompressOver is in bytes; 0 = DefaultCompressOver.
	CompressOver int
	// MaxDecodedBytes bounds a payload, encoded and decompressed: larger ones are neither
	// written nor read, and nothing larger is allocated for one. 0 = DefaultMaxDecodedBytes.
	MaxDecodedBytes int
	// Keys to encrypt with; nil = not encrypted, which leaves the checksum: a guard against
	// accidents, not against somebody who writes to the server.
	Keys *KeyRing
	// ReadPlain accepts frames that are not encrypted although Keys are set, while a cache moves
	// to encryption. Turn it off after: whoever can write to the server can write plain frames.
	ReadPlain bool
	// Namespace is bound into every frame beside its key: a frame under another namespace or key
	// is unreadable.
	Namespace string
	// Schema is the version of V; 0 = none. Raise it when old payloads would decode into the
	// wrong thing: frames of any other Schema are then unreadable.
	Schema uint32
}

// Framer makes frames and reads them. It is safe for concurrent use.
type Framer[V any] struct {
	write      Codec[V]
	id         byte
	readers    [256]Codec[V]
	compressor Compression
	over       int
	limit      int
	keys       *KeyRing
	readPlain  bool
	schema     uint32
	namespace  []byte        // length-prefixed
	seed       xxhash.Digest // after the namespace
	scratch    *sync.Pool    // *[]byte
	off        guards
}

// guards can be taken away by tests, which must then see what they guard against.
type guards struct{ checksum, binding, bound, downgrade, recovery bool }

// New checks cfg as a whole. A V that the codec of this package cannot encode is refused by
// name.
func New[V any](cfg Config[V]) (*Framer[V], error) {
	f := &Framer[V]{
		write:      cfg.Codec,
		compressor: cfg.Compression,
		over:       cfg.CompressOver,
		limit:      cfg.MaxDecodedBytes,
		keys:       cfg.Keys,
		readPlain:  cfg.ReadPlain,
		schema:     cfg.Schema,
		scratch:    &sync.Pool{New: func() any { return new([]byte) }},
	}
	switch {
	case f.write == nil:
		f.write = defaultCodec[V]()
	case iface.IsNil(f.write):
		return nil, fmt.Errorf("codec: Config.Codec is a nil %T", f.write)
	}
	if f.compressor > Zstd {
		return nil, fmt.Errorf("codec: unknown %v", f.compressor)
	}
	if f.over < 0 || f.limit < 0 || f.limit > maxPayload {
		return nil, fmt.Errorf("codec: CompressOver %d or MaxDecodedBytes %d out of range (0 to %d)", f.over, f.limit, maxPayload)
	}
	if f.over == 0 {
		f.over = DefaultCompressOver
	}
	if f.limit == 0 {
		f.limit = DefaultMaxDecodedBytes
	}
	if err := f.register(f.write); err != nil {
		return nil, err
	}
	f.id = f.write.ID()
	for i, c := range cfg.Readers {
		if iface.IsNil(c) {
			return nil, fmt.Errorf("codec: Config.Readers[%d] is nil (%T)", i, c)
		}
		if err := f.register(c); err != nil {
			return nil, err
		}
	}
	f.namespace = binary.BigEndian.AppendUint64(nil, uint64(len(cfg.Namespace)))
	f.namespace = append(f.namespace, cfg.Namespace...)
	f.seed.Reset()
	_, _ = f.seed.Write(f.namespace)
	return f, nil
}

// defaultCodec keeps bytes and strings as they are; everything else is JSON.
func defaultCodec[V any]() Codec[V] {
	for _, raw := range []any{Bytes(), String()} {
		if c, ok := raw.(Codec[V]); ok {
			return c
		}
	}
	return JSON[V]()
}

// register adds c to the codecs that can be read.
func (f *Framer[V]) register(c Codec[V]) error {
	id := c.ID()
	_, ours := c.(builtin)
	if !ours && id < firstUserID {
		return fmt.Errorf("codec: id %d of %T is reserved; use %d to 255", id, c, firstUserID)
	}
	if fc, ok := c.(funcCodec[V]); ok {
		if err := fc.check(); err != nil {
			return err
		}
	}
	if f.readers[id] != nil && !ours { // ours with the same id read the same
		return fmt.Errorf("codec: two codecs with id %d", id)
	}
	if err := encodable[V](id); err != nil {
		return err
	}
	f.readers[id] = c
	return nil
}
