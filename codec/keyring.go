package codec

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
)

// sealLen is what encryption adds to a payload: a nonce of 12 bytes and a tag of 16.
const sealLen = 28

// KeyRing holds the keys for encrypting values with AES-256-GCM. One is used for writing, all
// for reading. To rotate: add the new key everywhere, then make it current everywhere, then take
// the old one out when the longest TTL has passed. A ring never changes and is safe for
// concurrent use.
//
// Nonces are random, so a key should not write more than 2^32 values: rotate in time.
type KeyRing struct {
	current byte
	aeads   [256]cipher.AEAD
	count   int
}

// NewKeyRing makes a ring of keys by id. Ids are 1 to 255, keys are 32 bytes, and current is the
// id of the one to write with.
func NewKeyRing(current byte, keys map[byte][]byte) (*KeyRing, error) {
	r := &KeyRing{current: current, count: len(keys)}
	for id, key := range keys {
		if id == 0 {
			return nil, fmt.Errorf("codec: key id 0 means not encrypted; ids are 1 to 255")
		}
		if len(key) != 32 {
			return nil, fmt.Errorf("codec: key %d has %d bytes; AES-256 needs 32", id, len(key))
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("codec: key %d: %w", id, err)
		}
		if r.aeads[id], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, fmt.Errorf("codec: key %d: %w", id, err)
		}
	}
	if current == 0 || r.aeads[current] == nil {
		return nil, fmt.Errorf("codec: current key %d is not in the ring", current)
	}
	return r, nil
}

// String tells ids, never keys.
func (r *KeyRing) String() string {
	return fmt.Sprintf("codec.KeyRing(writes with key %d of %d)", r.current, r.count)
}

// GoString is String, so that %#v prints no key material either.
func (r *KeyRing) GoString() string { return r.String() }
