package flight

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What deletes rest on: who joins after Forget has returned never gets the result of work that
// began before it.
func TestForget_KeepsOldResultsFromLaterReaders(t *testing.T) {
	if stale := hammer(t, (*Group[int64]).Forget); stale != 0 {
		t.Errorf("%d reads got a value from before a delete that was complete", stale)
	}
}

// The same without Forget: the hammer can see the bug.
func TestForget_IsWhatKeepsThem(t *testing.T) {
	if hammer(t, func(*Group[int64], string) {}) == 0 {
		t.Error("no stale read even without Forget: the hammer sees nothing")
	}
}

// hammer lets one writer a key and eight readers loose on a group and returns how many reads
// were stale: older than a write that was complete before the read began.
func hammer(t *testing.T, forget func(*Group[int64], string)) int64 {
	const keys = 3
	names := [keys]string{"a", "b", "c"}
	var (
		g                Group[int64]
		source, complete [keys]atomic.Int64
		stale            atomic.Int64
		wg               sync.WaitGroup
	)
	pause := func() { time.Sleep(time.Duration(rand.IntN(60)) * time.Microsecond) }
	end := time.Now().Add(400 * time.Millisecond)
	for k := range keys {
		wg.Go(func() {
			for time.Now().Before(end) {
				v := source[k].Add(1)
				forget(&g, names[k])
				complete[k].Store(v)
				pause()
			}
		})
	}
	for range 8 {
		wg.Go(func() {
			for time.Now().Before(end) {
				k := rand.IntN(keys)
				ctx, cancel := context.Background(), context.CancelFunc(func() {})
				if rand.IntN(2) == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(200))*time.Microsecond)
				}
				need := complete[k].Load()
				v, _, err := g.Do(ctx, names[k], time.Second, func(ctx context.Context) (int64, error) {
					v := source[k].Load()
					pause()
					return v, ctx.Err()
				})
				switch {
				case err == nil && v < need:
					stale.Add(1)
				case err != nil && !errors.Is(err, context.DeadlineExceeded):
					t.Errorf("unexpected error: %v", err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if n := g.Len(); n != 0 {
		t.Errorf("%d calls are left over", n)
	}
	return stale.Load()
}
