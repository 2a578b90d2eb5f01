package memcached

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
)

// maxKey is the longest key that memcached takes.
const maxKey = 250

// What memcached cannot hold as a key is kept under the hash of it. Such wire keys have a shape
// of their own: '#', a letter for their purpose and a SHA-256 in base64. A user's key that has
// this very shape is hashed too, so the mapping from keys to wire keys has no collisions other
// than those of SHA-256.
const (
	shapeMark = '#'
	shapeLen  = 2 + 43

	asHash    = 'H' // a user's key
	asLease   = 'L' // beside a user's key: its lease or tombstone (see Separate)
	asRefresh = 'R' // beside a user's key: the right to refresh it
)

// legal reports whether s may stand in a memcached command as (part of) a key. Bytes above 0x7f
// are allowed, as every client and server has it: fleets filled by others hold such keys.
func legal(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// place is where a key lives.
type place struct {
	wire   string // as the server is asked
	key    string // as the user has it
	server int
	hashed bool
}

// place finds the server and the wire key of key, which is not empty.
func (s *Store) place(key string) place {
	p := place{key: key}
	if plain(s.prefix, key) {
		p.wire = s.prefix + key
	} else {
		p.wire, p.hashed = s.prefix+shape(asHash, key), true
	}
	p.server = s.router.pick(p.wire)
	return p
}

// beside returns the wire key of something kept beside p; it belongs on p's server.
func (s *Store) beside(p place, purpose byte) string {
	return s.prefix + shape(purpose, p.key)
}

// shape returns the hashed form of key for a purpose.
func shape(purpose byte, key string) string {
	sum := sha256.Sum256([]byte(key))
	var b [shapeLen]byte
	b[0], b[1] = shapeMark, purpose
	base64.RawURLEncoding.Encode(b[2:], sum[:])
	return string(b[:])
}

// shaped reports whether key looks like what shape returns.
func shaped(key string) bool {
	if len(key) != shapeLen || key[0] != shapeMark {
		return false
	}
	switch key[1] {
	case asHash, asLease, asRefresh:
	default:
		return false
	}
	for i := 2; i < len(key); i++ {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// A value under a hashed key begins with a label that names the key it belongs to, so that a
// value of another key can never be taken for it, and so that Scan can tell the key. Keys too
// long for that are named by a second, independent hash. Counters stay bare: the server must be
// able to count them.
//
//	0x00 'K' len(2, big-endian) key...      a key of up to labelMax bytes
//	0x00 'k' SHA-512/256 of the key (32)    a longer one
const labelMax = 512

// label puts the label of p in front of v if p is hashed.
func (p place) label(v []byte) []byte {
	if !p.hashed || isCounter(v) {
		return v
	}
	b := make([]byte, 0, 4+min(len(p.key), labelMax)+len(v))
	if len(p.key) > labelMax {
		sum := sha512.Sum512_256([]byte(p.key))
		b = append(append(b, 0, 'k'), sum[:]...)
	} else {
		b = append(b, 0, 'K')
		b = binary.BigEndian.AppendUint16(b, uint16(len(p.key)))
		b = append(b, p.key...)
	}
	return append(b, v...)
}

// unlabel takes the label off; ok is false for a value that is not p's.
func (p place) unlabel(v []byte) (_ []byte, ok bool) {
	if !p.hashed {
		return v, true
	}
	if isCounter(v) {
		return v, true
	}
	if len(p.key) > labelMax {
		sum := sha512.Sum512_256([]byte(p.key))
		rest, ok := bytes.CutPrefix(v, []byte{0, 'k'})
		if !ok {
			return nil, false
		}
		return bytes.CutPrefix(rest, sum[:])
	}
	key, rest, ok := labelled(v)
	if !ok || key != p.key {
		return nil, false
	}
	return rest, true
}

// labelled returns the key that v is labelled with and what follows.
func labelled(v []byte) (key string, rest []byte, ok bool) {
	if len(v) < 4 || v[0] != 0 || v[1] != 'K' {
		return "", nil, false
	}
	n := int(binary.BigEndian.Uint16(v[2:]))
	if len(v) < 4+n {
		return "", nil, false
	}
	return string(v[4 : 4+n]), v[4+n:], true
}

// isCounter reports whether v is what the server can count: up to 20 digits, perhaps padded with
// blanks, which is what decr leaves where digits were.
func isCounter(v []byte) bool {
	v = bytes.TrimRight(v, " ")
	if len(v) == 0 || len(v) > 20 {
		return false
	}
	for _, c := range v {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// trimCounter takes off the blanks that decr leaves behind a number. (A counter of 100 that
// drops to 5 is kept as "5  ".)
func trimCounter(v []byte) []byte {
	if n := len(v); n == 0 || n > 20 || v[n-1] != ' ' || !isCounter(v) {
		return v
	}
	return bytes.TrimRight(v, " ")
}
