package servers

import (
	"fmt"
	"strings"
	"time"
)

// Grow adds n empty masters to a real cluster: all nodes know them, and they have no slots. It
// returns once they serve, which takes some seconds. They are closed with the cluster, and come
// last in Nodes.
func (c *Cluster) Grow(n int, o Options) ([]*Server, error) {
	added := make([]*Server, 0, n)
	for range n {
		s, bus, err := startNode(o)
		if err != nil {
			return nil, err
		}
		c.nodes, added = append(c.nodes, s), append(added, s)
		if err := ask(c.nodes[0], nil, "CLUSTER", "MEET", "127.0.0.1", port(s.Addr()), bus); err != nil {
			return nil, err
		}
	}
	if err := await(c.acquainted); err != nil {
		return nil, err
	}
	for _, s := range added {
		if err := await(func() error { return serving(s) }); err != nil {
			return nil, err
		}
	}
	return added, nil
}

// Follow makes an empty master the replica of another one, and returns once it is in step and all
// nodes know.
func (c *Cluster) Follow(s, master *Server) error {
	var id string
	if err := ask(master, &id, "CLUSTER", "MYID"); err != nil {
		return err
	}
	if err := await(func() error { return ask(s, nil, "CLUSTER", "REPLICATE", id) }); err != nil {
		return err
	}
	if err := await(func() error { return linked(s.Addr()) }); err != nil {
		return err
	}
	return await(func() error { return c.know("slave " + id) })
}

// acquainted returns nil once every node knows every other one by more than its address.
func (c *Cluster) acquainted() error {
	for _, s := range c.nodes {
		var list string
		if err := ask(s, &list, "CLUSTER", "NODES"); err != nil {
			return err
		}
		known := strings.Count(strings.TrimSpace(list), "\n") + 1
		if known != len(c.nodes) || strings.Contains(list, "handshake") || strings.Contains(list, "disconnected") {
			return fmt.Errorf("servers: cluster node %s knows: %s", s.Addr(), list)
		}
	}
	return nil
}

// serving returns nil once a node takes the cluster for whole: before that it serves nobody.
func serving(s *Server) error {
	var info string
	if err := ask(s, &info, "CLUSTER", "INFO"); err != nil {
		return err
	}
	if infoField(info, "cluster_state") != "ok" {
		return fmt.Errorf("servers: cluster node %s: %s", s.Addr(), info)
	}
	return nil
}

// know returns nil once the list of nodes that every node keeps says what.
func (c *Cluster) know(what string) error {
	for _, s := range c.nodes {
		var list string
		if err := ask(s, &list, "CLUSTER", "NODES"); err != nil {
			return err
		}
		if !strings.Contains(list, what) {
			return fmt.Errorf("servers: cluster node %s has no %s: %s", s.Addr(), what, list)
		}
	}
	return nil
}

// ask sends one command to a node; into, if not nil, gets the text of the answer.
func ask(s *Server, into *string, args ...string) error {
	conn, err := dialRESP(s.Addr(), 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.close()
	text, err := conn.text(args...)
	if err != nil {
		return fmt.Errorf("servers: %s: %v: %w", s.Addr(), args, err)
	}
	if into != nil {
		*into = text
	}
	return nil
}
