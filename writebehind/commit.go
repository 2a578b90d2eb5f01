package writebehind

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// commitTimeout bounds one commit of a journal that is behind a network.
	commitTimeout = 5 * time.Second
	// forgetDelay is how long settled records may stay in the journal when no commit comes
	// along to take them with it. They would only be applied again.
	forgetDelay = 10 * time.Millisecond
	// gatherTime bounds the wait for callers to share a commit: a few fsyncs of a fast disk, or
	// gatherShare of a slow one's.
	gatherTime  = 500 * time.Microsecond
	gatherShare = 8
	// forgetRetry is the pause after the journal refused to forget.
	forgetRetry = time.Second
)

// committer gathers what concurrent callers want from the journal into one commit at a time:
// while one is under way, the next fills up.
type committer[V any] struct {
	loop sync.WaitGroup
	wake chan struct{} // somebody waits
	lazy chan struct{} // something may be forgotten
	stop chan struct{}
	over chan struct{} // closed after the last commit

	mu      sync.Mutex
	subs    []*submission[V]
	parked  []Record
	forgets []Ref
	last    int           // callers in the last commit, and those who were waiting when it ended
	took    time.Duration // that commit
}

// submission is what one caller waits for.
type submission[V any] struct {
	ops  []*op[V] // to be accepted
	tx   Tx       // to be changed besides
	done chan error
}

func (c *committer[V]) init() {
	c.wake, c.lazy = make(chan struct{}, 1), make(chan struct{}, 1)
	c.stop, c.over = make(chan struct{}), make(chan struct{})
}

// commit returns when the journal has ops, and whatever was to be forgotten before. When it
// fails, their room is given back.
func (w *Writer[V]) commit(ctx context.Context, ops []*op[V]) error {
	return w.submit(ctx, &submission[V]{ops: ops, done: make(chan error, 1)})
}

func (w *Writer[V]) submit(ctx context.Context, s *submission[V]) error {
	c := &w.commits
	c.mu.Lock()
	c.subs = append(c.subs, s)
	c.mu.Unlock()
	signal(c.wake)
	if w.cfg.faults.ackBeforeCommit {
		return nil
	}
	var gone error
	select {
	case err := <-s.done:
		return err
	case <-ctx.Done():
		gone = context.Cause(ctx)
	case <-c.over: // a Redrive or Discard beside Close: nobody will come for it, or has just done so
		gone = ErrClosed
	}
	c.mu.Lock()
	i := slices.Index(c.subs, s)
	if i >= 0 {
		c.subs = slices.Delete(c.subs, i, i+1)
	}
	c.mu.Unlock()
	switch {
	case i >= 0:
		w.unreserve(s.ops)
		return gone
	case gone == ErrClosed:
		return <-s.done
	}
	return unknown(gone)
}

// forget has records removed with one of the next commits, in the order of the calls: whoever
// removes a record has removed what it replaced, before or at the same time.
func (w *Writer[V]) forget(refs ...Ref) {
	if w.cfg.Journal == nil || len(refs) == 0 {
		return
	}
	c := &w.commits
	c.mu.Lock()
	c.forgets = append(c.forgets, refs...)
	c.mu.Unlock()
	signal(c.lazy)
}

// bury has the journal keep rec as a dead letter.
func (w *Writer[V]) bury(rec Record) {
	if w.cfg.Journal == nil {
		return
	}
	c := &w.commits
	c.mu.Lock()
	c.parked = append(c.parked, rec)
	c.mu.Unlock()
	signal(c.lazy)
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (w *Writer[V]) commitLoop() {
	c := &w.commits
	defer close(c.over)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-c.wake:
			c.gather(timer)
		case <-c.lazy:
			timer.Reset(forgetDelay)
			select {
			case <-c.wake:
				c.gather(timer)
			case <-timer.C:
			case <-c.stop:
			}
		case <-c.stop:
			w.commitOnce()
			return
		}
		w.commitOnce()
	}
}

// gather waits until nearly all callers are there that were when the last commit ended, in it or
// waiting: those whom it has set free are about to return, and two halves would otherwise take
// turns, each with an fsync of its own.
func (c *committer[V]) gather(timer *time.Timer) {
	c.mu.Lock()
	timer.Reset(max(gatherTime, c.took/gatherShare))
	c.mu.Unlock()
	defer timer.Stop()
	for {
		c.mu.Lock()
		enough := 16*len(c.subs) >= 15*c.last
		c.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-c.wake:
		case <-timer.C:
			return
		}
	}
}

