package l1

import (
	"runtime"
	"testing"
)

// TestMemory_IsRistrettosAnd48BytesAtMost counts live bytes per entry, values of 112 bytes and
// everything the caches keep included, keys not: those are shared. The goal is 32.
func TestMemory_IsRistrettosAnd48BytesAtMost(t *testing.T) {
	const n = 200_000
	keys := Keys(n)
	per := map[string]float64{}
	for _, peer := range Peers {
		before := live()
		p := peer.New(n)
		p.Fill(keys)
		per[peer.Name] = float64(live()-before) / n
		t.Logf("%-14s %.0f B/entry", peer.Name, per[peer.Name])
		if p.Get(keys[0]) == nil && p.Get(keys[1]) == nil {
			t.Error(peer.Name, "is empty")
		}
		p.Close()
	}
	if more := per["hearth-l1"] - per["ristretto-ttl"]; more > 48 {
		t.Errorf("%.0f B more than ristretto with TTL", more)
	}
}

func live() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
