package link

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// ear is a sink that writes down what it hears.
type ear struct{ heard []string }

func (e *ear) Forget(keys []string) { e.heard = append(e.heard, keys...) }
func (e *ear) Flush(string)         { e.heard = append(e.heard, "flush") }
func (e *ear) Alive()               { e.heard = append(e.heard, "alive") }
func (e *ear) Down(error)           { e.heard = append(e.heard, "down") }

// An L1 that goes on while a line is down is told what the others say, and that one of them was away.
func TestBoard_NewsOfHealthyLinesIsPassedOn(t *testing.T) {
	var gone = errors.New("gone")
	start := func(b *Board) {
		for _, l := range []string{"a", "b", "c"} {
			b.Add(l)
		}
	}
	up := func(b *Board) {
		start(b)
		for _, l := range []string{"a", "b", "c"} {
			b.Up(l)
		}
	}
	for _, c := range []struct {
		name string
		do   func(b *Board)
		want []string
	}{
		{"all come up", up, []string{"flush", "alive"}},
		{"keys and a flush while a line is down", func(b *Board) {
			up(b)
			b.Down("c", gone)
			b.Forget([]string{"k"})
			b.Flush("asked for")
		}, []string{"flush", "alive", "down", "k", "flush"}},
		{"another one comes back meanwhile", func(b *Board) {
			up(b)
			b.Down("c", gone)
			b.Down("b", gone)
			b.Up("b")
			b.Up("b") // is known
			b.Up("c")
		}, []string{"flush", "alive", "down", "down", "flush", "flush", "alive"}},
		{"news before all have been up for the first time", func(b *Board) {
			start(b)
			b.Up("a")
			b.Forget([]string{"k"})
			b.Forget([]string{"l"})
		}, []string{"flush", "k", "l"}},
		{"one joins that has not been entered", func(b *Board) {
			up(b)
			b.Down("new", gone) // it has never been up: nobody waits for it
			b.Join("new")
			b.Join("new")
			b.Down("new", gone)
		}, []string{"flush", "alive", "flush", "down"}},
		{"no keys are no news", func(b *Board) { start(b); b.Forget(nil) }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var e ear
			c.do(NewBoard(&e, time.Minute))
			if !slices.Equal(e.heard, c.want) {
				t.Errorf("heard %q, want %q", e.heard, c.want)
			}
		})
	}
}

// lastAlive is a sink that notes when it was last told of a sign of life, and how long it has waited
// for one at most.
type lastAlive struct {
	ear
	at      time.Time
	longest time.Duration
}

func (l *lastAlive) Alive() {
	now := time.Now()
	if !l.at.IsZero() {
		l.longest = max(l.longest, now.Sub(l.at))
	}
	l.at = now
}

// An L1 passes its values by when the last sign of life is too old. As long as the signs go on, it
// serves what the silent line would have told it of, whatever its own limit is.
func TestBoard_ALineThatFallsSilentEndsTheSignsOfLifeWithinItsPatience(t *testing.T) {
	const ping, deadAfter = time.Second, time.Minute
	for _, c := range []struct {
		name     string
		patience time.Duration
		within   time.Duration // of the line's last word
		exceeds  bool          // and not sooner than in two pings
	}{
		{"two pings", 2 * ping, 2 * ping, false},
		{"without it the time after which the line is dead", 0, deadAfter, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sink lastAlive
				b := NewBoard(&sink, deadAfter)
				b.Patience = c.patience
				for _, line := range []string{"a", "b", "topology"} {
					b.Add(line)
				}
				for _, line := range []string{"topology", "a", "b"} {
					b.Up(line)
				}
				answer := func(line string, until time.Duration) {
					begin := time.Now()
					for time.Since(begin) < until {
						b.Heard(line)
						time.Sleep(ping)
					}
				}
				var word time.Time // the last of b
				var lines sync.WaitGroup
				lines.Go(func() {
					time.Sleep(ping / 3)
					answer("b", 10*ping)
					word = time.Now().Add(-ping)
				})
				lines.Go(func() { answer("a", 3*deadAfter) })
				lines.Wait()
				after := sink.at.Sub(word)
				if after >= c.within || c.exceeds != (after >= 2*ping) {
					t.Errorf("the last sign of life came %v after the last word of a line", after)
				}
				if sink.longest > ping {
					t.Errorf("no sign of life for %v while all was well", sink.longest)
				}
			})
		})
	}
}

// A line that is only said to be up now and then is not expected to answer each ping.
func TestBoard_ALineThatIsNotPingedIsAsPatientAsBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sink lastAlive
		b := NewBoard(&sink, time.Minute)
		b.Patience = 2 * time.Second
		b.Add("a")
		b.Add("topology")
		b.Up("topology")
		b.Up("a")
		for range 120 {
			time.Sleep(time.Second)
			b.Heard("a")
		}
		if late := time.Since(sink.at); late < 59*time.Second || late > 61*time.Second {
			t.Errorf("the last sign of life was %v ago", late)
		}
	})
}
