// Command counter is the classic visitor counter: eight processes count visits of one page, all at
// the same time, in a cache that they share. It counts in three ways and shows how many visits are
// missing at the end.
//
//	go run ./examples/counter                       # a server of its own
//	go run ./examples/counter -server memcached
//	go run ./examples/counter -addr localhost:6379  # yours; the keys begin with "visits"
//
// The naive way, read, add one, write, loses what another process has counted in between. Update
// compares before it writes, and begins again if somebody was quicker. Increment lets the server
// count.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/tier"
)

// settings are the same for all processes.
type settings struct {
	Server    string // "redis" or "memcached"
	Addr      string // of a server that is there; "" = start one
	Embedded  bool   // of our own the stand-in inside the first process
	Processes int
	Visits    int // that each process counts
}

func main() {
	if os.Getenv(childEnv) != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, "counter: process", os.Getpid(), err)
			os.Exit(1)
		}
		return
	}
	var s settings
	flag.StringVar(&s.Server, "server", "redis", "redis or memcached")
	flag.StringVar(&s.Addr, "addr", "", "host:port of a server to use; without it one is started")
	flag.BoolVar(&s.Embedded, "embedded", false, "start the server inside this program, even if a real one is installed")
	flag.IntVar(&s.Processes, "processes", 8, "processes that count")
	flag.IntVar(&s.Visits, "visits", 250, "visits that each process counts, in each way")
	flag.Parse()
	if err := run(os.Stdout, s); err != nil {
		fmt.Fprintln(os.Stderr, "counter:", err)
		os.Exit(1)
	}
}

// run counts in every way and prints a table. It fails if a way lost visits that must not.
func run(out io.Writer, s settings) error {
	kind := "yours"
	if s.Addr == "" {
		srv, err := start(s)
		if err != nil {
			return err
		}
		defer srv.Close()
		s.Addr, kind = srv.Addr(), srv.Kind()
	}
	c, shut, err := open(s)
	if err != nil {
		return err
	}
	defer shut()
	fmt.Fprintf(out, "%d processes count %d visits each, in one %s (%s)\n\n", s.Processes, s.Visits, s.Server, kind)
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "way\tvisits\tcounted\tlost\tseconds\t")
	var bad error
	for _, way := range ways {
		if err := c.Invalidate(context.Background(), way.key()); err != nil {
			return err
		}
		began := time.Now()
		if err := compete(s, way.name); err != nil {
			return err
		}
		took := time.Since(began)
		n, err := c.Get(context.Background(), way.key())
		if err != nil {
			return err
		}
		all := s.Processes * s.Visits
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%.2f\t\n", way.name, all, n, all-n, took.Seconds())
		if way.exact && n != all {
			bad = errors.Join(bad, fmt.Errorf("%s counted %d of %d visits", way.name, n, all))
		}
	}
	return errors.Join(table.Flush(), bad)
}

func start(s settings) (*servers.Server, error) {
	o := servers.Options{Embedded: s.Embedded}
	switch s.Server {
	case "redis":
		return servers.StartRedis(o)
	case "memcached":
		return servers.StartMemcached(o)
	}
	return nil, fmt.Errorf("-server %q is neither redis nor memcached", s.Server)
}

// open makes a cache of numbers over the server. Without an L1, because here everybody changes
// the same key all the time: what is in L1 would be out of date at once.
func open(s settings) (c *tier.Cache[int], shut func(), err error) {
	var store backends.Store
	var hangUp func() error
	switch s.Server {
	case "redis":
		client := goredis.NewClient(redis.Options(s.Addr))
		hangUp = client.Close
		store, err = redis.New(client, redis.Config{})
	case "memcached":
		var m *memcached.Store
		if m, err = memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: s.Addr}}, Timeout: patience}); err == nil {
			store, hangUp = m, m.Close
		}
	default:
		err = fmt.Errorf("-server %q is neither redis nor memcached", s.Server)
	}
	if err != nil {
		return nil, nil, err
	}
	c, err = tier.New(tier.Config[int]{
		Namespace: "visits",
		Local:     tier.Local[int]{Disabled: true},
		Remotes:   []tier.Remote{{Name: s.Server, Store: store, Timeout: patience}},
		TTL:       time.Hour,
	})
	return c, func() {
		_ = c.Close(context.Background())
		_ = hangUp()
	}, err
}

// patience is the timeout of a call: longer than a service would choose, since here more processes
// than cores may want the machine for themselves.
const patience = 2 * time.Second
