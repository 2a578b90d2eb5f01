package clock

import "time"

// Fake is a clock that stands still until it is told otherwise. Hand its Clock to the code under
// test.
type Fake struct{ *Clock }

// NewFake returns a fake that says 1 ns, with wall as the wall clock of that moment.
func NewFake(wall time.Time) *Fake {
	f := &Fake{Clock: New()}
	f.frozen = true
	f.wall.Store(wall.UnixNano() - 1)
	f.now.Store(1)
	return f
}

// Advance moves the clock, and the wall clock with it, forward by d.
func (f *Fake) Advance(d time.Duration) { f.now.Add(int64(d)) }

// Set puts the clock to now nanoseconds (> 0) since its start, without moving the wall clock.
func (f *Fake) Set(now int64) {
	f.wall.Add(f.now.Load() - now)
	f.now.Store(now)
}

// SetWall makes the wall clock jump to wall; Now does not notice.
func (f *Fake) SetWall(wall time.Time) { f.wall.Store(wall.UnixNano() - f.now.Load()) }
