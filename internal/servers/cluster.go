package servers

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

// slots is the number of hash slots of a Redis Cluster.
const slots = 16384

// A Cluster is a Redis Cluster of masters, the slots spread evenly over them.
type Cluster struct {
	nodes  []*Server
	former []*Server // expelled, and still running
}

// StartRedisCluster starts a cluster of n masters (three is the least Redis
// supports) and returns once every node says that the cluster is in order, which
// takes about two seconds: a new master refuses to serve for that long.
//
// Where no Redis is installed the stand-in is one embedded node that owns all
// slots and crosses none; Kind says so.
func StartRedisCluster(n int, o Options) (*Cluster, error) {
	binary, err := find(o, "redis-server", "valkey-server")
	if err != nil {
		return nil, err
	}
	if binary == "" {
		s, err := StartRedis(o)
		if err != nil {
			return nil, err
		}
		return &Cluster{nodes: []*Server{s}}, nil
	}
	if n < 3 {
		return nil, fmt.Errorf("servers: a cluster needs 3 masters, not %d", n)
	}
	if o.Dir != "" {
		return nil, errors.New("servers: the nodes of a cluster need a directory each")
	}
	c := &Cluster{nodes: make([]*Server, n)}
	if err := c.assemble(o); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Nodes returns the servers of the cluster, in the order of their slots.
func (c *Cluster) Nodes() []*Server { return slices.Clone(c.nodes) }

// Kind returns [Real] or [Embedded].
func (c *Cluster) Kind() string { return c.nodes[0].Kind() }

// Addrs returns the addresses of the nodes.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.nodes))
	for i, s := range c.nodes {
		addrs[i] = s.Addr()
	}
	return addrs
}

// Close kills all nodes and removes their directories.
func (c *Cluster) Close() error {
	var errs []error
	for _, s := range append(c.Nodes(), c.former...) {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// assemble starts the nodes, gives each its slots, introduces them to the first
// and waits until all agree.
func (c *Cluster) assemble(o Options) error {
	bus := make([]string, len(c.nodes))
	errs := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i := range c.nodes {
		wg.Go(func() { c.nodes[i], bus[i], errs[i] = startNode(o) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, s := range c.nodes {
		if err := c.enlist(i, s, bus); err != nil {
			return fmt.Errorf("servers: cluster node %s: %w", s.Addr(), err)
		}
	}
	return await(c.inOrder)
}

// startNode starts one empty cluster node. The bus gets a free port of its own
// instead of port + 10000, which somebody may hold.
func startNode(o Options) (*Server, string, error) {
	var err error
	for range 5 {
		var bus string
		if bus, err = freeAddr(); err != nil {
			return nil, "", err
		}
		node := o
		node.MustBeReal = true
		node.Args = append([]string{
			"--cluster-enabled", "yes",
			"--cluster-port", port(bus),
			"--cluster-config-file", "nodes.conf",
			"--cluster-node-timeout", "5000",
		}, o.Args...)
		var s *Server
		if s, err = StartRedis(node); err == nil {
			return s, port(bus), nil
		}
	}
	return nil, "", err
}

// enlist gives node i its slots and an epoch of its own and introduces it to
// the first node.
func (c *Cluster) enlist(i int, s *Server, bus []string) error {
	conn, err := dialRESP(s.Addr(), 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.close()
	n := len(c.nodes)
	first, last := slots*i/n, slots*(i+1)/n-1
	steps := [][]string{
		{"CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i + 1)},
		{"CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last)},
	}
	if i > 0 {
		steps = append(steps, []string{"CLUSTER", "MEET", "127.0.0.1", port(c.nodes[0].Addr()), bus[0]})
	}
	for _, step := range steps {
		if _, err := conn.do(step...); err != nil {
			return fmt.Errorf("%v: %w", step, err)
		}
	}
	return nil
}

// await polls until the condition gives no error, for as long as a server may
// take to start.
func await(condition func() error) error {
	deadline := time.NewTimer(startWithin)
	defer deadline.Stop()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-deadline.C:
			return err
		case <-tick.C:
		}
	}
}

// inOrder returns nil once every node sees all nodes, all slots and a good state.
func (c *Cluster) inOrder() error {
	for _, s := range c.nodes {
		conn, err := dialRESP(s.Addr(), time.Second)
		if err != nil {
			return err
		}
		info, err := conn.text("CLUSTER", "INFO")
		conn.close()
		if err != nil {
			return err
		}
		if infoField(info, "cluster_state") != "ok" ||
			infoField(info, "cluster_slots_ok") != strconv.Itoa(slots) ||
			infoField(info, "cluster_known_nodes") != strconv.Itoa(len(c.nodes)) {
			return fmt.Errorf("servers: cluster node %s: %s", s.Addr(), info)
		}
	}
	return nil
}
