package bulk

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// shares reports whether two endpoints have a server in common, so that the list of one holds
// keys of the other. It goes by addresses, names looked up, and by what a Redis calls itself;
// another way to a memcached server (a proxy, a second address) is not noticed.
func shares(ctx context.Context, a, b *Endpoint) (bool, error) {
	seen := map[string]bool{}
	for i, e := range []*Endpoint{a, b} {
		places, err := e.places(ctx)
		if err != nil {
			return false, fmt.Errorf("%s: %w", e, err)
		}
		for _, p := range places {
			if i == 1 && seen[p] {
				return true, nil
			}
			seen[p] = i == 0
		}
	}
	return false, nil
}

// places implements endpoint.
func (e *memEnd) places(ctx context.Context) ([]string, error) {
	var all []string
	for _, s := range e.servers {
		all = append(all, addresses(ctx, "memcached ", s.addr, "")...)
	}
	return all, nil
}

// places implements endpoint. Databases of one server share no keys.
func (e *redisEnd) places(ctx context.Context) ([]string, error) {
	servers, err := e.masters(ctx)
	var all []string
	for _, c := range servers {
		db := " " + strconv.Itoa(c.Options().DB)
		all = append(all, addresses(ctx, "redis ", c.Options().Addr, db)...)
		if id := runID(ctx, c); id != "-" {
			all = append(all, "redis "+id+db)
		}
	}
	return all, err
}

// addresses returns every name of a server, in front and behind which the rest is put.
func addresses(ctx context.Context, before, addr, behind string) []string {
	if strings.HasPrefix(addr, "/") {
		return []string{before + addr + behind}
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil // a client that finds its server by itself names none
	}
	all := []string{before + addr + behind}
	ips, _ := net.DefaultResolver.LookupHost(ctx, host)
	for _, ip := range ips {
		all = append(all, before+net.JoinHostPort(ip, port)+behind)
	}
	return all
}
