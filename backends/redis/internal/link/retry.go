package link

import (
	"context"
	"math/rand/v2"
	"time"
)

// The pause before another attempt: short enough that a reset costs L1 a blink, doubling so that
// a dead server is not hammered.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// Retry runs attempt until ctx ends, whose error it returns, or until attempt is refused (see
// [Refusal]). attempt reports whether it had got a working link before it failed; the pauses
// then start over. failed hears each failure.
func Retry(ctx context.Context, attempt func(context.Context) (worked bool, err error), failed func(error)) error {
	pause := firstPause
	for {
		worked, err := attempt(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed(err)
		if Refused(err) {
			return err
		}
		if worked {
			pause = firstPause
		}
		if !sleep(ctx, pause/2+rand.N(pause/2)) {
			return ctx.Err()
		}
		pause = min(2*pause, lastPause)
	}
}

// sleep reports whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
