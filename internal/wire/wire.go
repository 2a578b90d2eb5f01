// Package wire holds the few bytes that codec and the drivers must agree on: how a value says
// that it is a frame, a lease or a tombstone, and where its version is.
//
// Every value of hearth begins with a zero byte, which no JSON, text, msgpack map or decimal
// number begins with, and a kind. Frames and tombstones keep the version of the record at the
// same offset, big-endian, so that a script on the server can compare without knowing the rest:
//
//	offset  size  frame and tombstone      lease
//	0       1     0x00                     0x00
//	1       1     'F' or 'T'               'L'
//	2       1     format version (1)       token, 16 bytes, unique per acquisition
//	3       1     flags
//	4       8     version of the record
package wire

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
)

// Kind says what a stored value is.
type Kind byte

// The kinds. Foreign is everything that hearth did not write.
const (
	Foreign   Kind = 0
	Frame     Kind = 'F'
	Lease     Kind = 'L'
	Tombstone Kind = 'T'
)

// Sizes and offsets, in bytes.
const (
	Magic         = 0x00
	FormatVersion = 1
	VersionOffset = 4
	LeaseLen      = 18
	TombstoneLen  = 12
	HeadLen       = 12 // what a frame and a tombstone share
)

// KindOf tells what v is. A lease or tombstone of the wrong length is Foreign.
func KindOf(v []byte) Kind {
	if len(v) < 2 || v[0] != Magic {
		return Foreign
	}
	switch k := Kind(v[1]); {
	case k == Lease && len(v) == LeaseLen, k == Tombstone && len(v) == TombstoneLen, k == Frame && len(v) >= HeadLen:
		return k
	}
	return Foreign
}

// VersionOf returns the version of the record that v carries; 0 if it has none.
func VersionOf(v []byte) uint64 {
	switch KindOf(v) {
	case Frame, Tombstone:
		return binary.BigEndian.Uint64(v[VersionOffset:])
	}
	return 0
}

// NewTombstone returns a tombstone for the given version.
func NewTombstone(version uint64) []byte {
	b := make([]byte, TombstoneLen)
	b[0], b[1], b[2] = Magic, byte(Tombstone), FormatVersion
	binary.BigEndian.PutUint64(b[VersionOffset:], version)
	return b
}

// process and sequence make lease tokens unique: per process at random, then counted. A counter
// cannot repeat within a process, whatever the random source does.
var (
	process  = func() (p [8]byte) { rand.Read(p[:]); return }()
	sequence atomic.Uint64
)

// NewLease returns a fresh lease placeholder; no two are ever equal.
func NewLease() []byte {
	b := make([]byte, LeaseLen)
	b[0], b[1] = Magic, byte(Lease)
	copy(b[2:10], process[:])
	binary.BigEndian.PutUint64(b[10:], sequence.Add(1))
	return b
}
