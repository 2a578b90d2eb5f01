//go:build !race

// Under the race detector sync.Pool drops at random what it is given, and with it the accesses that
// ristretto gathers there: hit ratios mean nothing then.

package ristretto

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	bare "github.com/dgraph-io/ristretto/v2"
)

// A trace is a sequence of keys.
func zipfTrace(n, keys int) []uint64 {
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.01, 1, uint64(keys-1))
	out := make([]uint64, n)
	for i := range out {
		out[i] = z.Uint64()
	}
	return out
}

// scanTrace is a quarter scans: keys that come once.
func scanTrace(n, keys int) []uint64 {
	out := zipfTrace(n, keys)
	for i := range out {
		if i%4000 < 1000 {
			out[i] = uint64(keys + i)
		}
	}
	return out
}

// fileTrace reads a gzip file of big-endian integers, 64 bits wide if its name ends so.
func fileTrace(t *testing.T, path string, limit int) []uint64 {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(z)
	width := 4
	if strings.HasPrefix(filepath.Base(path), "scarab") {
		width = 8
	}
	var out []uint64
	for b := make([]byte, 8); len(out) < limit; {
		if _, err := io.ReadFull(r, b[8-width:]); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, binary.BigEndian.Uint64(b))
	}
	return out
}

func distinct(trace []uint64) int {
	seen := map[uint64]bool{}
	for _, k := range trace {
		seen[k] = true
	}
	return len(seen)
}

// entryCost is what an entry of ours costs here: 176 + a key of 16 bytes + 16.
const entryCost = 208

func traceKey(k uint64) string {
	s := strconv.FormatUint(k, 16)
	return "0000000000000000"[len(s):] + s
}

func bareRatio(t *testing.T, trace []uint64, entries, counters int64) float64 {
	c, err := bare.NewCache(&bare.Config[string, int]{
		NumCounters: counters, MaxCost: entries * entryCost, BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	hits := 0
	for _, k := range trace {
		if _, ok := c.Get(traceKey(k)); ok {
			hits++
			continue
		}
		c.Set(traceKey(k), 1, entryCost)
		c.Wait()
	}
	return 100 * float64(hits) / float64(len(trace))
}

func ourRatio(t *testing.T, trace []uint64, entries, counters int64) float64 {
	c := newTest(t, Config{MaxCost: entries * entryCost, Counters: counters})
	defer c.Close()
	hits := 0
	for _, k := range trace {
		key := traceKey(k)
		if _, s := c.Get(key); s == Fresh {
			hits++
			continue
		}
		c.Put(key, c.Stamp(key), ptr(1), 16, 0, 0)
		c.Wait()
	}
	return 100 * float64(hits) / float64(len(trace))
}

// TestHitRatio_IsThatOfRistretto holds that what ristretto is not told of does not cost hits: against
// ristretto that is told of everything, with as many counters, a tenth of the keys fitting. With
// HEARTH_TRACES set to a folder of *.keys.gz it looks at those too, and longer.
func TestHitRatio_IsThatOfRistretto(t *testing.T) {
	traces := map[string][]uint64{
		"zipf": zipfTrace(100_000, 10_000),
		"scan": scanTrace(100_000, 10_000),
	}
	if dir := os.Getenv("HEARTH_TRACES"); dir != "" {
		traces["zipf"], traces["scan"] = zipfTrace(1_000_000, 100_000), scanTrace(1_000_000, 100_000)
		files, err := filepath.Glob(filepath.Join(dir, "*.keys.gz"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no traces in %s: %v", dir, err)
		}
		for _, f := range files {
			traces[filepath.Base(f)] = fileTrace(t, f, 1_000_000)
		}
	}
	for name, trace := range traces {
		t.Run(name, func(t *testing.T) {
			entries := int64(distinct(trace) / 10)
			for _, per := range []int64{4, 10} {
				theirs, ours := bareRatio(t, trace, entries, per*entries), ourRatio(t, trace, entries, per*entries)
				t.Logf("%d counters an entry: ristretto %.2f %%, this %.2f %%", per, theirs, ours)
				if (name == "zipf" || name == "scan") && ours < theirs-0.5 {
					t.Error("lost more than half a point")
				}
			}
		})
	}
}
