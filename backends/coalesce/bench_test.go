package coalesce

import (
	"context"
	"fmt"
	"testing"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// BenchmarkGet compares a store with itself behind this package.
func BenchmarkGet(b *testing.B) {
	for name, inner := range map[string]backends.Store{
		"redis": onRedis(b), "memcached": onMemcached(b, serverstest.Memcached(b).Addr(), memcached.Gomemcache),
	} {
		keys := make([]string, 1000)
		for i := range keys {
			keys[i] = fmt.Sprintf("user:%011d", i)
			if err := inner.Set(context.Background(), keys[i], backends.Item{Value: make([]byte, 108)}); err != nil {
				b.Fatal(err)
			}
		}
		for _, callers := range []int{1, 64, 256} {
			for kind, s := range map[string]backends.Store{"bare": inner, "coalesced": wrap(b, inner, Config{})} {
				b.Run(fmt.Sprintf("%s/%d/%s", name, callers, kind), func(b *testing.B) {
					b.ReportAllocs()
					if callers > 1 {
						b.SetParallelism(callers / 2)
					}
					get := func(i int) {
						if _, err := s.Get(context.Background(), keys[i%len(keys)]); err != nil {
							b.Error(err)
						}
					}
					if callers == 1 {
						for i := range b.N {
							get(i)
						}
						return
					}
					b.RunParallel(func(pb *testing.PB) {
						for i := 0; pb.Next(); i++ {
							get(i)
						}
					})
				})
			}
		}
	}
}
