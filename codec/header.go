package codec

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/hearthcache/hearth/internal/wire"
)

// Header is what a frame says about its value. The zero Header is valid: a value without
// version, deadline or tags. Times are those of the writer's clock.
type Header struct {
	// Version of the record, as the source of record counts it; 0 = none. Scripts on a server
	// compare it without understanding the rest of the frame.
	Version uint64
	// Created is when the value was read from its source, in Unix milliseconds.
	Created int64
	// FreshUntil is when the value becomes stale, in Unix milliseconds; 0 = it is fresh as long
	// as it lives.
	FreshUntil int64
	// Expires is when the value must no longer be used, in Unix milliseconds; 0 = never. It
	// holds where a server's own expiry was lost or prolonged.
	Expires int64
	// Load is how long the source took, for probabilistic early refresh. Kept in microseconds,
	// rounded up; 0 (and anything negative) = not known.
	Load time.Duration
	// Op identifies the write, so that a writer whose answer was lost can recognise its own
	// frame; 0 = none.
	Op uint64
	// Generation of the namespace in which the value was made; an older one than the
	// namespace's present generation means that the value was cleared away.
	Generation uint64
	// Tags that the value belongs to. Frames hold them sorted by ID, each ID once (of a
	// repeated one the lowest Barrier counts), at most [MaxTags].
	Tags []TagStamp
	// Negative: the record is known not to exist. Such a frame has no payload. It is set by
	// AppendNegative and ignored by Append.
	Negative bool
}

// MaxTags is how many tags a frame can carry.
const MaxTags = 255

// TagStamp ties a value to a tag.
type TagStamp struct {
	ID      uint64 // hash of the tag's name
	Barrier uint64 // the tag's barrier when the value was made; a higher one now = invalidated
}

// The flags of a frame: which optional fields follow, in this order. All eight bits are taken;
// what comes next is a new format version.
const (
	flagFreshUntil byte = 1 << iota
	flagExpires
	flagLoad
	flagOp
	flagGeneration
	flagTags
	flagSchema
	flagNegative
)

// Offsets behind the part that package wire fixes, and sizes.
const (
	flagsOffset       = 3
	codecOffset       = wire.HeadLen
	compressionOffset = wire.HeadLen + 1
	keyOffset         = wire.HeadLen + 2
	fieldsOffset      = wire.HeadLen + 3

	lengthLen   = 4
	checksumLen = 8
	minFrameLen = fieldsOffset + 1 + lengthLen + checksumLen

	maxLoadMicros = uint64(math.MaxInt64 / time.Microsecond)
)

// shape is what the fixed bytes of a frame, and the schema, say about its payload.
type shape struct {
	codec       byte
	compression Compression
	key         byte
	schema      uint32
	payload     int // offset of the payload
	end         int // offset behind the payload
}

// appendHeader appends everything before the payload. The payload's length is left 0.
func appendHeader(dst []byte, h *Header, negative bool, s shape) ([]byte, error) {
	tags, err := canonicalTags(h.Tags)
	if err != nil {
		return dst, err
	}
	at := len(dst)
	dst = append(dst, wire.Magic, byte(wire.Frame), wire.FormatVersion, 0)
	dst = binary.BigEndian.AppendUint64(dst, h.Version)
	dst = append(dst, s.codec, byte(s.compression), s.key)
	dst = binary.AppendVarint(dst, h.Created)
	var flags byte
	if h.FreshUntil != 0 {
		flags |= flagFreshUntil
		dst = binary.AppendVarint(dst, h.FreshUntil-h.Created)
	}
	if h.Expires != 0 {
		flags |= flagExpires
		dst = binary.AppendVarint(dst, h.Expires-h.Created)
	}
	if h.Load > 0 {
		flags |= flagLoad
		dst = binary.AppendUvarint(dst, loadMicros(h.Load))
	}
	if h.Op != 0 {
		flags |= flagOp
		dst = binary.BigEndian.AppendUint64(dst, h.Op)
	}
	if h.Generation != 0 {
		flags |= flagGeneration
		dst = binary.AppendUvarint(dst, h.Generation)
	}
	if len(tags) > 0 {
		flags |= flagTags
		dst = append(dst, byte(len(tags)))
		for _, t := range tags {
			dst = binary.BigEndian.AppendUint64(dst, t.ID)
			dst = binary.AppendUvarint(dst, t.Barrier)
		}
	}
	if s.schema != 0 {
		flags |= flagSchema
		dst = binary.AppendUvarint(dst, uint64(s.schema))
	}
	if negative {
		flags |= flagNegative
	}
	dst[at+flagsOffset] = flags
	return append(dst, 0, 0, 0, 0), nil
}

// loadMicros rounds d up to whole microseconds, so that a load that was measured stays known.
func loadMicros(d time.Duration) uint64 {
	us := uint64(d / time.Microsecond)
	if d%time.Microsecond != 0 && us < maxLoadMicros {
		us++
	}
	return us
}

// canonicalTags returns tags sorted by ID, each ID once. The caller's slice stays as it is.
func canonicalTags(tags []TagStamp) ([]TagStamp, error) {
	for i := 1; i < len(tags); i++ {
		if tags[i-1].ID < tags[i].ID {
			continue
		}
		tags = slices.Clone(tags)
		slices.SortFunc(tags, func(a, b TagStamp) int {
			return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Barrier, b.Barrier))
		})
		tags = slices.CompactFunc(tags, func(a, b TagStamp) bool { return a.ID == b.ID })
		break
	}
	if len(tags) > MaxTags {
		return nil, ErrTooManyTags
	}
	return tags, nil
}
