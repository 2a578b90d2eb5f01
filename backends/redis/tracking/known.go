package tracking

import (
	"errors"
	"sync"
	"time"
)

// topology is the line on the board that stands for knowing all masters. Without it changes on
// one that is unknown would not be heard.
const topology = "topology"

// known is when the topology of a cluster was known last. A question may take as long as it is known
// for, or longer with a client that does not keep deadlines, so nobody waits for its end.
type known struct {
	mu    sync.Mutex // held while the board is told, so that it hears things in order
	at    time.Time  // zero: never
	err   error      // why it is not known since
	late  *time.Timer
	ended bool
}

// errNoAnswer is why the topology is not known while a question has been under way for too long.
var errNoAnswer = errors.New("no node has said for too long who serves what")

// know notes that all masters are known, which counts for DeadAfter.
func (w *watch) know() {
	k := &w.known
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at, k.err = time.Now(), errNoAnswer
	if k.late == nil {
		k.late = time.AfterFunc(w.timing.DeadAfter, func() { w.fail(nil) })
	} else {
		k.late.Reset(w.timing.DeadAfter)
	}
	w.board.Up(topology)
}

// fail takes the link down if the masters have not been known for DeadAfter. err, if there is one, is
// what the last question met.
func (w *watch) fail(err error) {
	k := &w.known
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.err = err
	}
	if !k.ended && time.Since(k.at) >= w.timing.DeadAfter {
		w.board.Down(topology, k.err)
	}
}

// end keeps the board from hearing of it after Watch has returned.
func (k *known) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	if k.late != nil {
		k.late.Stop()
	}
}
