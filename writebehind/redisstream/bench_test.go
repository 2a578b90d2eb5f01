package redisstream_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/redisstream"
	"github.com/redis/go-redis/v9"
)

// BenchmarkAccept compares durable writes of 200 bytes by 64 writers with a bare XADD loop, on a
// server that syncs every write.
func BenchmarkAccept(b *testing.B) {
	value := make([]byte, 200)
	server := serverstest.Redis(b, "--appendonly", "yes", "--appendfsync", "always")
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1, PoolSize: 100})
	defer client.Close()
	ctx := context.Background()
	b.Run("XADD", func(b *testing.B) {
		writers(b, func(n int) error {
			return client.XAdd(ctx, &redis.XAddArgs{Stream: fmt.Sprint("bare:", n%8), Values: []any{"k", n, "r", value}}).Err()
		})
	})
	b.Run("writebehind", func(b *testing.B) {
		j, err := redisstream.Open(ctx, redisstream.Config{Client: client, Name: fmt.Sprint("q", b.N)})
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
		defer w.Close(ctx)
		writers(b, func(n int) error {
			return w.Write(ctx, []tier.Mutation[[]byte]{{Key: fmt.Sprintf("key-%d", n%100_000), Value: value}})
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
