package writebehind

import (
	"container/list"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/internal/iface"
	"github.com/hearthcache/hearth/tier"
)

// startGrace is how long delivery of replayed writes waits for OnApplied to be registered, so
// that the caches hear of them. A second: far longer than between New and tier.New, far
// shorter than an operator's patience with a writer that is used alone.
const startGrace = time.Second

// Writer accepts writes, keeps them in its journal, and applies them to a [Sink] in the
// background. It is a tier.Deferred. It is safe for concurrent use.
type Writer[V any] struct {
	cfg    Config[V]
	shared Shared // cfg.Journal, where it is one

	process [8]byte // first half of every ID
	count   atomic.Uint64

	waiting   atomic.Int64 // operations in lanes and promises: the quick path of Pending
	onApplied atomic.Pointer[func(context.Context, []tier.Mutation[V]) error]

	mu       sync.RWMutex
	lanes    map[string]*lane[V]
	order    *list.List // of *op[V], in the order of acceptance
	lingers  laneHeap[V]
	retries  laneHeap[V]
	lingered int64 // bytes of the heads in lingers
	lastSeq  uint64
	running  int // calls of deliver
	hurry    int // flushes under way: nothing lingers
	nextRate time.Time
	started  bool
	startAt  time.Time
	closed   bool
	entries  int // accepted here and not at their end, or about to be accepted
	bytes    int64
	room     chan struct{} // closed and replaced when room may have come, or the last one left
	freed    chan struct{} // the same for the journal: closed and replaced when it has forgotten something
	dead     map[Ref]*letter[V]
	deadKeys map[string][]Ref
	promises map[Ref]*promise[V] // shared: what this process had accepted
	overlay  map[string]Ref      // shared: the newest of them per key
	early    map[Ref]error       // shared: settled before the commit had returned here
	stats    counts

	wake     chan struct{} // to the dispatcher
	applyCtx context.Context
	abort    context.CancelFunc
	stopped  chan struct{} // closed when Close is through
	stop     chan struct{}
	loops    sync.WaitGroup
	consumer sync.WaitGroup
	leave    context.CancelFunc // ends consumer
	workers  sync.WaitGroup

	commits committer[V]
}

var _ tier.Deferred[string] = (*Writer[string])(nil)

// New returns a running writer. What the journal holds from before is queued first: it is in
// Pending when New returns, and its delivery begins when OnApplied registers a function, with
// the first call of another method that writes or flushes, or after a second.
func New[V any](cfg Config[V]) (*Writer[V], error) {
	w, err := newWriter(cfg)
	if err != nil && !iface.IsNil(cfg.Journal) {
		cfg.Journal.Close()
	}
	return w, err
}

