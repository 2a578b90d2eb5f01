//go:build unix

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hearthcache/hearth/tier"
)

// reader is what reads and judges in one process.
type reader struct {
	cache *tier.Cache[int64]
	bare  *tier.Cache[int64] // the servers alone; nil where they lose nothing
	board *board
	pulse *pulse
	index int
}

// read reads until the end and judges what it gets.
func (r reader) read(ctx context.Context) map[int64]*tally {
	b, tallies := r.board, map[int64]*tally{}
	hits, last := r.cache.Stats().L1Hits, b.Phase.Load()
	for n := 0; ; n++ {
		if n%16 == 0 { // leave the processor to those who listen
			time.Sleep(200 * time.Microsecond)
			up := int64(0)
			if r.cache.Health().Link == "up" {
				up = 1
			}
			b.Up[r.index].Store(up)
		}
		phase := b.Phase.Load()
		if phase != last {
			all := r.cache.Stats().L1Hits
			of(tallies, last).L1 += all - hits
			hits, last = all, phase
		}
		if phase < 0 {
			break
		}
		t := of(tallies, phase)
		k := rand.IntN(keys)
		at := now() // before the read: what happens to us from here on makes nothing staler
		v, err := r.cache.Get(ctx, keyName(k))
		if err != nil {
			t.LastErr = err.Error()
			continue
		}
		t.Reads++
		since := b.replaced(k, v, at)
		if since == 0 {
			continue
		}
		still := r.pulse.stopped(since, at)
		switch {
		case time.Duration(at-since)-still <= tolerance || r.bare == nil:
			t.judge(time.Duration(at-since), still)
		default:
			r.doubt(ctx, t, k, v, at, since, still)
		}
	}
	return tallies
}

// doubt judges a stale read where the servers may have lost the newer value themselves: a replica
// that became the master without having heard of it. A server that has nothing newer than what was
// read says so. One that does, and nobody is writing the key, had it all along.
func (r reader) doubt(ctx context.Context, t *tally, k int, v, at, since int64, still time.Duration) {
	latest := r.board.Latest[k].Load()
	has, err := r.bare.Get(ctx, keyName(k))
	switch {
	case err == nil && has <= v:
		t.Lost++
	case err != nil && !errors.Is(err, tier.ErrMiss), !r.board.settled(k, latest, at):
		t.Undecided++
	default:
		t.judge(time.Duration(at-since), still)
	}
}

// judge counts a read that was stale by d, in some of which nothing could be heard.
func (t *tally) judge(d, still time.Duration) {
	t.MaxRaw = max(t.MaxRaw, d)
	if d > tolerance {
		t.OverRaw++
	}
	d = max(0, d-still)
	t.Stale++
	t.Sum += d
	t.Max = max(t.Max, d)
	if d > tolerance {
		t.Over++
	}
}

func of(tallies map[int64]*tally, phase int64) *tally {
	if tallies[phase] == nil {
		tallies[phase] = &tally{}
	}
	return tallies[phase]
}
