//go:build unix

package main

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// pulse knows when the machine did not let this process run, or let nothing reach it.
type pulse struct {
	mu    sync.Mutex
	beats []*beat
	gaps  []gap // the last ones, in the order in which they ended
}

// gap is a time in which nothing could be heard.
type gap struct{ from, to int64 }

// beat is something that is due again and again.
type beat struct {
	pulse *pulse
	every time.Duration
	sent  int64 // when the last one that arrived was due
}

// late is how much later than due a beat may be without being a gap.
const late = 20 * time.Millisecond

// newPulse returns a pulse with one beat: a goroutine that wants to run every millisecond.
func newPulse() *pulse {
	p := &pulse{}
	own := p.follow(time.Millisecond)
	go func() {
		for {
			due := now() + int64(time.Millisecond)
			time.Sleep(time.Millisecond)
			own.arrived(due, now())
		}
	}()
	return p
}

// follow adds a beat.
func (p *pulse) follow(every time.Duration) *beat {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := &beat{pulse: p, every: every, sent: now()}
	p.beats = append(p.beats, b)
	return b
}

// arrived notes a beat: when it was due and when it came. One that was not even sent in time is
// late as well.
func (b *beat) arrived(sent, at int64) {
	p := b.pulse
	p.mu.Lock()
	defer p.mu.Unlock()
	if from := min(sent, b.sent+int64(b.every)); at-from > int64(late) {
		p.gaps = append(p.gaps, gap{from, at})
		if len(p.gaps) > 4000 {
			p.gaps = slices.Clone(p.gaps[2000:])
		}
	}
	b.sent = sent
}

// stopped returns for how much of a span nothing could be heard.
func (p *pulse) stopped(from, to int64) (d time.Duration) {
	p.mu.Lock()
	var gaps []gap
	for _, g := range slices.Backward(p.gaps) {
		if g.to < from-int64(time.Second) {
			break // the rest ended earlier, but for what came from elsewhere at the same time
		}
		gaps = append(gaps, g)
	}
	for _, b := range p.beats {
		if due := b.sent + int64(b.every); to-due > int64(late) {
			gaps = append(gaps, gap{due, to}) // not here yet
		}
	}
	p.mu.Unlock()
	slices.SortFunc(gaps, func(a, b gap) int { return cmp.Compare(a.from, b.from) })
	for _, g := range gaps { // from is the end of what has been counted
		if end := min(g.to, to); end > max(g.from, from) {
			d += time.Duration(end - max(g.from, from))
			from = end
		}
	}
	return d
}
