package writebehind

import (
	"container/heap"
	"container/list"
	"slices"
	"time"
)

// op is one operation in the queue.
type op[V any] struct {
	Op[V]
	rec      uint64    // its Seq in the journal
	payload  []byte    // what the journal keeps of Value or Delta
	deadline time.Time // from the TTL; zero = none
	last     time.Time // when the last write that it stands for was accepted
	size     int64
	reserved bool // counted in entries and bytes
	broken   bool // Unreadable: payload has the bytes that the journal could not read
	through  bool // its caller waits for the sink itself

	acks  []*Ack
	stale []Ref // shared journal: records it has replaced, settled together with it
	owner Owner // shared journal: the right to apply it

	pauses   int    // failures of any kind, for the backoff
	failures int    // those that count towards MaxAttempts
	seen     uint64 // applied operations at the last of them
	limit    int    // largest batch it may be tried with; 0 = any
	retryAt  time.Time

	lane *lane[V]
	elem *list.Element
}

func (o *op[V]) state() bool { return o.Delta == nil && !o.broken }

func (o *op[V]) ref() Ref { return Ref{Key: o.Key, Seq: o.rec} }

func (o *op[V]) expired(now time.Time) bool { return !o.deadline.IsZero() && !now.Before(o.deadline) }

// lane is the queue of one key. Only its first operation is ever being applied.
type lane[V any] struct {
	ops  []*op[V]
	busy bool

	due   time.Time
	first uint64       // sequence of the first operation, to break ties
	in    *laneHeap[V] // nil while busy
	at    int
	cost  int64 // bytes counted in lingered
}

func (l *lane[V]) tail() *op[V] {
	if len(l.ops) == 0 {
		return nil
	}
	return l.ops[len(l.ops)-1]
}

func (l *lane[V]) busyWith(o *op[V]) bool { return l.busy && l.ops[0] == o }

// coalesces reports whether o would take the place of the last operation.
func (l *lane[V]) coalesces(o *op[V]) bool {
	t := l.tail()
	return t != nil && t.state() && o.state() && !t.through && !o.through && !l.busyWith(t)
}

// linkAll puts accepted operations into their lanes, in order. The caller holds mu.
func (w *Writer[V]) linkAll(ops []*op[V]) {
	for _, o := range ops {
		w.link(o)
	}
}

// link puts o at the end of its lane, or in the place of an older state that nobody is
// applying. The caller holds mu.
func (w *Writer[V]) link(o *op[V]) {
	w.number(o)
	l := w.lanes[o.Key]
	if l == nil {
		l = &lane[V]{}
		w.lanes[o.Key] = l
	}
	if o.state() && !o.through {
		w.voidLetters(o)
	}
	if l.coalesces(o) {
		old := l.tail()
		l.ops[len(l.ops)-1] = o
		o.elem, old.elem = old.elem, nil
		o.elem.Value = o
		w.replace(old, o)
	} else {
		l.ops = append(l.ops, o)
		o.elem = w.order.PushBack(o)
		w.waiting.Add(1)
	}
	o.lane = l
	w.place(l)
}

// seqShift makes a local journal count in steps of 1<<16, so that a write around it gets a number
// between what is in it and what will be.
const seqShift = 16

// number gives o the sequence that the sink sees.
func (w *Writer[V]) number(o *op[V]) {
	switch {
	case w.shared != nil:
		o.Seq = o.rec
	case w.cfg.Journal == nil:
		o.Seq = w.lastSeq + 1
		o.rec = o.Seq
	case o.through:
		o.Seq = w.lastSeq + 1
	default:
		o.Seq = o.rec << seqShift
	}
	w.lastSeq = max(w.lastSeq, o.Seq)
}

// replace hands over from an operation to a newer one of its key.
func (w *Writer[V]) replace(old, o *op[V]) {
	o.Enqueued = old.Enqueued
	o.acks = append(slices.Clip(old.acks), o.acks...)
	old.acks = nil
	if w.shared != nil {
		o.stale = append(append(old.stale, old.ref()), o.stale...)
	} else {
		w.forget(old.ref())
	}
	w.release(old)
	old.lane = nil
	w.stats.coalesced++
}

// relink puts o back at its place by sequence, before newer ones and after one in flight.
func (w *Writer[V]) relink(o *op[V]) {
	l := w.lanes[o.Key]
	if l == nil {
		l = &lane[V]{}
		w.lanes[o.Key] = l
	}
	i := 0
	for i < len(l.ops) && (l.ops[i].Seq < o.Seq || i == 0 && l.busy) {
		i++
	}
	l.ops = slices.Insert(l.ops, i, o)
	o.lane = l
	o.elem = w.order.PushFront(o)
	w.waiting.Add(1)
	w.place(l)
}

// unlink takes o out of its lane. The caller holds mu.
func (w *Writer[V]) unlink(o *op[V]) {
	l := o.lane
	if l == nil {
		return
	}
	if i := slices.Index(l.ops, o); i >= 0 {
		l.ops = slices.Delete(l.ops, i, i+1)
	}
	o.lane = nil
	w.order.Remove(o.elem)
	w.waiting.Add(-1)
	w.release(o)
	w.place(l)
	if len(l.ops) == 0 && w.lanes[o.Key] == l {
		delete(w.lanes, o.Key)
	}
	if w.order.Len() == 0 {
		w.signalRoom()
	}
}

// place puts l into the heap that its first operation belongs to, or into none.
func (w *Writer[V]) place(l *lane[V]) {
	if l.in != nil {
		heap.Remove(l.in, l.at)
		w.lingered -= l.cost
		l.in, l.cost = nil, 0
	}
	if len(l.ops) == 0 || l.busy {
		return
	}
	o := l.ops[0]
	l.first = o.Seq
	if !o.retryAt.IsZero() {
		l.due, l.in = o.retryAt, &w.retries
	} else {
		l.due, l.in, l.cost = w.due(l), &w.lingers, o.size
		w.lingered += l.cost
	}
	heap.Push(l.in, l)
}

// due is when the first operation of l has lingered enough.
func (w *Writer[V]) due(l *lane[V]) time.Time {
	for _, o := range l.ops {
		if o.through {
			return time.Time{}
		}
	}
	o := l.ops[0]
	if w.cfg.Linger < 0 {
		return o.Enqueued
	}
	if w.cfg.MaxDelay < 0 {
		return o.Enqueued.Add(w.cfg.Linger)
	}
	due, bound := o.last.Add(w.cfg.Linger), o.Enqueued.Add(w.cfg.MaxDelay)
	if bound.Before(due) {
		return bound
	}
	return due
}

// laneHeap has the lane that is due first on top.
type laneHeap[V any] []*lane[V]

func (h laneHeap[V]) Len() int { return len(h) }
func (h laneHeap[V]) Less(i, j int) bool {
	if !h[i].due.Equal(h[j].due) {
		return h[i].due.Before(h[j].due)
	}
	return h[i].first < h[j].first
}
func (h laneHeap[V]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *laneHeap[V]) Push(x any) {
	l := x.(*lane[V])
	l.at = len(*h)
	*h = append(*h, l)
}

// Pop implements heap.Interface.
func (h *laneHeap[V]) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return l
}