func newWriter[V any](cfg Config[V]) (*Writer[V], error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	w := &Writer[V]{
		cfg:      cfg,
		lanes:    map[string]*lane[V]{},
		order:    list.New(),
		startAt:  time.Now().Add(startGrace),
		room:     make(chan struct{}),
		freed:    make(chan struct{}),
		dead:     map[Ref]*letter[V]{},
		deadKeys: map[string][]Ref{},
		promises: map[Ref]*promise[V]{},
		overlay:  map[string]Ref{},
		early:    map[Ref]error{},
		wake:     make(chan struct{}, 1),
		stop:     make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	rand.Read(w.process[:])
	w.applyCtx, w.abort = context.WithCancel(context.Background())
	w.commits.init()

	w.shared, _ = cfg.Journal.(Shared)
	if w.shared != nil && cfg.Overflow == WriteThrough {
		return nil, errors.New("writebehind: Overflow WriteThrough would overtake what other processes have appended to a shared journal")
	}
	if cfg.Journal == nil {
		// Nothing remembers what the process before has given; the clock has moved on since.
		w.lastSeq = uint64(time.Now().UnixNano())
	}
	if cfg.Journal != nil && cfg.Overflow == WriteThrough {
		if err := w.countOn(); err != nil {
			return nil, err
		}
	}
	if cfg.Journal != nil && w.shared == nil {
		if err := cfg.Journal.Replay(w.applyCtx, w.restore); err != nil {
			return nil, fmt.Errorf("writebehind: replay: %w", err)
		}
		w.started = w.order.Len() == 0
	} else {
		w.started = true
	}
	w.loops.Go(w.dispatch)
	if cfg.Journal != nil {
		w.commits.loop.Go(w.commitLoop)
	}
	if w.shared != nil {
		ctx, leave := context.WithCancel(context.Background())
		w.leave = leave
		w.consumer.Go(func() { w.consume(ctx) })
		w.loops.Go(w.watchPromises)
	}
	return w, nil
}

// countOn has writes around the journal numbered after everything that was in it.
func (w *Writer[V]) countOn() error {
	j, ok := w.cfg.Journal.(Counted)
	if !ok {
		return fmt.Errorf("writebehind: Overflow WriteThrough needs a Counted journal, to number writes around it; a %T is none", w.cfg.Journal)
	}
	last, err := j.LastSeq()
	if err != nil {
		return fmt.Errorf("writebehind: last sequence: %w", err)
	}
	w.lastSeq = last << seqShift
	return nil
}

// Write accepts ms for later delivery. Nil means that all of them are accepted, at the level of
// durability of the journal. Mutations of one key keep their order; one that has not been
// delivered yet is replaced by a newer one.
//
// It returns ErrEmptyKey, ErrInvalidTTL or the codec's error when a mutation cannot be accepted,
// [ErrFull] or [ErrClosed], the context's error when it ends while waiting for room, and an error
// that is tier.ErrUnknown when it ends, or the journal fails, after the journal was asked. A call
// that was not accepted has accepted none of ms, unless ms is larger than the whole queue: it is
// then taken in portions, and the error is a *tier.WriteError that says which.
func (w *Writer[V]) Write(ctx context.Context, ms []tier.Mutation[V]) error {
	changes := make([]Change[V], len(ms))
	for i, m := range ms {
		changes[i].Mutation = m
	}
	return w.accept(ctx, changes, nil)
}

// Enqueue accepts changes as Write does, deltas among them, and returns a handle to wait for
// their end. The handle is nil when the error is not.
func (w *Writer[V]) Enqueue(ctx context.Context, changes ...Change[V]) (*Ack, error) {
	ack := newAck(len(changes))
	if err := w.accept(ctx, changes, ack); err != nil {
		return nil, err
	}
	return ack, nil
}

// Pending returns the newest mutation of key that is accepted and not yet both applied and
// reported to OnApplied. A pending delete is a mutation with Delete set. Deltas and expired
// writes do not show. TTL is what remains.
func (w *Writer[V]) Pending(key string) (tier.Mutation[V], bool) {
	if w.waiting.Load() == 0 {
		return tier.Mutation[V]{}, false
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	m, deadline, seq, ok := w.pendingHere(key)
	if ref, own := w.overlay[key]; own && (!ok || ref.Seq >= seq) {
		p := w.promises[ref]
		m, deadline, ok = p.mutation, p.deadline, true
	}
	if ok && !deadline.IsZero() {
		if m.TTL = time.Until(deadline); m.TTL <= 0 {
			return tier.Mutation[V]{}, false
		}
	}
	return m, ok
}

func (w *Writer[V]) pendingHere(key string) (m tier.Mutation[V], deadline time.Time, seq uint64, ok bool) {
	l := w.lanes[key]
	if l == nil {
		return m, deadline, 0, false
	}
	for i := len(l.ops) - 1; i >= 0; i-- {
		if o := l.ops[i]; o.Delta == nil && !o.through {
			return o.Mutation, o.deadline, o.Seq, true
		}
	}
	return m, deadline, 0, false
}

// OnApplied registers fn, which is called with what the sink has taken, before it leaves
// Pending. To a cache a delta is a reason to forget its key: it is reported as a delete. In a
// shared journal only the process that applied an operation reports it.
func (w *Writer[V]) OnApplied(fn func(ctx context.Context, ms []tier.Mutation[V]) error) {
	w.onApplied.Store(&fn)
	w.start()
}

// start lets delivery begin.
func (w *Writer[V]) start() {
	w.mu.Lock()
	was := w.started
	w.started = true
	w.mu.Unlock()
	if !was {
		w.nudge()
	}
}

func (w *Writer[V]) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *Writer[V]) newID() (id ID) {
	copy(id[:8], w.process[:])
	binary.BigEndian.PutUint64(id[8:], w.count.Add(1))
	return id
}