// commitOnce carries out everything that has gathered. New writes may be refused where there is
// no room; what makes room is then tried by itself.
func (w *Writer[V]) commitOnce() {
	c := &w.commits
	c.mu.Lock()
	subs, parked, forgets := c.subs, c.parked, c.forgets
	c.subs, c.parked, c.forgets = nil, nil, nil
	c.mu.Unlock()
	if len(subs)+len(parked)+len(forgets) == 0 {
		return
	}

	settling, begin := len(parked)+len(forgets) > 0, time.Now()
	ops, err := w.commitSubs(subs, &Tx{Put: slices.Clip(parked), Remove: slices.Clip(forgets)})
	if err == nil {
		settling = false
	}
	if len(subs) > 0 {
		c.mu.Lock()
		c.last, c.took = len(subs)+len(c.subs), time.Since(begin)
		c.mu.Unlock()
	}
	alone := isFull(err) && len(subs) > 1
	if !alone {
		w.endCommit(ops, err)
		for _, s := range subs {
			s.done <- err
		}
	}
	if settling && len(subs) > 0 {
		err = w.commitTx(&Tx{Put: parked, Remove: forgets})
	}
	if alone {
		// One of them may need more room than there is, or room in another place.
		w.commitHalf(subs[:len(subs)/2])
		w.commitHalf(subs[len(subs)/2:])
	}
	if !settling || err == nil {
		return
	}
	c.mu.Lock()
	c.parked = append(parked, c.parked...)
	c.forgets = append(forgets, c.forgets...)
	c.mu.Unlock()
	time.AfterFunc(forgetRetry, func() { signal(c.lazy) })
}

// commitSubs commits tx together with what subs want, and returns the operations of subs.
func (w *Writer[V]) commitSubs(subs []*submission[V], tx *Tx) (ops []*op[V], err error) {
	for _, s := range subs {
		ops = append(ops, s.ops...)
		tx.Put = append(tx.Put, s.tx.Put...)
		tx.Remove = append(tx.Remove, s.tx.Remove...)
	}
	first := len(tx.Put)
	for _, o := range ops {
		tx.Put = append(tx.Put, record(o))
	}
	w.beginCommit()
	if err = w.commitTx(tx); err == nil {
		for i, o := range ops {
			o.rec = tx.Put[first+i].Seq
		}
	}
	return ops, err
}

// commitHalf commits subs; while there is no room for all, each half.
func (w *Writer[V]) commitHalf(subs []*submission[V]) {
	ops, err := w.commitSubs(subs, &Tx{})
	if isFull(err) && len(subs) > 1 {
		w.commitHalf(subs[:len(subs)/2])
		w.commitHalf(subs[len(subs)/2:])
		return
	}
	w.endCommit(ops, err)
	for _, s := range subs {
		s.done <- err
	}
}

func (w *Writer[V]) commitTx(tx *Tx) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	begin := time.Now()
	err := w.cfg.Journal.Commit(ctx, tx)
	took := time.Since(begin)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.stats.commitErrors++
		return err
	}
	w.stats.commits++
	w.stats.commitLast = took
	w.stats.commitTotal += took
	if len(tx.Remove) > 0 {
		close(w.freed)
		w.freed = make(chan struct{})
	}
	return nil
}

// beginCommit lets a shared journal's consumer settle records before Commit has returned here.
func (w *Writer[V]) beginCommit() {
	if w.shared == nil {
		return
	}
	w.mu.Lock()
	w.early = map[Ref]error{}
	w.mu.Unlock()
}

// endCommit queues what the journal has taken, and gives back the room of what it has not.
func (w *Writer[V]) endCommit(ops []*op[V], err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	early := w.early
	w.early = nil
	if err != nil {
		for _, o := range ops {
			w.release(o)
		}
		return
	}
	w.stats.accepted += uint64(len(ops))
	if w.shared != nil {
		w.promise(ops, early)
		return
	}
	w.linkAll(ops)
	w.nudge()
}
