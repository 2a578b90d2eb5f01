// Command writethrough keeps the stock of a shop in an embedded database (bbolt) behind a cache.
// Every change goes through the cache's Writer into the database first; the database has the last
// word and refuses what would put stock below zero.
//
//	go run ./examples/writethrough                    # a Redis of its own, or a stand-in
//	go run ./examples/writethrough -addr localhost:6379
//
// It shows each outcome a write can have: taken, refused, failed because the database is not asked
// any more, and unknown because it did not answer in time. After each one cache and database are
// compared. Then two services, each with its own L1, change one record at the same time, over and
// over: the cache never keeps a value that the database does not have.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writethrough"
)

// Item is a record: how many there are, and what one costs.
type Item struct {
	Stock int
	Cents int
}

func main() {
	addr := flag.String("addr", "", "host:port of a Redis to use; without it one is started")
	path := flag.String("db", "", "file of the database; without it a temporary one")
	rounds := flag.Int("rounds", 100, "how often two services change one record at the same time")
	flag.Parse()
	if err := run(os.Stdout, *addr, *path, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "writethrough:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, addr, path string, rounds int) error {
	if path == "" {
		dir, err := os.MkdirTemp("", "hearth-writethrough")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		path = filepath.Join(dir, "shop.db")
	}
	kind := "yours"
	if addr == "" {
		srv, err := servers.StartRedis(servers.Options{})
		if err != nil {
			return err
		}
		defer srv.Close()
		addr, kind = srv.Addr(), srv.Kind()
	}
	db, err := openShop(path)
	if err != nil {
		return err
	}
	defer db.Close()
	client := goredis.NewClient(redis.Options(addr))
	defer client.Close()
	store, err := redis.New(client, redis.Config{})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "database: bbolt, cache: L1 over Redis (%s)\n\n", kind)
	if err := outcomes(out, db, store); err != nil {
		return err
	}
	return compete(out, db, store, rounds)
}

// service is one process that sells things: a cache of its own before the common database.
type service struct {
	*tier.Cache[Item]
	writer *writethrough.Writer[Item]
}

func newService(db *shop, store backends.Store) (*service, error) {
	w, err := writethrough.New(writethrough.Config[Item]{
		Sink:     db,
		Name:     "shop.db",
		Timeout:  200 * time.Millisecond,
		MaxBatch: 100, // one transaction for what comes while another one is being synced
		Breaker:  tier.Breaker{MinCalls: 5, Timeouts: 3, OpenFor: 200 * time.Millisecond},
	})
	if err != nil {
		return nil, err
	}
	c, err := tier.New(tier.Config[Item]{
		Namespace: "hearth-example-shop",
		Remotes:   []tier.Remote{{Name: "redis", Store: store, Timeout: 2 * time.Second}},
		Local:     tier.Local[Item]{TTL: 50 * time.Millisecond}, // nobody tells one L1 of the other's writes here
		Loader:    db,
		Writer:    w,
	})
	if err != nil {
		w.Close()
		return nil, err
	}
	return &service{c, w}, nil
}

func (s *service) close() {
	_ = s.Cache.Close(context.Background())
	s.writer.Close()
}
