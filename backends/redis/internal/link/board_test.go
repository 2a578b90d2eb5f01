package link

import (
	"errors"
	"slices"
	"testing"
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
