package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/hearthcache/hearth/internal/wire"
)

// ParseHeader reads the header of a frame without the key it is stored under, and without its
// payload. It checks the structure, lengths included, but cannot check the checksum: trust it
// with a deadline for a copy, not with a decision about the value. Errors are [ErrForeign],
// [ErrCorrupt] and [ErrNewer].
func ParseHeader(frame []byte) (Header, error) {
	h, _, err := parse(frame)
	return h, err
}

// parse reads everything before the payload. Exactly one byte sequence is accepted per Header
// and shape.
func parse(frame []byte) (Header, shape, error) {
	if err := checkKind(frame); err != nil {
		return Header{}, shape{}, err
	}
	flags := frame[flagsOffset]
	h := Header{
		Version:  binary.BigEndian.Uint64(frame[wire.VersionOffset:]),
		Negative: flags&flagNegative != 0,
	}
	s := shape{codec: frame[codecOffset], compression: Compression(frame[compressionOffset]), key: frame[keyOffset]}
	f := fields{rest: frame[fieldsOffset:]}
	h.Created = f.varint()
	if flags&flagFreshUntil != 0 {
		h.FreshUntil = h.Created + f.varint()
		f.require(h.FreshUntil != 0)
	}
	if flags&flagExpires != 0 {
		h.Expires = h.Created + f.varint()
		f.require(h.Expires != 0)
	}
	if flags&flagLoad != 0 {
		us := f.uvarint()
		f.require(us != 0 && us <= maxLoadMicros)
		h.Load = time.Duration(us) * time.Microsecond
	}
	if flags&flagOp != 0 {
		h.Op = f.uint64()
		f.require(h.Op != 0)
	}
	if flags&flagGeneration != 0 {
		h.Generation = f.uvarint()
		f.require(h.Generation != 0)
	}
	if flags&flagTags != 0 {
		h.Tags = f.tags()
	}
	if flags&flagSchema != 0 {
		v := f.uvarint()
		f.require(v != 0 && v <= math.MaxUint32)
		s.schema = uint32(v)
	}
	n := f.uint32()
	if f.bad {
		return Header{}, shape{}, ErrCorrupt
	}
	s.payload = len(frame) - len(f.rest)
	s.end = len(frame)
	if s.key == 0 {
		s.end -= checksumLen
	}
	if s.end-s.payload != int(n) || !plausible(h.Negative, s) {
		return Header{}, shape{}, ErrCorrupt
	}
	return h, s, nil
}

// checkKind tells frames that this release can read from everything else.
func checkKind(frame []byte) error {
	if len(frame) < 2 || frame[0] != wire.Magic || frame[1] != byte(wire.Frame) {
		return notFrame(frame)
	}
	if len(frame) > 2 && frame[2] > wire.FormatVersion {
		return ErrNewer
	}
	if len(frame) < minFrameLen || frame[2] != wire.FormatVersion {
		return ErrCorrupt
	}
	return nil
}

func notFrame(v []byte) error {
	switch wire.KindOf(v) {
	case wire.Lease:
		return fmt.Errorf("%w but a lease", ErrForeign)
	case wire.Tombstone:
		return fmt.Errorf("%w but a tombstone", ErrForeign)
	}
	return ErrForeign
}

// plausible reports whether codec, compression and length fit each other.
func plausible(negative bool, s shape) bool {
	n := s.end - s.payload
	if s.key != 0 {
		n -= sealLen
	}
	if negative {
		return n == 0 && s.codec == idNone && s.compression == None
	}
	return n >= 0 && s.codec != idNone
}

// fields reads the optional fields one after the other; bad sticks.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) require(ok bool) { f.bad = f.bad || !ok }

func (f *fields) take(n int) []byte {
	if f.bad || len(f.rest) < n {
		f.bad = true
		return nil
	}
	p := f.rest[:n]
	f.rest = f.rest[n:]
	return p
}

// uvarint reads one in its shortest form; a longer form of the same number is refused.
func (f *fields) uvarint() uint64 {
	v, n := binary.Uvarint(f.rest)
	if f.bad || n <= 0 || n > 1 && f.rest[n-1] == 0 {
		f.bad = true
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

func (f *fields) varint() int64 {
	u := f.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (f *fields) uint64() uint64 {
	if p := f.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (f *fields) uint32() uint32 {
	if p := f.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (f *fields) tags() []TagStamp {
	p := f.take(1)
	if p == nil || p[0] == 0 || len(f.rest) < 9*int(p[0]) {
		f.bad = true
		return nil
	}
	tags := make([]TagStamp, p[0])
	for i := range tags {
		tags[i] = TagStamp{ID: f.uint64(), Barrier: f.uvarint()}
		f.require(i == 0 || tags[i-1].ID < tags[i].ID)
	}
	return tags
}
