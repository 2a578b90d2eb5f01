package memcached

import (
	"cmp"
	"crypto/md5"
	"encoding/binary"
	"math"
	"net"
	"slices"
	"strconv"
)

// ketama is libmemcached's weighted ring (hosts.cc, update_continuum, with
// MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED): every server has about 160 points per share, each MD5 of
// "host-n" (of "host:port-n" where the port is not 11211) makes four of them, and a key belongs
// to the first point at or after the first four bytes of its MD5.
type ketama []point

type point struct {
	at     uint32
	server int
}

const (
	pointsPerServer = 160
	pointsPerHash   = 4
	defaultPort     = "11211"
)

func newKetama(servers []Server) ketama {
	var total uint32
	for _, s := range servers {
		total += uint32(s.Weight)
	}
	var k ketama
	for i, s := range servers {
		// In single precision, as there: the last point of a weighted server depends on it.
		pct := float32(s.Weight) / float32(total)
		groups := int(math.Floor(float64(float32(pct*pointsPerServer/pointsPerHash*float32(len(servers)) + 0.0000000001))))
		name := ketamaName(s.Addr)
		for n := range groups {
			sum := md5.Sum([]byte(name + "-" + strconv.Itoa(n)))
			for g := range pointsPerHash {
				k = append(k, point{binary.LittleEndian.Uint32(sum[4*g:]), i})
			}
		}
	}
	slices.SortStableFunc(k, func(a, b point) int { return cmp.Compare(a.at, b.at) })
	return k
}

func ketamaName(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	switch {
	case err != nil:
		return addr + ":0" // a unix socket: a host without a port
	case port == defaultPort:
		return host
	}
	return host + ":" + port
}

func (k ketama) pick(key string) int {
	sum := md5.Sum(bytesOf(key))
	i, _ := slices.BinarySearchFunc(k, binary.LittleEndian.Uint32(sum[:]), func(p point, at uint32) int {
		return cmp.Compare(p.at, at)
	})
	if i == len(k) {
		i = 0
	}
	return k[i].server
}
