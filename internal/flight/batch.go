package flight

// Batch holds the calls that one caller leads together: the calls of all its keys are one
// allocation. Make one with [NewBatch]; [Group.JoinBatch] joins a key for it. A Batch is used by
// one goroutine until all keys have joined, and again from [Batch.Reuse].
//
// Who follows one of the calls keeps the memory of all of them for as long as it waits.
type Batch[T any] struct {
	calls []Call[T]
}

// NewBatch returns a batch that leads up to n keys.
func NewBatch[T any](n int) *Batch[T] { return &Batch[T]{calls: make([]Call[T], 0, n)} }

// Cap returns how many keys b can lead.
func (b *Batch[T]) Cap() int { return cap(b.calls) }

// Reuse makes b ready for other keys, if nobody can notice: false if one of its calls is not over,
// or if somebody else has joined one, who may read its result at any time. Whoever finishes the
// calls must have done so; the caller forgets them.
func (b *Batch[T]) Reuse() bool {
	for i := range b.calls {
		if c := &b.calls[i]; !c.finished.Load() || c.followed {
			return false
		}
	}
	clear(b.calls)
	b.calls = b.calls[:0]
	return true
}

// Role is what a caller that joined a key for a batch has to do.
type Role uint8

// The roles.
const (
	Leads   Role = iota // work, and say Finish
	Follows             // wait: somebody else works
	Repeats             // nothing: this very batch leads the key already
)

// JoinBatch is [Group.Join] for a key of b. A key that b leads already is not joined again: it
// counts as one who waits. A batch that is full panics.
func (g *Group[T]) JoinBatch(key string, b *Batch[T]) (c *Call[T], r Role) {
	s, hash := g.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c = s.find(hash, key); c != nil {
		if c.batch == b {
			return c, Repeats
		}
		c.follow()
		return c, Follows
	}
	n := len(b.calls)
	if n == cap(b.calls) {
		panic("flight: more keys than the batch has room for")
	}
	b.calls = b.calls[:n+1]
	c = &b.calls[n]
	c.batch = b
	g.list(c, s, key, hash)
	return c, Leads
}
