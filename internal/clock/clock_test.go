package clock

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNow_IsAtMostOneTickOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		defer c.Stop()
		for step := range 2000 {
			time.Sleep(time.Duration(step%13) * 171 * time.Microsecond)
			synctest.Wait() // the scheduler's part of the promise
			now, exact := c.Now(), c.Precise()
			if now <= 0 || now > exact || exact-now > int64(Tick) {
				t.Fatalf("step %d: Now %d, exactly %d", step, now, exact)
			}
		}
	})
}

func TestNow_IsExactAfterAnIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		defer c.Stop()
		c.Now()
		time.Sleep(time.Hour)
		if now, exact := c.Now(), c.Precise(); now != exact {
			t.Errorf("Now %d after an hour of nobody asking, exactly %d", now, exact)
		}
	})
}

func TestClock_EndsItsGoroutineWhenNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		if c.live() {
			t.Error("a goroutine before the first read")
		}
		c.Now()
		if !c.live() {
			t.Error("no goroutine after a read")
		}
		time.Sleep((staleEvery + 2) * Tick)
		synctest.Wait()
		if c.live() {
			t.Error("still a goroutine, and nobody reads")
		}
		c.Now()
		if !c.live() {
			t.Error("no goroutine after another read")
		}
		time.Sleep(time.Second) // the bubble ends only if the goroutine does, without Stop
	})
}

func TestClock_KeepsItsGoroutineWhileSomebodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		defer c.Stop()
		c.Now()
		first := c.done
		for range 10 * staleEvery {
			time.Sleep(Tick / 2)
			c.Now()
		}
		if c.done != first {
			t.Error("the goroutine was ended and started again under a steady reader")
		}
	})
}

func TestStop_LeavesTheClockExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		c.Now()
		c.Stop()
		c.Stop()
		if c.live() {
			t.Error("a goroutine after Stop")
		}
		time.Sleep(1234567)
		if now, exact := c.Now(), c.Precise(); now != exact || c.live() {
			t.Errorf("Now %d after Stop, exactly %d, goroutine %t", now, exact, c.live())
		}
	})
}

func TestNow_NeverGoesBackwards(t *testing.T) {
	c := New()
	defer c.Stop()
	end := time.Now().Add(300 * time.Millisecond)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			last := c.Now()
			for time.Now().Before(end) {
				now := c.Now()
				if now < last {
					t.Errorf("Now went from %d back to %d", last, now)
					return
				}
				last = now
			}
		})
	}
	wg.Wait()
}

// A reader between a stale mark and the next tick must not store a time that is older than what
// was told before, however long it was held up: the lock sees to it.
func TestRenew_TakesWhatAnotherReaderStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		defer c.Stop()
		first := c.Now()
		time.Sleep(Tick / 2)
		if got := c.renew(); got != first {
			t.Errorf("renew = %d with %d stored and not stale", got, first)
		}
	})
}

func TestWall_IsTheSystemsClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		time.Sleep(time.Minute)
		if got, want := c.Wall(), time.Now().UnixMilli(); got != want {
			t.Errorf("Wall = %d, want %d", got, want)
		}
	})
}

func TestFake_MovesByHandOnly(t *testing.T) {
	wall := time.Date(2031, 5, 1, 0, 0, 0, 0, time.UTC)
	f := NewFake(wall)
	if f.Now() != 1 || f.Precise() != 1 || f.Wall() != wall.UnixMilli() {
		t.Errorf("at first: %d, %d, %d", f.Now(), f.Precise(), f.Wall())
	}
	f.Advance(time.Second)
	if want := int64(time.Second) + 1; f.Now() != want || f.Precise() != want || f.Wall() != wall.UnixMilli()+1000 {
		t.Errorf("a second on: %d, %d, %d", f.Now(), f.Precise(), f.Wall())
	}
	f.SetWall(wall)
	if want := int64(time.Second) + 1; f.Now() != want || f.Wall() != wall.UnixMilli() {
		t.Errorf("after a wall clock jump: %d, %d", f.Now(), f.Wall())
	}
	f.Set(5)
	if f.Now() != 5 || f.Wall() != wall.UnixMilli() {
		t.Errorf("after Set: %d, %d", f.Now(), f.Wall())
	}
	f.Stop()
	if f.Now() != 5 {
		t.Error("Stop moved a fake clock")
	}
}

func TestNow_DoesNotAllocate(t *testing.T) {
	c := New()
	defer c.Stop()
	if n := testing.AllocsPerRun(1000, func() { c.Now(); c.Precise() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNow(b *testing.B) {
	b.Run("time.Now", func(b *testing.B) {
		for b.Loop() {
			time.Now()
		}
	})
	b.Run("clock", func(b *testing.B) {
		c := New()
		defer c.Stop()
		for b.Loop() {
			c.Now()
		}
	})
}

func (c *Clock) live() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		return false
	}
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}
