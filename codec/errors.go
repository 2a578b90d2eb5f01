package codec

import (
	"errors"
	"fmt"
)

// ErrUnreadable is what every failure to read a frame is (errors.Is). To a cache it is a miss
// with a reason to count: the value is to be loaded again, never guessed at.
var ErrUnreadable = errors.New("codec: unreadable value")

// The reasons why a frame cannot be read.
var (
	// ErrForeign: not a frame. Another client wrote it, or it is a lease or a tombstone.
	ErrForeign = fmt.Errorf("%w: not a frame", ErrUnreadable)
	// ErrCorrupt: cut off, altered, not in canonical form, or written under another key or
	// namespace.
	ErrCorrupt = fmt.Errorf("%w: corrupt frame", ErrUnreadable)
	// ErrNewer: a format version that this release does not know, as happens while processes of
	// two releases share a server.
	ErrNewer = fmt.Errorf("%w: newer frame format", ErrUnreadable)
	// ErrUnknownCodec: intact, but of a codec that is neither Config.Codec nor in Config.Readers.
	ErrUnknownCodec = fmt.Errorf("%w: unknown codec", ErrUnreadable)
	// ErrUnknownCompression: intact, but of a compression that this release does not know.
	ErrUnknownCompression = fmt.Errorf("%w: unknown compression", ErrUnreadable)
	// ErrUnknownKey: encrypted with a key that is not in the ring, or not encrypted although it
	// has to be (Config.ReadPlain).
	ErrUnknownKey = fmt.Errorf("%w: unknown encryption key", ErrUnreadable)
	// ErrTooLarge: the payload is, or would become, larger than Config.MaxDecodedBytes. Nothing
	// of that size was allocated.
	ErrTooLarge = fmt.Errorf("%w: payload over the limit", ErrUnreadable)
	// ErrSchema: intact, but of another Config.Schema.
	ErrSchema = fmt.Errorf("%w: another schema", ErrUnreadable)
	// ErrDecode: the codec failed on an intact payload, or panicked. The codec's error is
	// wrapped too.
	ErrDecode = fmt.Errorf("%w: codec failed", ErrUnreadable)
)

// ErrEncode: the codec could not encode the value, or panicked. It is not an [ErrUnreadable];
// nothing was written. The codec's error is wrapped too.
var ErrEncode = errors.New("codec: cannot encode value")

// ErrTooManyTags: a header with more than [MaxTags] different tags.
var ErrTooManyTags = fmt.Errorf("codec: more than %d tags", MaxTags)

// Reason names the kind of an [ErrUnreadable] in one word, from a small fixed set, for counters:
// foreign, corrupt, newer, unknown_codec, unknown_compression, unknown_key, too_large, schema,
// decode. It is "" for nil and for any other error.
func Reason(err error) string {
	switch {
	case !errors.Is(err, ErrUnreadable):
		return ""
	case errors.Is(err, ErrForeign):
		return "foreign"
	case errors.Is(err, ErrCorrupt):
		return "corrupt"
	case errors.Is(err, ErrNewer):
		return "newer"
	case errors.Is(err, ErrUnknownCodec):
		return "unknown_codec"
	case errors.Is(err, ErrUnknownCompression):
		return "unknown_compression"
	case errors.Is(err, ErrUnknownKey):
		return "unknown_key"
	case errors.Is(err, ErrTooLarge):
		return "too_large"
	case errors.Is(err, ErrSchema):
		return "schema"
	}
	return "decode"
}
