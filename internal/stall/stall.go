// Package stall measures how long a machine kept a test from running, so that a bound in real time
// can be tight where nobody is in the way and still holds on a machine that is busy with others.
//
//	m := stall.Measure(t)
//	...
//	if d := time.Since(begin); d > bound+m.Lost() { ... }
package stall

import (
	"sync/atomic"
	"testing"
	"time"
)

// tick is how often the meter looks: short against what it is there to find, and a cost of a
// thousandth of a processor.
const tick = 5 * time.Millisecond

// Meter adds up the time by which a goroutine that sleeps for one tick again and again wakes too
// late. It is safe for concurrent use.
type Meter struct{ lost atomic.Int64 }

// Measure starts a meter that runs until the test ends.
func Measure(t testing.TB) *Meter {
	t.Helper()
	m := &Meter{}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		m.run(stop, time.Now, time.Sleep)
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
	})
	return m
}

func (m *Meter) run(stop <-chan struct{}, now func() time.Time, sleep func(time.Duration)) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		began := now()
		sleep(tick)
		m.lost.Add(int64(max(now().Sub(began)-tick, 0)))
	}
}

// Lost returns the time lost since the meter was started. What is being lost in the tick that is
// under way is not in it yet.
func (m *Meter) Lost() time.Duration { return time.Duration(m.lost.Load()) }
