package main

import (
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/servers"
)

var scenarioNames = []string{"memcached-redis", "redis-memcached", "resize"}

// site is the two stores of a migration, on servers of their own.
type site struct {
	old, new         backends.Store
	swapped          backends.Store // what a cold swap changes to
	oldName, newName string
	kind             string // servers.Real only if all are
	closers          []func() error
}

// patience is how long a server may take. A cache in production would wait a fraction of it;
// here a busy machine must not look like a broken server.
const patience = 3 * time.Second

// openSite starts the servers of a scenario, all of them empty.
func openSite(o options) (*site, error) {
	s := &site{kind: servers.Real}
	err := s.open(o)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	if s.swapped == nil {
		s.swapped = s.new
	}
	return s, nil
}

func (s *site) open(o options) (err error) {
	switch o.scenario {
	case "redis-memcached":
		s.oldName, s.newName = "Redis", "memcached"
		if s.old, err = s.redis(o); err != nil {
			return err
		}
		s.new, err = s.memcached(o, 1)
		return err
	case "resize":
		return s.resize(o)
	}
	s.oldName, s.newName = "memcached", "Redis"
	if s.old, err = s.memcached(o, 1); err != nil {
		return err
	}
	s.new, err = s.redis(o)
	return err
}

// resize is one fleet with two lists of its servers: three of them, chosen as gomemcache does,
// and all five on a ring. A key that both lists send to the same server would be one entry to
// them: what is deleted in one would be lost to the other. So the migration keeps its copies
// under a prefix; whoever just changes the list does not.
func (s *site) resize(o options) error {
	s.oldName, s.newName = "3 memcached", "5 memcached"
	list, err := s.startMemcached(o, 5)
	if err != nil {
		return err
	}
	if s.old, err = s.fleet(o, list[:3], memcached.Modulo, ""); err != nil {
		return err
	}
	if s.swapped, err = s.fleet(o, list, memcached.Ketama, ""); err != nil {
		return err
	}
	s.new, err = s.fleet(o, list, memcached.Ketama, "five:")
	return err
}

// close stops everything.
func (s *site) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// started notes a server that has to be stopped.
func (s *site) started(srv *servers.Server) {
	s.closers = append(s.closers, srv.Close)
	if srv.Kind() != servers.Real {
		s.kind = servers.Embedded
	}
}

func (s *site) redis(o options) (backends.Store, error) {
	srv, err := servers.StartRedis(servers.Options{Embedded: o.embedded})
	if err != nil {
		return nil, fmt.Errorf("start a Redis: %w", err)
	}
	s.started(srv)
	settings := redis.Options(srv.Addr())
	settings.DialTimeout, settings.ReadTimeout, settings.WriteTimeout, settings.PoolTimeout = patience, patience, patience, patience
	settings.PoolSize = 2 * o.workers
	client := goredis.NewClient(settings)
	s.closers = append(s.closers, client.Close)
	store, err := redis.New(client, redis.Config{})
	if err != nil {
		return nil, fmt.Errorf("open the Redis: %w", err)
	}
	return store, nil
}

func (s *site) memcached(o options, n int) (backends.Store, error) {
	list, err := s.startMemcached(o, n)
	if err != nil {
		return nil, err
	}
	return s.fleet(o, list, memcached.Rendezvous, "")
}

func (s *site) startMemcached(o options, n int) ([]memcached.Server, error) {
	var list []memcached.Server
	for range n {
		srv, err := servers.StartMemcached(servers.Options{Embedded: o.embedded})
		if err != nil {
			return nil, fmt.Errorf("start a memcached: %w", err)
		}
		s.started(srv)
		list = append(list, memcached.Server{Addr: srv.Addr()})
	}
	return list, nil
}

func (s *site) fleet(o options, list []memcached.Server, r memcached.Router, prefix string) (backends.Store, error) {
	store, err := memcached.New(memcached.Config{Servers: list, Router: r, Prefix: prefix, Timeout: patience, MaxIdleConns: 2 * o.workers})
	if err != nil {
		return nil, fmt.Errorf("open the memcached: %w", err)
	}
	s.closers = append(s.closers, store.Close)
	return store, nil
}
