//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/internal/servers"
)

// event is something that happens to the servers while the hammer runs.
type event struct {
	name   string
	bound  time.Duration // of staleness while it happens
	breaks bool          // connections, so that every link must have been seen down
	loses  bool          // writes, from here on
	first  func() error  // what breaks, or moves
	then   func() error  // what comes after the links were seen down
}

// outage is how long a restarted server is away.
const outage = time.Second

// nodeTimeout is how long a node of a cluster must be silent before its replica takes over.
const nodeTimeout = "1500"

// restart is a Redis that is killed and comes back empty.
func restart(f *farm, p plan) error {
	s, err := servers.StartRedis(servers.Options{MustBeReal: true})
	if err != nil {
		return err
	}
	f.closers, f.order.Redis = append(f.closers, s), []string{s.Addr()}
	f.events = []event{{
		name: "restart", bound: p.DeadAfter + p.Ping, breaks: true, loses: true,
		first: s.Kill,
		then: func() error {
			time.Sleep(outage)
			return s.Start()
		},
	}}
	return nil
}

// sentinel is a master that is killed, and a Sentinel that makes its replica the master.
func sentinel(f *farm, p plan) error {
	s, err := servers.StartSentinel(servers.Options{MustBeReal: true})
	if err != nil {
		return err
	}
	f.closers, f.order.Master, f.order.Redis = append(f.closers, s), s.Name, []string{s.Watcher.Addr()}
	f.events = []event{{
		name: "sentinel", bound: p.DeadAfter + p.Ping, breaks: true, loses: true,
		first: s.Master.Kill,
		then: func() error {
			if err := promoted(s.Replica.Addr()); err != nil {
				return err
			}
			return s.Master.Start() // as whatever the Sentinel makes of it
		},
	}}
	return nil
}

// cluster is three masters and a replica of the last. First slots move, to another master and to
// one that had none; then the last master is killed.
func cluster(f *farm, p plan) error {
	o := servers.Options{MustBeReal: true, Args: []string{"--cluster-node-timeout", nodeTimeout}}
	c, err := servers.StartRedisCluster(3, o)
	if err != nil {
		return err
	}
	f.closers, f.order.Redis = append(f.closers, c), c.Addrs()
	victim := c.Nodes()[2]
	added, err := c.Grow(2, o)
	if err != nil {
		return err
	}
	replica, empty := added[0], added[1]
	if err := c.Follow(replica, victim); err != nil {
		return err
	}
	f.events = []event{{
		name: "slot-move", bound: tolerance,
		first: func() error { return move(c.Addrs()[:3], c.Addrs()[1]) },
		then:  func() error { return move(c.Addrs()[:3], empty.Addr()) },
	}, {
		name: "cluster-kill", bound: p.DeadAfter + p.Ping, breaks: true, loses: true,
		first: victim.Kill,
		then: func() error {
			if err := promoted(replica.Addr()); err != nil {
				return err
			}
			return victim.Start() // as a replica of the one that followed it
		},
	}}
	return nil
}

// promoted waits until the Redis at addr is a master.
func promoted(addr string) error {
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if role, err := c.Do(ctx, "ROLE").Slice(); err == nil && len(role) > 0 && role[0] == "master" {
			return nil
		}
	}
	return fmt.Errorf("%s was not made a master within a minute", addr)
}

// moving is how many slots with keys in them move.
const moving = 4

// move gives some slots that have keys in them to the node at to, keys first, the way
// redis-cli --cluster reshard does.
func move(masters []string, to string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	nodes := map[string]*goredis.Client{}
	for _, addr := range append(masters, to) {
		if nodes[addr] == nil {
			nodes[addr] = goredis.NewClient(&goredis.Options{Addr: addr, MaxRetries: -1})
			defer nodes[addr].Close()
		}
	}
	moved := 0
	for k := 0; k < keys && moved < moving; k++ {
		from, slot, err := ownerOf(ctx, nodes[to], namespace+":"+keyName(k))
		if err != nil {
			return err
		}
		if from == to || nodes[from] == nil {
			continue
		}
		if err := moveSlot(ctx, nodes, slot, from, to); err != nil {
			return fmt.Errorf("slot %d from %s to %s: %w", slot, from, to, err)
		}
		moved++
		time.Sleep(50 * time.Millisecond) // one after the other, under load
	}
	if moved == 0 {
		return errors.New("no slot could be moved")
	}
	return nil
}

// ownerOf says who has the slot of key, by the word of one node.
func ownerOf(ctx context.Context, c *goredis.Client, key string) (addr string, slot int64, err error) {
	if slot, err = c.ClusterKeySlot(ctx, key).Result(); err != nil {
		return "", 0, err
	}
	//lint:ignore SA1019 works with every release that has clusters
	ranges, err := c.ClusterSlots(ctx).Result()
	for _, r := range ranges {
		if int64(r.Start) <= slot && slot <= int64(r.End) && len(r.Nodes) > 0 {
			return r.Nodes[0].Addr, slot, nil
		}
	}
	return "", slot, errors.Join(err, fmt.Errorf("nobody has slot %d", slot))
}

func moveSlot(ctx context.Context, nodes map[string]*goredis.Client, slot int64, from, to string) error {
	source, err := nodes[from].ClusterMyID(ctx).Result()
	if err != nil {
		return err
	}
	target, err := nodes[to].ClusterMyID(ctx).Result()
	if err != nil {
		return err
	}
	setSlot := func(at, state, id string) error {
		return nodes[at].Do(ctx, "CLUSTER", "SETSLOT", slot, state, id).Err()
	}
	if err := errors.Join(setSlot(to, "IMPORTING", source), setSlot(from, "MIGRATING", target)); err != nil {
		return err
	}
	host, port, _ := strings.Cut(to, ":")
	for {
		names, err := nodes[from].ClusterGetKeysInSlot(ctx, int(slot), 10).Result()
		if err != nil {
			return err
		}
		if len(names) == 0 {
			break
		}
		args := []any{"MIGRATE", host, port, "", 0, strconv.Itoa(5000), "REPLACE", "KEYS"}
		for _, n := range names {
			args = append(args, n)
		}
		if err := nodes[from].Do(ctx, args...).Err(); err != nil {
			return err
		}
	}
	return errors.Join(setSlot(to, "NODE", target), setSlot(from, "NODE", target))
}
