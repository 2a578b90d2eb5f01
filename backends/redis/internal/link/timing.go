package link

import (
	"errors"
	"fmt"
	"time"
)

// Timing is how often a link is asked for a sign of life, and when it is given up.
type Timing struct {
	// Ping is the pause between two questions. 0 = 1 s.
	Ping time.Duration

	// DeadAfter is how long the other side may be silent. 0 = three times Ping. At least twice
	// Ping, so that one late answer is not an outage.
	DeadAfter time.Duration
}

// WithDefaults replaces zeros and refuses what cannot work. who begins the error.
func (t Timing) WithDefaults(who string) (Timing, error) {
	if t.Ping == 0 {
		t.Ping = time.Second
	}
	if t.DeadAfter == 0 {
		t.DeadAfter = 3 * t.Ping
	}
	switch {
	case t.Ping < time.Millisecond:
		return t, fmt.Errorf("%s: Ping %v is below a millisecond", who, t.Ping)
	case t.DeadAfter < 2*t.Ping:
		return t, fmt.Errorf("%s: DeadAfter %v is less than two pings (%v)", who, t.DeadAfter, t.Ping)
	}
	return t, nil
}

// ErrSilent: nothing was heard for DeadAfter.
var ErrSilent = errors.New("the link is silent")
