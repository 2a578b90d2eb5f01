// Package boltoutbox keeps the invalidations that a cache still owes its tiers in a file, so
// that they outlive a crash of the process.
//
//	log, err := boltoutbox.Open("/var/lib/service/outbox.db")
//	cache, err := tier.New(tier.Config[User]{Outbox: log, ...})
//	...
//	cache.Close(ctx)
//	log.Close()
//
// The file is written only when a tier cannot be reached, one transaction per failed call, and
// once more when what was owed has been delivered.
package boltoutbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/hearthcache/hearth/tier"
)

// Log is a [tier.OutboxLog] in one file. Make one with [Open].
// Safe for concurrent use; several caches of a process may share it if their namespaces and
// tier names differ.
type Log struct{ db *bolt.DB }

// lockTimeout is how long Open waits for another process to let go of the file: a restart
// overlaps for a moment, a second instance does for good.
const lockTimeout = time.Second

// Open opens the file at path, or makes it. A file that another process has open is refused
// with an error that says so. Close the Log after the cache.
func Open(path string) (*Log, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("boltoutbox: %s is in use by another process", path)
	case err != nil:
		return nil, fmt.Errorf("boltoutbox: %s: %w", path, err)
	}
	return &Log{db: db}, nil
}

// Close closes the file.
func (l *Log) Close() error { return l.db.Close() }

// Owe notes that the tier of that name owes invalidations, each in place of what was noted for its key before.
// When it returns nil, the file has them.
func (l *Log) Owe(name string, owed []tier.Owed) error {
	return l.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(name))
		if err != nil {
			return err
		}
		for _, w := range owed {
			if err := b.Put([]byte(w.Key), encode(w)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Settle notes that the tier of that name has forgotten keys.
func (l *Log) Settle(name string, keys []string) error {
	return l.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(name))
		if b == nil {
			return nil
		}
		for _, k := range keys {
			if err := b.Delete([]byte(k)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Owed returns what the tier of that name owes. A damaged order is an error that names its key.
func (l *Log) Owed(name string) (owed []tier.Owed, err error) {
	err = l.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(name))
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			w, err := decode(string(k), v)
			owed = append(owed, w)
			return err
		})
	})
	return owed, err
}

// encode returns what the file holds under an order's key: nothing for a plain invalidation, else
// the hold-off in nanoseconds and the version, as varints.
func encode(w tier.Owed) []byte {
	if w.HoldOff == 0 && w.Version == 0 {
		return []byte{}
	}
	return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(w.HoldOff)), w.Version)
}

func decode(key string, p []byte) (tier.Owed, error) {
	w := tier.Owed{Key: key}
	if len(p) == 0 {
		return w, nil
	}
	hold, n := binary.Uvarint(p)
	if n <= 0 || hold > math.MaxInt64 {
		return w, fmt.Errorf("boltoutbox: damaged order for key %q", key)
	}
	version, m := binary.Uvarint(p[n:])
	if m <= 0 || n+m != len(p) {
		return w, fmt.Errorf("boltoutbox: damaged order for key %q", key)
	}
	w.HoldOff, w.Version = time.Duration(hold), version
	return w, nil
}
