package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/bolt"
	"github.com/hearthcache/hearth/writebehind/redisstream"
	"github.com/redis/go-redis/v9"
	"go.etcd.io/bbolt"
)

// raw keeps values as they are, as the peers do.
type raw struct{}

func (raw) Append(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }
func (raw) Decode(p []byte) ([]byte, error)      { return p, nil }

var value = make([]byte, valueSize)

func keyOf(n int) string { return fmt.Sprintf("key-%d", n%keySpace) }

// takesAll is a source that takes everything at once.
func takesAll(context.Context, []writebehind.Op[[]byte]) error { return nil }

// queue is a writer over j as a contestant.
func queue(j writebehind.Journal) (*writebehind.Writer[[]byte], contestant, error) {
	w, err := writebehind.New(writebehind.Config[[]byte]{
		Journal: j, Codec: raw{}, Sink: writebehind.SinkFunc[[]byte](takesAll),
	})
	if err != nil {
		return nil, contestant{}, err
	}
	ctx := context.Background()
	return w, contestant{
		name: "hearth",
		write: func(n int) error {
			return w.Write(ctx, []tier.Mutation[[]byte]{{Key: keyOf(n), Value: value}})
		},
		rest: func() error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			return w.Flush(ctx)
		},
	}, nil
}

// journal is the level Journal beside plain bbolt.
func journal(p plan) (contest, error) {
	j, err := bolt.Open(bolt.Config{Path: filepath.Join(p.dir, "journal")})
	if err != nil {
		return contest{}, err
	}
	w, hearth, err := queue(j)
	if err != nil {
		return contest{}, err
	}
	defer w.Close(context.Background())
	all := []contestant{hearth}
	for _, tuned := range []bool{true, false} {
		name := "bbolt Batch, as it comes"
		if tuned {
			name = "bbolt Batch, tuned"
		}
		db, err := bbolt.Open(filepath.Join(p.dir, name), 0o600, nil)
		if err != nil {
			return contest{}, err
		}
		defer db.Close()
		if tuned {
			db.MaxBatchSize, db.MaxBatchDelay = writers, 2*time.Millisecond
		}
		bucket := []byte("b")
		if err := db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(bucket); return err }); err != nil {
			return contest{}, err
		}
		all = append(all, contestant{name: name, write: func(n int) error {
			return db.Batch(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put([]byte(keyOf(n)), value) })
		}})
	}
	got, err := compare(p, all)
	if err != nil {
		return contest{}, err
	}
	c := sum(got, "hearth", "bbolt Batch, tuned", "bbolt Batch, as it comes")
	c.PerCommit = perCommit(w)
	return c, nil
}

func perCommit(w *writebehind.Writer[[]byte]) float64 {
	st := w.Stats()
	return round(float64(st.Accepted)/float64(max(st.Commits, 1)), 1)
}

// stream is the level Stream beside a bare XADD loop, on one server that syncs like that.
func stream(p plan, fsync string) (contest, error) {
	server, client, err := startRedis(fsync)
	if err != nil {
		return contest{}, err
	}
	defer server.Close()
	defer client.Close()
	ctx := context.Background()
	j, err := redisstream.Open(ctx, redisstream.Config{Client: client, Name: "q"})
	if err != nil {
		return contest{}, err
	}
	w, hearth, err := queue(j)
	if err != nil {
		return contest{}, err
	}
	defer w.Close(ctx)
	var peers [writers]*redis.Client // a connection each
	for i := range peers {
		peers[i] = dial(server.Addr(), 1)
		defer peers[i].Close()
	}
	var names []string
	for i := range 8 { // as many streams as the queue has partitions
		names = append(names, fmt.Sprintf("bare:%d", i))
	}
	var turn atomic.Int64
	xadd := contestant{name: "XADD", write: func(n int) error {
		c := peers[turn.Add(1)%writers]
		return c.XAdd(ctx, &redis.XAddArgs{Stream: names[n%len(names)], Values: []any{"k", keyOf(n), "r", value}}).Err()
	}}
	xadd.rest = func() error { return client.Del(ctx, names...).Err() }
	got, err := compare(p, []contestant{hearth, xadd})
	if err != nil {
		return contest{}, err
	}
	c := sum(got, "hearth", "XADD")
	c.PerCommit = perCommit(w)
	return c, nil
}

func startRedis(fsync string) (*servers.Server, *redis.Client, error) {
	server, err := servers.StartRedis(servers.Options{MustBeReal: true, Args: []string{"--appendonly", "yes", "--appendfsync", fsync}})
	if err != nil {
		return nil, nil, err
	}
	return server, dial(server.Addr(), writers), nil
}

func dial(addr string, pool int) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1, PoolSize: pool, PoolTimeout: 30 * time.Second,
		ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second,
	})
}
