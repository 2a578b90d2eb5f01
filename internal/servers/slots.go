package servers

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// SlotOf returns the slot of a key of a real cluster, and the master that has it by the word of the
// first node that answers.
func (c *Cluster) SlotOf(key string) (slot int, master *Server, err error) {
	var errs []error
	for _, s := range c.nodes {
		slot, master, err := c.slotBy(s, key)
		if err == nil {
			return slot, master, nil
		}
		errs = append(errs, err)
	}
	return 0, nil, errors.Join(errs...)
}

// slotBy is SlotOf by the word of one node.
func (c *Cluster) slotBy(s *Server, key string) (slot int, master *Server, err error) {
	conn, err := dialRESP(s.Addr(), 5*time.Second)
	if err != nil {
		return 0, nil, err
	}
	defer conn.close()
	n, err := conn.do("CLUSTER", "KEYSLOT", key)
	if err != nil {
		return 0, nil, fmt.Errorf("servers: %w", err)
	}
	ranges, err := conn.do("CLUSTER", "SLOTS")
	if err != nil {
		return 0, nil, fmt.Errorf("servers: %w", err)
	}
	at, _ := n.(int64)
	list, _ := ranges.([]any)
	for _, r := range list {
		owner := ownerIn(r, at)
		for _, m := range c.nodes {
			if port(m.Addr()) == owner {
				return int(at), m, nil
			}
		}
	}
	return 0, nil, fmt.Errorf("servers: cluster node %s knows no master of slot %d", s.Addr(), at)
}

// ownerIn returns the port of the master in one entry of CLUSTER SLOTS if the slot is in it, else "".
func ownerIn(entry any, slot int64) string {
	parts, _ := entry.([]any)
	if len(parts) < 3 {
		return ""
	}
	first, _ := parts[0].(int64)
	last, _ := parts[1].(int64)
	node, _ := parts[2].([]any)
	if slot < first || slot > last || len(node) < 2 {
		return ""
	}
	return fmt.Sprint(node[1])
}

// Move gives a slot of a real cluster to another master, keys first, as redis-cli --cluster reshard
// does. The two know at once, the other nodes soon.
func (c *Cluster) Move(slot int, from, to *Server) error {
	var source, target string
	if err := errors.Join(ask(from, &source, "CLUSTER", "MYID"), ask(to, &target, "CLUSTER", "MYID")); err != nil {
		return err
	}
	n := strconv.Itoa(slot)
	if err := errors.Join(
		ask(to, nil, "CLUSTER", "SETSLOT", n, "IMPORTING", source),
		ask(from, nil, "CLUSTER", "SETSLOT", n, "MIGRATING", target),
		moveKeys(n, from, to),
	); err != nil {
		return err
	}
	return errors.Join(
		ask(to, nil, "CLUSTER", "SETSLOT", n, "NODE", target),
		ask(from, nil, "CLUSTER", "SETSLOT", n, "NODE", target),
	)
}

// moveKeys moves what is in a slot.
func moveKeys(slot string, from, to *Server) error {
	conn, err := dialRESP(from.Addr(), startWithin)
	if err != nil {
		return err
	}
	defer conn.close()
	for {
		found, err := conn.do("CLUSTER", "GETKEYSINSLOT", slot, "100")
		if err != nil {
			return fmt.Errorf("servers: %w", err)
		}
		keys, _ := found.([]any)
		if len(keys) == 0 {
			return nil
		}
		args := []string{"MIGRATE", "127.0.0.1", port(to.Addr()), "", "0", "5000", "REPLACE", "KEYS"}
		for _, k := range keys {
			args = append(args, fmt.Sprint(k))
		}
		if _, err := conn.do(args...); err != nil {
			return fmt.Errorf("servers: %w", err)
		}
	}
}

// Expel takes a master without slots out of a real cluster, as redis-cli --cluster del-node does. It
// goes on running, alone, until the cluster is closed.
func (c *Cluster) Expel(s *Server) error {
	var id string
	if err := ask(s, &id, "CLUSTER", "MYID"); err != nil {
		return err
	}
	for _, other := range c.nodes {
		if other == s {
			continue
		}
		if err := ask(other, nil, "CLUSTER", "FORGET", id); err != nil {
			return err
		}
	}
	c.nodes = slices.DeleteFunc(c.Nodes(), func(n *Server) bool { return n == s })
	c.former = append(c.former, s)
	return ask(s, nil, "CLUSTER", "RESET", "SOFT")
}
