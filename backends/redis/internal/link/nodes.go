package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// Check refuses a client that has no nodes to listen to. who begins the error.
func Check(who string, client goredis.UniversalClient) error {
	switch c := client.(type) {
	case *goredis.Client:
		if c != nil {
			return nil
		}
	case *goredis.ClusterClient:
		if c != nil {
			return nil
		}
	case nil:
	default:
		return fmt.Errorf("%s: cannot listen through a %T; use a *Client or a *ClusterClient", who, client)
	}
	return fmt.Errorf("%s: nil client", who)
}

// Topology is who serves what.
type Topology struct {
	Nodes    map[string]*goredis.Options // masters, by address
	Empty    map[string]*goredis.Options // masters without slots, if one can reach them there
	Replicas map[string]bool             // of the masters, by address
	Slots    string                      // which master has which slots; "" for one server
}

// TopologyOf asks for the masters that client reaches.
func TopologyOf(ctx context.Context, client goredis.UniversalClient) (Topology, error) {
	c, ok := client.(*goredis.ClusterClient)
	if !ok {
		o := client.(*goredis.Client).Options()
		return Topology{Nodes: map[string]*goredis.Options{o.Addr: o}}, nil
	}
	//lint:ignore SA1019 servers before 7.0 do not know the other one, and the client itself uses this
	slots, err := c.ClusterSlots(ctx).Result()
	if err != nil {
		return Topology{}, err
	}
	t := Topology{Nodes: map[string]*goredis.Options{}, Replicas: map[string]bool{}, Slots: describe(slots)}
	var mu sync.Mutex
	err = errors.Join(
		c.ForEachMaster(ctx, func(_ context.Context, m *goredis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			t.Nodes[m.Options().Addr] = m.Options()
			return nil
		}),
		c.ForEachSlave(ctx, func(_ context.Context, r *goredis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			t.Replicas[r.Options().Addr] = true
			return nil
		}),
	)
	if err == nil && len(t.Nodes) == 0 {
		err = errors.New("the cluster has no masters")
	}
	if err != nil {
		return t, err
	}
	all, err := c.ClusterNodes(ctx).Result()
	t.Empty = emptyMasters(all, t.Nodes)
	return t, err
}

// describe writes down which master has which slots, in one order.
func describe(slots []goredis.ClusterSlot) string {
	parts := make([]string, 0, len(slots))
	for _, s := range slots {
		master := "nobody"
		if len(s.Nodes) > 0 {
			master = s.Nodes[0].Addr
		}
		parts = append(parts, fmt.Sprintf("%05d-%05d %s", s.Start, s.End, master))
	}
	slices.Sort(parts)
	return strings.Join(parts, "\n")
}

// NodeOf returns the server that has key.
func NodeOf(ctx context.Context, client goredis.UniversalClient, key string) (*goredis.Options, error) {
	n, err := ClientOf(ctx, client, key)
	if err != nil {
		return nil, err
	}
	return n.Options(), nil
}

// ClientOf returns the client of the server that has key.
func ClientOf(ctx context.Context, client goredis.UniversalClient, key string) (*goredis.Client, error) {
	c, ok := client.(*goredis.ClusterClient)
	if !ok {
		return client.(*goredis.Client), nil
	}
	return c.MasterForKey(ctx, key)
}
