package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/tier"
)

const (
	processes  = 4
	perProcess = 4
	key        = "contested"
	namespace  = "race"
	patience   = 5 * time.Second // for a call: on a machine with more writers than cores
)

// race plays rounds one way on one kind of server.
func race(source, kind, way string, rounds int) (o outcome, err error) {
	o = outcome{Server: kind, Way: way, Rounds: rounds}
	srv, err := start(kind)
	if err != nil {
		return o, err
	}
	defer srv.Close()
	store, shut, err := connect(kind, srv.Addr())
	if err != nil {
		return o, err
	}
	defer shut()
	view, err := tier.New(config(kind, store))
	if err != nil {
		return o, err
	}
	defer view.Close(context.Background())
	client := dial(source)
	defer client.Close()

	var team []*worker
	defer func() {
		for _, w := range team {
			err = errors.Join(err, w.stop())
		}
	}()
	for range processes {
		w, err := hire(part{Source: source, Kind: kind, Addr: srv.Addr(), Way: way})
		if err != nil {
			return o, err
		}
		team = append(team, w)
	}
	for round := range rounds {
		if err := play(team, round, &o); err != nil {
			return o, err
		}
		if err := compare(view, client, &o); err != nil {
			return o, fmt.Errorf("round %d: %w", round, err)
		}
	}
	o.Share = float64(o.Wrong) / float64(rounds)
	return o, nil
}

// play lets everybody write at the same time, and waits for all.
func play(team []*worker, round int, o *outcome) error {
	for _, w := range team {
		if _, err := fmt.Fprintln(w.in, round); err != nil {
			return err
		}
	}
	for _, w := range team {
		if !w.out.Scan() {
			return errors.New("a process has ended")
		}
		n, err := strconv.Atoi(w.out.Text())
		if err != nil {
			return err
		}
		o.Errors += n
	}
	return nil
}

// compare looks at what the round has left behind.
func compare(view *tier.Cache[string], source *goredis.Client, o *outcome) error {
	ctx := context.Background()
	is, err := source.Get(ctx, sourceKey).Result()
	if err != nil {
		return err
	}
	switch v, err := view.Get(ctx, key); {
	case errors.Is(err, tier.ErrMiss):
		o.Empty++
	case err != nil:
		return err
	case v != is:
		o.Wrong++
	}
	return nil
}

// worker is a child process.
type worker struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func hire(p part) (*worker, error) {
	order, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	w := &worker{cmd: exec.Command(os.Args[0])}
	w.cmd.Env = append(os.Environ(), childEnv+"="+string(order))
	w.cmd.Stderr = os.Stderr
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.out = bufio.NewScanner(out)
	return w, w.cmd.Start()
}

// stop ends the child: it ends with its input.
func (w *worker) stop() error {
	_ = w.in.Close()
	return w.cmd.Wait()
}

func start(kind string) (*servers.Server, error) {
	o := servers.Options{MustBeReal: true}
	if kind == "redis" {
		return servers.StartRedis(o)
	}
	return servers.StartMemcached(o)
}

// dial is a client that waits as long as everybody here does.
func dial(addr string) *goredis.Client {
	o := redis.Options(addr)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = patience, patience, patience, patience
	return goredis.NewClient(o)
}

func connect(kind, addr string) (backends.Store, func(), error) {
	if kind == "redis" {
		c := dial(addr)
		s, err := redis.New(c, redis.Config{})
		return s, func() { _ = c.Close() }, err
	}
	s, err := memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: addr}}, Timeout: patience})
	if err != nil {
		return nil, nil, err
	}
	return s, func() { _ = s.Close() }, nil
}

// config is a cache without L1: the question is what the shared tier holds.
func config(kind string, s backends.Store) tier.Config[string] {
	return tier.Config[string]{
		Namespace: namespace,
		Local:     tier.Local[string]{Disabled: true},
		Remotes:   []tier.Remote{{Name: kind, Store: s, Timeout: patience}},
	}
}
