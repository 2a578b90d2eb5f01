package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writethrough"
)

// shop is the source of record: one bucket in a bbolt file. It is the cache's Loader and the
// Writer's Sink.
type shop struct {
	db     *bbolt.DB
	pauses atomic.Int64 // how long it takes to answer after its commit, ns
	broken atomic.Bool  // it cannot begin a transaction
}

var bucket = []byte("items")

// errNegative is a rule of the shop.
var errNegative = errors.New("stock below zero")

// errAway stands for a disk that is not there.
var errAway = errors.New("database is away")

func openShop(path string) (*shop, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &shop{db: db}, nil
}

func (s *shop) Close() error { return s.db.Close() }

// Load reads one record.
func (s *shop) Load(_ context.Context, key string) (it Item, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucket).Get([]byte(key))
		if v == nil {
			return tier.ErrMiss
		}
		return json.Unmarshal(v, &it)
	})
	return it, err
}

// Write carries out all of ms in one transaction, or none. What it returns says which: a broken
// rule is refused, a transaction that could not begin has failed, and an error of the commit
// itself leaves open whether it happened.
func (s *shop) Write(_ context.Context, ms []tier.Mutation[Item]) error {
	if s.broken.Load() {
		return writethrough.Failed(errAway)
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		return writethrough.Failed(err)
	}
	for _, m := range ms {
		if err := apply(tx.Bucket(bucket), m); err != nil {
			return errors.Join(writethrough.Refused(err), tx.Rollback())
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	time.Sleep(time.Duration(s.pauses.Load())) // a slow network on the way back
	return nil
}

func apply(b *bbolt.Bucket, m tier.Mutation[Item]) error {
	if m.Delete {
		return b.Delete([]byte(m.Key))
	}
	if m.Value.Stock < 0 {
		return fmt.Errorf("%q: %w", m.Key, errNegative)
	}
	v, err := json.Marshal(m.Value)
	if err != nil {
		return err
	}
	return b.Put([]byte(m.Key), v)
}
