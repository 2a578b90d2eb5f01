// Package note is the message by which processes tell each other what changed: its bytes, its
// numbers, and what a gap in them means.
//
//	offset  size     content
//	0       2        0x00 'I'
//	2       1        format version, 1
//	3       1        kind: 'K' keys, 'A' forget everything, 'T' tail (nothing new, see below)
//	4       16       origin: a random number per sender
//	20      varint   sequence number, from 1; a tail repeats the last one
//	        varint   length of the namespace, then its bytes
//	        varint   number of keys, then for each its length and its bytes
//
// The numbers of one origin have no holes, so a receiver that misses one knows that something
// changed that it was not told. The last message before silence has no successor that would show
// its loss; the sender repeats its number in a few tails.
package note

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Limits of one message. A sender that has more to say sends several, or says "everything".
const (
	MaxKeys  = 512
	MaxBytes = 64 << 10
)

// Kind is what a note says.
type Kind byte

// The kinds.
const (
	Keys Kind = 'K'
	All  Kind = 'A'
	Tail Kind = 'T'
)

const (
	version  = 1
	originAt = 4
	seqAt    = 20
)

// Origin identifies a sender; no two have the same, not even one before and after a restart.
type Origin [16]byte

// Note is one message.
type Note struct {
	Kind      Kind
	Origin    Origin
	Seq       uint64
	Namespace string
	Keys      []string
}

// Append encodes n. It does not look at the limits: see [Split].
func Append(dst []byte, n Note) []byte {
	dst = append(dst, 0, 'I', version, byte(n.Kind))
	dst = append(dst, n.Origin[:]...)
	dst = binary.AppendUvarint(dst, n.Seq)
	dst = appendString(dst, n.Namespace)
	dst = binary.AppendUvarint(dst, uint64(len(n.Keys)))
	for _, k := range n.Keys {
		dst = appendString(dst, k)
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// errForeign: bytes that are no note of this version, or a damaged one.
var errForeign = errors.New("a message that cannot be read")

// Parse decodes a message. It accepts what Append makes and nothing else; the error says where
// it stopped.
func Parse(p string) (Note, error) {
	var n Note
	if len(p) > MaxBytes+MaxKeys*binary.MaxVarintLen32+64 {
		return n, fmt.Errorf("%w: %d bytes", errForeign, len(p))
	}
	if len(p) < seqAt || p[0] != 0 || p[1] != 'I' || p[2] != version {
		return n, fmt.Errorf("%w: no header of version %d", errForeign, version)
	}
	n.Kind = Kind(p[3])
	copy(n.Origin[:], p[originAt:])
	r := reader{rest: p[seqAt:]}
	n.Seq = r.number()
	n.Namespace = r.text()
	count := r.number()
	switch {
	case r.bad || n.Seq == 0 || count > MaxKeys:
		return n, fmt.Errorf("%w: numbers", errForeign)
	case (n.Kind != Keys && n.Kind != All && n.Kind != Tail) || (n.Kind == Keys) != (count > 0):
		return n, fmt.Errorf("%w: kind %q with %d keys", errForeign, byte(n.Kind), count)
	}
	for range count {
		n.Keys = append(n.Keys, r.text())
	}
	if r.bad || r.rest != "" {
		return n, fmt.Errorf("%w: keys", errForeign)
	}
	return n, nil
}

// reader takes fields off the front; bad once one is not there.
type reader struct {
	rest string
	bad  bool
}

func (r *reader) number() uint64 {
	var v uint64
	for i := range min(len(r.rest), binary.MaxVarintLen64) {
		b := r.rest[i]
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if i > 0 && b == 0 || i == binary.MaxVarintLen64-1 && b > 1 {
				break // not the shortest form, or beyond 64 bits
			}
			r.rest = r.rest[i+1:]
			return v
		}
	}
	r.bad = true
	return 0
}

func (r *reader) text() string {
	n := r.number()
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

// Split cuts keys into lists that fit one message each. ok is false if a key does not fit at all.
func Split(keys []string) (lists [][]string, ok bool) {
	start, size := 0, 0
	for i, k := range keys {
		if len(k) > MaxBytes {
			return nil, false
		}
		if i-start == MaxKeys || size+len(k) > MaxBytes {
			lists = append(lists, keys[start:i])
			start, size = i, 0
		}
		size += len(k)
	}
	if start < len(keys) {
		lists = append(lists, keys[start:])
	}
	return lists, true
}
