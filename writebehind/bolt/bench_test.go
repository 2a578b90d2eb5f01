package bolt_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/bolt"
	"go.etcd.io/bbolt"
)

// BenchmarkAccept compares durable writes of 200 bytes by 64 writers with plain bbolt.
func BenchmarkAccept(b *testing.B) {
	value := make([]byte, 200)
	b.Run("bbolt.Batch", func(b *testing.B) {
		db, err := bbolt.Open(filepath.Join(b.TempDir(), "db"), 0o600, nil)
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		db.MaxBatchDelay = 2 * time.Millisecond
		db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("b")); return err })
		writers(b, func(n int) error {
			return db.Batch(func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte("b")).Put(fmt.Appendf(nil, "key-%d", n%100_000), value)
			})
		})
	})
	b.Run("writebehind", func(b *testing.B) {
		j, err := bolt.Open(bolt.Config{Path: filepath.Join(b.TempDir(), "j")})
		if err != nil {
			b.Fatal(err)
		}
		w, err := writebehind.New(writebehind.Config[[]byte]{
			Journal: j,
			Sink:    writebehind.SinkFunc[[]byte](func(context.Context, []writebehind.Op[[]byte]) error { return nil }),
		})
		if err != nil {
			b.Fatal(err)
		}
		defer w.Close(context.Background())
		writers(b, func(n int) error {
			return w.Write(context.Background(), []tier.Mutation[[]byte]{{Key: fmt.Sprintf("key-%d", n%100_000), Value: value}})
		})
		b.ReportMetric(float64(b.N)/float64(w.Stats().Commits), "writes/commit")
	})
}

func writers(b *testing.B, write func(n int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range 64 {
		wg.Go(func() {
			for {
				n := int(next.Add(1))
				if n > b.N {
					return
				}
				if err := write(n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}
