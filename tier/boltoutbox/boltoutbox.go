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
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Log is a [github.com/hearthcache/hearth/tier.OutboxLog] in one file. Make one with [Open].
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

// Owe notes that tier owes an invalidation of keys. When it returns nil, the file has it.
func (l *Log) Owe(tier string, keys []string) error {
	return l.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(tier))
		if err != nil {
			return err
		}
		for _, k := range keys {
			if err := b.Put([]byte(k), []byte{}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Settle notes that tier has forgotten keys.
func (l *Log) Settle(tier string, keys []string) error {
	return l.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(tier))
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

// Owed returns the keys whose invalidation tier owes.
func (l *Log) Owed(tier string) (keys []string, err error) {
	err = l.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(tier))
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, _ []byte) error {
			keys = append(keys, string(k))
			return nil
		})
	})
	return keys, err
}
