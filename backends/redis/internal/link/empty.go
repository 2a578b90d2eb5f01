package link

import (
	"net"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// emptyMasters returns the masters in an answer to CLUSTER NODES that work and have no slots, by the
// addresses at which the client would turn to them, reached as the known ones are. CLUSTER SLOTS does
// not name them, and a client is led to one while a slot moves there.
func emptyMasters(answer string, known map[string]*goredis.Options) map[string]*goredis.Options {
	type place struct{ ip, name string }
	var empty []place
	byName, local := false, false
	for line := range strings.Lines(answer) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		p := place{}
		p.ip, p.name = places(f[1])
		if slices.ContainsFunc(f[8:], func(slots string) bool { return !strings.HasPrefix(slots, "[") }) {
			byName = byName || known[p.ip] == nil && known[p.name] != nil
			continue
		}
		flags := strings.Split(f[2], ",")
		if slices.Contains(flags, "master") && !slices.ContainsFunc(flags, unusable) && p.ip != "" {
			empty = append(empty, p)
		}
	}
	found := map[string]*goredis.Options{}
	var like *goredis.Options
	for addr, o := range known {
		like, local = o, local || loopback(addr)
	}
	for _, p := range empty {
		addr := p.ip
		if byName && p.name != "" {
			addr = p.name
		}
		// Servers that believe to be where everybody is are reached at another address, by others.
		if like == nil || known[addr] != nil || loopback(addr) && !local {
			continue
		}
		o := *like
		o.Addr, o.NodeAddress = addr, addr
		found[addr] = &o
	}
	return found
}

// unusable reports whether a node with this flag cannot be reached.
func unusable(flag string) bool {
	return flag == "fail" || flag == "fail?" || flag == "handshake" || flag == "noaddr"
}

// places reads ip:port@busport,hostname, as servers of several ages write it, into two addresses; one
// that is not there is empty.
func places(s string) (ip, name string) {
	s, rest, _ := strings.Cut(s, ",")
	s, _, _ = strings.Cut(s, "@")
	at := strings.LastIndexByte(s, ':')
	if at < 0 {
		return "", ""
	}
	host, port := s[:at], s[at+1:]
	if host != "" {
		ip = net.JoinHostPort(host, port)
	}
	if host, _, _ := strings.Cut(rest, ","); host != "" {
		name = net.JoinHostPort(host, port)
	}
	return ip, name
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}
