package faultproxy

import (
	"net"
	"time"
)

// effect carries out the faults of one direction of one link. Only the goroutine
// of that direction touches it.
type effect struct {
	link *link
	up   bool
	to   *net.TCPConn

	version int   // the fault that passed counts for
	passed  int64 // bytes since that fault was set
}

// next passes the next chunk; false means that this direction has ended.
func (e *effect) next(line <-chan chunk) bool {
	f, _, changed := e.link.proxy.flow(e.up)
	if f.Shut {
		return false
	}
	select {
	case c, ok := <-line:
		return ok && e.pass(c)
	case <-changed:
		return true
	}
}

// pass writes one chunk; false means that this direction has ended.
func (e *effect) pass(c chunk) bool {
	if !e.hold(c.at) {
		return false
	}
	if !e.up {
		if swallowed, alive := e.swallow(); swallowed {
			return alive
		}
	}
	for len(c.data) > 0 {
		f, version, changed := e.link.proxy.flow(e.up)
		e.count(version)
		if f.Shut {
			return false
		}
		if f.Stall {
			if _, alive := e.link.wait(forever, changed); !alive {
				return false
			}
			continue
		}
		n := e.piece(f, len(c.data))
		if n == 0 {
			e.link.reset()
			return false
		}
		if !e.write(f, c.data[:n]) {
			return false
		}
		c.data = c.data[n:]
		if f.BytesPerSecond > 0 {
			pause := time.Duration(n) * time.Second / time.Duration(f.BytesPerSecond)
			if _, alive := e.link.wait(pause, changed); !alive {
				return false
			}
		}
	}
	e.cutIfDue()
	return true
}

// forever stands for "until something happens".
const forever = 1 << 62

// hold waits until a chunk read at this time is due, and through a stall.
func (e *effect) hold(at time.Time) bool {
	for {
		f, _, changed := e.link.proxy.flow(e.up)
		d := forever * time.Nanosecond
		if !f.Stall {
			d = time.Until(at.Add(f.Latency + jitter(f.Jitter)))
		}
		slept, alive := e.link.wait(d, changed)
		if !alive {
			return false
		}
		if slept {
			return true
		}
	}
}

// count starts again when the fault has been set anew.
func (e *effect) count(version int) {
	if version != e.version {
		e.version, e.passed = version, 0
	}
}

// piece returns how many of n bytes may be written now; 0 means: cut here.
func (e *effect) piece(f Flow, n int) int {
	if f.Slice > 0 {
		n = min(n, f.Slice)
	}
	if f.BytesPerSecond > 0 {
		n = min(n, max(1, f.BytesPerSecond/pacesPerSecond))
	}
	if f.CutAfter > 0 {
		n = int(min(int64(n), f.CutAfter-e.passed))
	}
	return max(n, 0)
}

// pacesPerSecond is how finely a limited bandwidth is portioned.
const pacesPerSecond = 100

// write sends a piece, with bits turned over where the fault says so.
func (e *effect) write(f Flow, p []byte) bool {
	if f.FlipEvery > 0 {
		for i := range p {
			if (e.passed+int64(i)+1)%f.FlipEvery == 0 {
				p[i] ^= 1 << (uint64(e.passed+int64(i)) % 8)
			}
		}
	}
	n, err := e.to.Write(p)
	e.passed += int64(n)
	if err != nil {
		e.link.reset()
	}
	return err == nil
}

// cutIfDue resets a link that has reached its last byte, without waiting for
// more.
func (e *effect) cutIfDue() {
	f, version, _ := e.link.proxy.flow(e.up)
	if version == e.version && f.CutAfter > 0 && e.passed >= f.CutAfter {
		e.link.reset()
	}
}
