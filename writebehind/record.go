package writebehind

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// A stored record: version (1), kind (1), id (16), then uvarints and length-prefixed strings,
// then a CRC-32C of all that. The sequence is not part of it: it is the journal's key.
const recordVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errCorrupt is wrapped by the journals with the place.
var errCorrupt = errors.New("writebehind: corrupt record")

// AppendBinary appends the stored form of r, without Seq, to dst. The error is always nil.
func (r *Record) AppendBinary(dst []byte) ([]byte, error) {
	start := len(dst)
	dst = append(dst, recordVersion, byte(r.Kind))
	dst = append(dst, r.ID[:]...)
	dst = appendBytes(dst, r.Key)
	dst = appendBytes(dst, r.Value)
	dst = binary.AppendUvarint(dst, r.Version)
	dst = appendTime(dst, r.Deadline)
	dst = appendTime(dst, r.Enqueued)
	dst = binary.AppendUvarint(dst, uint64(r.Attempts))
	dst = appendBytes(dst, r.Dead)
	dst = appendTime(dst, r.Died)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli)), nil
}

// UnmarshalBinary reads what [Record.AppendBinary] wrote; Seq is left as it is. The record keeps
// nothing of p. Bytes that are not a record are an error, whatever they are.
func (r *Record) UnmarshalBinary(p []byte) error {
	if len(p) < 4 {
		return errCorrupt
	}
	body, sum := p[:len(p)-4], binary.BigEndian.Uint32(p[len(p)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return errCorrupt
	}
	d := reader{p: body}
	if d.byte() != recordVersion {
		return errors.New("writebehind: record of a newer version")
	}
	r.Kind = Kind(d.byte())
	copy(r.ID[:], d.take(len(r.ID)))
	r.Key = string(d.bytes())
	r.Value = append([]byte{}, d.bytes()...)
	r.Version = d.uvarint()
	r.Deadline = d.time()
	r.Enqueued = d.time()
	r.Attempts = int(d.uvarint())
	r.Dead = string(d.bytes())
	r.Died = d.time()
	if d.bad || len(d.p) > 0 || r.Kind < Set || r.Kind > Unreadable || r.Key == "" {
		return errCorrupt
	}
	return nil
}

func appendBytes[T ~[]byte | ~string](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendTime stores nanoseconds since 1970, 0 for the zero time.
func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(dst, 0)
	}
	return binary.AppendVarint(dst, t.UnixNano())
}

type reader struct {
	p   []byte
	bad bool
}

func (d *reader) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.p) {
		d.bad = true
		return nil
	}
	out := d.p[:n]
	d.p = d.p[n:]
	return out
}

func (d *reader) byte() byte {
	if b := d.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (d *reader) uvarint() uint64 {
	v, n := binary.Uvarint(d.p)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *reader) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.p)) {
		d.bad = true
		return nil
	}
	return d.take(int(n))
}

func (d *reader) time() time.Time {
	v, n := binary.Varint(d.p)
	if n <= 0 {
		d.bad = true
		return time.Time{}
	}
	d.p = d.p[n:]
	if v == 0 {
		return time.Time{}
	}
	return time.Unix(0, v)
}
