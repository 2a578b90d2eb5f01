package l1

import (
	"runtime"
	"testing"
)

// TestMemory_IsRistrettosAnd48BytesAtMost counts live bytes per entry, values of 112 bytes and
// everything the caches keep included, keys not: those are shared. hearth is the whole cache, as a
// service has it, hearth-l1 its local store with the value in the entry.
func TestMemory_IsRistrettosAnd48BytesAtMost(t *testing.T) {
	const n = 200_000
	keys := Keys(n)
	per := map[string]float64{}
	measure := func(peer func(int) Peer) {
		before := live()
		p := peer(n)
		p.Fill(keys)
		held := 0
		for _, k := range keys {
			if p.Get(k) != nil {
				held++
			}
		}
		if held < n*9/10 {
			t.Error(p.Name, "holds", held)
		}
		per[p.Name] = float64(live()-before) / float64(held)
		t.Logf("%-14s %.0f B/entry, %d held", p.Name, per[p.Name], held)
		p.Close()
	}
	for _, peer := range Peers {
		measure(peer.New)
	}
	measure(NewCache)
	for _, row := range []struct {
		name, than string
		most       float64
	}{
		{"hearth-l1", "ristretto-ttl", 32},
		{"hearth", "ristretto", 48}, // the goal is 32
	} {
		if more := per[row.name] - per[row.than]; more > row.most {
			t.Errorf("%s takes %.0f B more than %s, %.0f are allowed", row.name, more, row.than, row.most)
		}
	}
}

func live() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
