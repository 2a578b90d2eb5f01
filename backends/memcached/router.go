package memcached

import (
	"hash/crc32"
	"math"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

// Router is a way to choose the server of a key.
type Router uint8

const (
	// Rendezvous gives every server a score for the key and takes the highest (Thaler and
	// Ravishankar, "Using name-based mappings to increase hit rates", 1998; weights after Schindelhauer
	// and Schomaker, "Weighted distributed hash tables", 2005). The order of the list does not
	// matter, and a change of the list moves only the keys it must.
	Rendezvous Router = iota

	// Ketama is the ring of libmemcached with MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, for fleets
	// shared with other languages (pylibmc, php-memcached, EnyimMemcached, ...).
	Ketama

	// Modulo is what gomemcache's ServerList does: CRC-32 of the key modulo the number of servers, so
	// that fleets it has filled are found. One server more or less moves most keys. A server
	// with weight n counts as n listed side by side.
	Modulo
)

// String returns the router's name in lower case.
func (r Router) String() string {
	switch r {
	case Rendezvous:
		return "rendezvous"
	case Ketama:
		return "ketama"
	case Modulo:
		return "modulo"
	}
	return "unknown"
}

// router maps a wire key to the index of a server. Safe for concurrent use.
type router interface {
	pick(key string) int
}

// newRouter builds the router for a validated list of servers.
func newRouter(r Router, servers []Server) router {
	if len(servers) == 1 {
		return single{}
	}
	switch r {
	case Ketama:
		return newKetama(servers)
	case Modulo:
		return newModulo(servers)
	}
	return newRendezvous(servers)
}

type single struct{}

func (single) pick(string) int { return 0 }

type modulo []int // weighted indices

func newModulo(servers []Server) modulo {
	var m modulo
	for i, s := range servers {
		for range s.Weight {
			m = append(m, i)
		}
	}
	return m
}

func (m modulo) pick(key string) int {
	return m[crc32.ChecksumIEEE(bytesOf(key))%uint32(len(m))]
}

// bytesOf returns the bytes of s without a copy, for a hash to read.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

type rendezvous struct {
	seeds   []uint64
	weights []float64 // nil if all are equal
}

func newRendezvous(servers []Server) rendezvous {
	var r rendezvous
	equal := true
	for _, s := range servers {
		r.seeds = append(r.seeds, xxhash.Sum64String(s.Name))
		r.weights = append(r.weights, float64(s.Weight))
		equal = equal && s.Weight == servers[0].Weight
	}
	if equal {
		r.weights = nil
	}
	return r
}

func (r rendezvous) pick(key string) int {
	h := xxhash.Sum64String(key)
	if r.weights != nil {
		return r.weighted(h)
	}
	best, at := uint64(0), 0
	for i, seed := range r.seeds {
		// Equal scores (1 in 2^64) go to the smaller seed, whatever the order of the list.
		if v := mix(h ^ seed); v > best || v == best && seed < r.seeds[at] {
			best, at = v, i
		}
	}
	return at
}

// weighted scores -weight/ln(u) with u uniform in (0, 1): with equal weights the largest u wins,
// as in pick.
func (r rendezvous) weighted(h uint64) int {
	best, at := math.Inf(-1), 0
	for i, seed := range r.seeds {
		u := (float64(mix(h^seed)>>11) + 0.5) / (1 << 53)
		if v := -r.weights[i] / math.Log(u); v > best || v == best && seed < r.seeds[at] {
			best, at = v, i
		}
	}
	return at
}

// mix is the finalizer of splitmix64 (Steele, Lea, Flood, 2014).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
