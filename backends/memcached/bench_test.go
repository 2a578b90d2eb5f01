package memcached

import (
	"context"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

func BenchmarkGet(b *testing.B) {
	s := one(b, Config{})
	ok(b, s.Set(b.Context(), "key", text("a value of some length, as they come")))
	b.Run("gomemcache", func(b *testing.B) {
		c := memcache.New(s.conf.Servers[0].Addr)
		defer c.Close()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Get("key"); err != nil {
				b.Fatal(err)
			}
		}
	})
	get := func(b *testing.B, ctx context.Context) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Get(ctx, "key"); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("background", func(b *testing.B) { get(b, context.Background()) })
	b.Run("deadline", func(b *testing.B) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		get(b, ctx)
	})
}
