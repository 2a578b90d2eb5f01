package memcachedtest

import (
	"sync"
	"time"
)

// item is one entry of the store.
type item struct {
	value   []byte
	flags   uint32
	expires time.Time // zero: never
	cas     uint64
	used    time.Time // last access
	fetched bool
	stale   bool // marked by md I
	won     bool // somebody was told to refresh it
	binary  bool // the key came in base64
}

// store is the memory of a server. Every method but Lock wants the lock held.
type store struct {
	sync.Mutex
	cfg     Config
	started time.Time
	items   map[string]*item
	lastCAS uint64
	flushAt time.Time // zero: no flush is due
	counts  counts
}

// counts is what the command stats reports.
type counts struct {
	gets, hits, misses, sets, touches, flushes, total uint64
}

func newStore(cfg Config) *store {
	return &store{cfg: cfg, started: cfg.Now(), items: make(map[string]*item)}
}

// now returns the time on the server's clock.
func (st *store) now() time.Time {
	now := st.cfg.Now()
	if st.cfg.Tick <= 0 {
		return now
	}
	return st.started.Add(now.Sub(st.started).Truncate(st.cfg.Tick))
}

// monthSeconds is where relative expiry times end and Unix times begin.
const monthSeconds = 60 * 60 * 24 * 30

// expiry turns an expiry time of the protocol into a time on the server's clock:
// 0 never, negative at once, up to 30 days relative, above that a Unix time.
func (st *store) expiry(secs int) time.Time {
	switch {
	case secs == 0:
		return time.Time{}
	case secs < 0:
		return st.started.Add(-bornBefore)
	case secs <= monthSeconds:
		return st.now().Add(time.Duration(secs) * time.Second)
	}
	if at := time.Unix(int64(secs), 0); at.After(st.started) {
		return at
	}
	return st.started.Add(-bornBefore)
}

// bornBefore is how long before its start the real server's clock began: what
// has expired at once has expired then.
const bornBefore = 61 * time.Second

// left returns the remaining whole seconds, -1 without an end. For what a command
// has just made expire the real server shows a difference below zero as 32 bits
// without a sign.
func (st *store) left(it *item) int64 {
	if it.expires.IsZero() {
		return -1
	}
	d := it.expires.Sub(st.now())
	if d < 0 {
		return int64(uint32(d / time.Second))
	}
	return int64((d + time.Second - 1) / time.Second)
}

// peek returns the item without counting it as used, or nil.
func (st *store) peek(key string) *item {
	now := st.now()
	if !st.flushAt.IsZero() && !now.Before(st.flushAt) {
		clear(st.items)
		st.flushAt = time.Time{}
	}
	it := st.items[key]
	if it == nil {
		return nil
	}
	if !it.expires.IsZero() && !now.Before(it.expires) {
		delete(st.items, key)
		return nil
	}
	return it
}

// get returns the item and counts the use, or nil.
func (st *store) get(key string) *item {
	it := st.peek(key)
	st.counts.gets++
	if it == nil {
		st.counts.misses++
		return nil
	}
	st.counts.hits++
	st.use(it)
	return it
}

func (st *store) use(it *item) {
	it.fetched = true
	it.used = st.now()
}

// fits says whether an item is within the size limit. The header is that of a
// 64-bit build with cas ids: 48 bytes, 8 for the id, 4 for flags if there are
// any, and the ends of key and value.
func (st *store) fits(key string, flags uint32, n int) bool {
	total := 48 + 8 + len(key) + 1 + n + 2
	if flags != 0 {
		total += 4
	}
	return total <= st.cfg.MaxItemBytes
}

// nextCAS returns a new cas id; ids only grow.
func (st *store) nextCAS() uint64 {
	st.lastCAS++
	return st.lastCAS
}

// put stores the item under a new cas id.
func (st *store) put(key string, it *item) {
	it.cas = st.nextCAS()
	it.used = st.now()
	st.items[key] = it
	st.counts.total++
}

// flush forgets everything at that time on the server's clock.
func (st *store) flush(at time.Time) {
	st.counts.flushes++
	st.nextCAS() // the real server takes one to mark the time
	if !at.After(st.now()) {
		clear(st.items)
		st.flushAt = time.Time{}
		return
	}
	st.flushAt = at
}
