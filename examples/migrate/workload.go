package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sort"
	"strconv"
)

// workload is what is asked of the service: the same for every run.
type workload struct {
	name    string
	names   []string // the key of each record, by its number
	reads   []uint32 // the record that each request reads
	changes []change // what each request does before
	warm    int      // requests that are replayed before anything is measured
	filled  bool     // the old server begins with every record that will be asked for
}

// change is what a request does to a record before it reads its own.
type change struct {
	kind   changeKind
	record uint32
}

type changeKind uint8

const (
	noChange changeKind = iota
	update
	remove
)

// Shares of the requests that change a record, in thousandths.
const (
	savePerMille   = 100 // the record that is then read
	editPerMille   = 25  // another one
	deletePerMille = 5   // another one, which is gone afterwards
)

// newWorkload returns the workload that o asks for.
func newWorkload(o options) (*workload, error) {
	const synthetic, traced, fewTraced = 45_000, 120_000, 1000
	if o.trace == "" {
		n := o.requests
		if n == 0 {
			n = synthetic
		}
		w := workloadOf(o.seed, zipf(o.seed, o.keys, o.skew, n))
		w.name = "Zipf " + strconv.FormatFloat(o.skew, 'g', -1, 64) + " over " + thousands(float64(o.keys))
		w.filled = true
		return w, nil
	}
	limit := o.requests
	if limit == 0 {
		limit = traced
	}
	keys, err := readTrace(o.trace, o.width, limit)
	if err != nil {
		return nil, err
	}
	if len(keys) < fewTraced {
		return nil, fmt.Errorf("-trace %s: %d requests are too few, there have to be %d", o.trace, len(keys), fewTraced)
	}
	w := workloadOf(o.seed, keys)
	w.name = "trace " + filepath.Base(o.trace)
	w.warm = len(keys) * 2 / 5
	return w, nil
}

// zipf draws n keys of so many; the k-th is drawn 1/k^skew as often as the first.
func zipf(seed uint64, keys int, skew float64, n int) []uint64 {
	until := make([]float64, keys) // the share that this key and all before it get
	sum := 0.0
	for k := range until {
		sum += math.Pow(float64(k+1), -skew)
		until[k] = sum
	}
	rng := rand.New(rand.NewPCG(seed, seed))
	drawn := make([]uint64, n)
	for i := range drawn {
		drawn[i] = uint64(min(sort.SearchFloat64s(until, rng.Float64()*sum), keys-1))
	}
	return drawn
}

// workloadOf makes a request of every key.
func workloadOf(seed uint64, keys []uint64) *workload {
	w := &workload{}
	number := make(map[uint64]uint32)
	for _, k := range keys {
		id, known := number[k]
		if !known {
			id = uint32(len(w.names))
			number[k] = id
			w.names = append(w.names, strconv.FormatUint(k, 10))
		}
		w.reads = append(w.reads, id)
	}
	w.derive(seed, keys)
	return w
}

// derive decides which requests change what, from the keys and the seed alone.
func (w *workload) derive(seed uint64, keys []uint64) {
	w.changes = make([]change, len(w.reads))
	for i, id := range w.reads {
		h := mix(seed ^ mix(keys[i]) ^ mix(uint64(i)<<32))
		earlier := w.reads[mix(h)%uint64(i+1)]
		switch dice := h % 1000; {
		case dice < savePerMille:
			w.changes[i] = change{kind: update, record: id}
		case dice < savePerMille+editPerMille:
			w.changes[i] = change{kind: update, record: earlier}
		case dice < savePerMille+editPerMille+deletePerMille:
			w.changes[i] = change{kind: remove, record: earlier}
		}
	}
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
// Generators", OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
