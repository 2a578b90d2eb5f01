package redis

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"unsafe"

	"github.com/hearthcache/hearth/backends"
)

// hashAbove is the size of a value, in bytes, above which its SHA-1 is compared instead of its
// bytes, so that the old value need not travel again. The server hashes some 250 MB/s, during
// which it serves nobody; receiving the same bytes costs it a tenth of that. So the bytes are
// the better deal until they would fill the network's buffers.
const hashAbove = 64 << 10

// Add implements [backends.CASer] by a script: one round trip.
func (s *Store) Add(ctx context.Context, key string, it backends.Item) error {
	if err := check(ctx, key, it); err != nil {
		return err
	}
	code, err := s.decide(ctx, scriptAdd, s.keys(key), it.Value, millis(it.TTL))
	switch {
	case err != nil:
		return err
	case code == occupied:
		return backends.ErrExists
	case code == heldOff:
		return backends.ErrHeldOff
	}
	return nil
}

// CompareAndSwap implements [backends.CASer] by a script: one round trip. A version is its
// bytes: values that are equal are the same version. (A frame of hearth differs from every
// other by the time it was made.) Above 64 KiB they are compared by SHA-1.
func (s *Store) CompareAndSwap(ctx context.Context, key string, tok backends.Token, it backends.Item) error {
	if err := check(ctx, key, it); err != nil {
		return err
	}
	how, want, err := expect(tok)
	if err != nil {
		return err
	}
	code, err := s.decide(ctx, scriptSwap, s.keys(key), it.Value, millis(it.TTL), how, want)
	return compared(code, err)
}

// CompareAndDelete implements [backends.CASer] by a script: one round trip.
func (s *Store) CompareAndDelete(ctx context.Context, key string, tok backends.Token) error {
	if err := checkKey(ctx, key); err != nil {
		return err
	}
	how, want, err := expect(tok)
	if err != nil {
		return err
	}
	code, err := s.decide(ctx, scriptRemove, s.keys(key), how, want)
	return compared(code, err)
}

// compared turns the answer of a comparing script into an error.
func compared(code int64, err error) error {
	switch {
	case err != nil:
		return err
	case code == absent:
		return backends.ErrMiss
	case code == differs:
		return backends.ErrConflict
	}
	return nil
}

// expect returns how a script compares with the version tok, and what with.
func expect(tok backends.Token) (how, want string, err error) {
	if _, _, marked := tok.Member(); marked {
		return "", "", backends.ErrBadToken
	}
	v, ok := tok.Value()
	if !ok {
		return "", "", backends.ErrBadToken
	}
	if len(v) <= hashAbove {
		return "", v, nil
	}
	h := sha1.New()
	_, _ = h.Write(bytesOf(v))
	return "sha1", hex.EncodeToString(h.Sum(nil)), nil
}

// bytesOf is v without a copy, to be read only.
func bytesOf(v string) []byte { return unsafe.Slice(unsafe.StringData(v), len(v)) }
