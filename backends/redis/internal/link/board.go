package link

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// Board keeps book of the lines of one source and tells a sink what follows: the link is up
// while every line is. What a line says is passed on while others are down too: an L1 may go on
// meanwhile. Safe for concurrent use.
type Board struct {
	// Patience is how long a line that answers pings may be late while the sink is still told that
	// others were heard. What bounds an L1 is the time since the last such word, so this is added to
	// it: two pings, so that one late answer is no silence. 0 = the time after which the line is dead.
	Patience time.Duration

	// Unflushed is for tests only: coming up does not flush.
	Unflushed bool

	sink      backends.Sink
	deadAfter time.Duration

	mu    sync.Mutex // held while the sink is told, so that it hears things in order
	lines map[string]*state
	up    bool
	begun bool // the sink has been flushed once
}

type state struct {
	up      bool
	answers bool // it is one that is pinged, not one that is only said to be up now and then
	heard   time.Time
}

// NewBoard returns a board without lines, which is down.
func NewBoard(sink backends.Sink, deadAfter time.Duration) *Board {
	return &Board{sink: sink, deadAfter: deadAfter, lines: map[string]*state{}}
}

// Add enters a line, which is down.
func (b *Board) Add(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(line)
}

func (b *Board) add(line string) {
	b.lines[line] = &state{}
	if b.up {
		b.up = false
		b.sink.Down(fmt.Errorf("connecting to %s", line))
	}
}

// Doubt enters a line that nobody has connected yet, unless there is one of that name.
func (b *Board) Doubt(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lines[line] == nil {
		b.add(line)
	}
}

// Remove forgets a line.
func (b *Board) Remove(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.lines, line)
	b.rise("a node has gone")
}

// Up notes that a line works from here on. What it would have said before is unknown.
func (b *Board) Up(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rises(line)
}

// Join is Up of a line that is entered if there is none of that name.
func (b *Board) Join(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lines[line] == nil {
		b.lines[line] = &state{}
	}
	b.rises(line)
}

func (b *Board) rises(line string) {
	s := b.lines[line]
	if s == nil {
		return
	}
	was, up := s.up, b.up
	s.up, s.heard = true, time.Now()
	b.rise("connected")
	if !was && b.up == up && b.begun {
		b.flush(line + " is connected")
	}
}

// rise flushes and reports the link up if no line is down any more.
func (b *Board) rise(reason string) {
	if b.up || len(b.lines) == 0 {
		return
	}
	for _, s := range b.lines {
		if !s.up {
			return
		}
	}
	b.up = true
	b.flush(reason)
	b.sink.Alive()
}

func (b *Board) flush(reason string) {
	b.begun = true
	if !b.Unflushed {
		b.sink.Flush(reason)
	}
}

// Down notes that a line is gone. One that was not entered is none of the sink's business.
func (b *Board) Down(line string, reason error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.lines[line]
	if s == nil {
		return
	}
	s.up, b.up = false, false
	b.sink.Down(fmt.Errorf("%s: %w", line, reason))
}

// Heard notes a sign of life of a line. The sink hears of it as long as no line is late.
func (b *Board) Heard(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.lines[line]
	if s == nil || !s.up {
		return
	}
	now := time.Now()
	s.heard, s.answers = now, true
	if !b.up {
		return
	}
	for _, other := range b.lines {
		if now.Sub(other.heard) >= b.patience(other) {
			return
		}
	}
	b.sink.Alive()
}

func (b *Board) patience(s *state) time.Duration {
	if s.answers && b.Patience > 0 {
		return b.Patience
	}
	return b.deadAfter
}

// Forget passes keys on; before the first ones everything is flushed.
func (b *Board) Forget(keys []string) {
	if len(keys) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.begun {
		b.flush("the first news")
	}
	b.sink.Forget(keys)
}

// Flush passes a flush on.
func (b *Board) Flush(reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begun = true
	b.sink.Flush(reason)
}

// Lines returns the names of the lines, sorted.
func (b *Board) Lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.lines))
}
