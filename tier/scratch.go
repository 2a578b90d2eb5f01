package tier

import "github.com/hearthcache/hearth/internal/flight"

// scratch is the memory that a batch reads in. Most of what a batch would allocate is gone with its
// last line, so the next one takes it over, unless somebody else can still see it.
type scratch[V any] struct {
	flights *flight.Batch[*entry[V]]
	leads   []lead[V]  // the keys that flights leads
	rest    []*lead[V] // room for those that are still looked for
	keys    []string   // room for their keys
}

// maxScratch is up to how many keys a batch's memory is kept: some hundred kilobytes.
const maxScratch = 1 << 10

// scratch returns memory for a batch of n keys.
func (c *Cache[V]) scratch(n int) *scratch[V] {
	if s, ok := c.scratches.Get().(*scratch[V]); ok && s.flights.Cap() >= n {
		return s
	}
	return &scratch[V]{
		flights: flight.NewBatch[*entry[V]](n),
		leads:   make([]lead[V], 0, n),
		rest:    make([]*lead[V], 0, n),
		keys:    make([]string, 0, n),
	}
}

// recycle takes s back from a batch whose work has ended and whose results its caller has taken. With
// a follower who may not have looked yet it is left to the garbage collector.
func (c *Cache[V]) recycle(s *scratch[V]) {
	if s.flights.Cap() > maxScratch || !s.flights.Reuse() {
		return
	}
	n := len(s.leads)
	clear(s.leads) // nor may it hold values
	clear(s.rest[:n])
	clear(s.keys[:n])
	s.leads = s.leads[:0]
	c.scratches.Put(s)
}

// keysFor returns the keys of leads for one call of lv. Without a prefix the store gets them as they
// are, and may hold on to them for longer than the call.
func (s *scratch[V]) keysFor(lv *level, leads []*lead[V]) []string {
	if lv.prefix == "" {
		return keysOf(leads)
	}
	return appendKeys(s.keys, leads)
}
