package bulk

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// lot draws keys while they are listed: those with the lowest numbers, so that it need not know
// how many there will be, and a key that is listed twice is drawn once.
type lot struct {
	most int
	seed uint64

	drawn []draw
	full  bool
	limit uint64 // with full: higher numbers are not among the lowest
}

type draw struct {
	number uint64
	server int
	key    string
}

// add takes part in the draw with the keys of a batch.
func (l *lot) add(b batch) {
	for _, k := range b.keys {
		n := sampled(k, l.seed)
		if l.full && n > l.limit {
			continue
		}
		l.drawn = append(l.drawn, draw{n, b.server, strings.Clone(k)}) // the list goes
		if len(l.drawn)/2 >= l.most {
			l.cut()
		}
	}
}

// cut leaves the lowest numbers.
func (l *lot) cut() {
	slices.SortFunc(l.drawn, func(a, b draw) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.key, b.key), cmp.Compare(a.server, b.server))
	})
	l.drawn = slices.Compact(l.drawn)
	if len(l.drawn) >= l.most {
		clear(l.drawn[l.most:])
		l.drawn = l.drawn[:l.most]
		l.full, l.limit = true, l.drawn[l.most-1].number
	}
}

// batches returns what was drawn, in batches of one server each.
func (l *lot) batches() (all []batch) {
	const size = 200 // what a worker compares at a time
	if len(l.drawn) == 0 {
		return nil
	}
	l.cut()
	last := map[int]int{} // by server: its batch that has room
	for _, d := range l.drawn {
		i, ok := last[d.server]
		if !ok || len(all[i].keys) == size {
			i = len(all)
			last[d.server] = i
			all = append(all, batch{server: d.server})
		}
		all[i].keys = append(all[i].keys, d.key)
	}
	return all
}

// sampled gives every key a number, the same in every run with the same seed.
func sampled(key string, seed uint64) uint64 {
	h := xxhash.Sum64String(key) ^ seed
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}
