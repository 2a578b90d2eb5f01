package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// contest is one level beside its peer. All figures but Rounds are medians over the rounds.
type contest struct {
	Hearth    float64            `json:"hearth_per_s"`    // accepted durable writes
	Peer      float64            `json:"peer_per_s"`      // of the peer that counts
	Ratio     float64            `json:"ratio"`           // of neighbours
	Applied   float64            `json:"applied_per_s"`   // accepted and delivered to the source, to the last one
	PerCommit float64            `json:"writes_per_sync"` // accepted writes per commit of the journal
	Others    map[string]float64 `json:"other_peers_per_s,omitempty"`
	Rounds    []float64          `json:"ratios"`
	Goal      string             `json:"goal"`
	Met       bool               `json:"met"`
}

func (c contest) print(w io.Writer, name string) {
	fmt.Fprintf(w, "%s: %.0f writes/s (%.0f/s through to the source, %.0f per commit), the peer %.0f/s, ratio %.2f",
		name, c.Hearth, c.Applied, c.PerCommit, c.Peer, c.Ratio)
	for other, rate := range c.Others {
		fmt.Fprintf(w, "; %s %.0f/s", other, rate)
	}
	fmt.Fprintln(w)
}

// contestant does writes of its own kind; write gets a number that no other call has.
type contestant struct {
	name  string
	write func(n int) error
	rest  func() error // after each round, unmeasured
}

// side is how one contestant did in one round.
type side struct {
	perSecond float64
	whole     float64 // with the rest counted
}

// compare lets all contestants run for a round each, in turn, so many times. The first round is
// to get warm.
func compare(p plan, all []contestant) (map[string][]side, error) {
	got := map[string][]side{}
	for round := range p.rounds + 1 {
		for i := range all {
			c := all[(i+round)%len(all)]
			start := time.Now()
			n, err := crowd(c.write, p.round)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			took := time.Since(start)
			if c.rest != nil {
				if err := c.rest(); err != nil {
					return nil, fmt.Errorf("%s: %w", c.name, err)
				}
			}
			if round > 0 {
				got[c.name] = append(got[c.name], side{float64(n) / took.Seconds(), float64(n) / time.Since(start).Seconds()})
			}
		}
	}
	return got, nil
}

var numbers atomic.Int64

// crowd has 64 goroutines write for d, and returns how many writes were done.
func crowd(write func(n int) error, d time.Duration) (int, error) {
	var done atomic.Int64
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for range writers {
		wg.Go(func() {
			for time.Now().Before(end) {
				if err := write(int(numbers.Add(1))); err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return int(done.Load()), failed
}

// sum makes a contest of what compare has brought.
func sum(got map[string][]side, hearth, peer string, others ...string) contest {
	c := contest{}
	var mine, its, whole []float64
	for i, h := range got[hearth] {
		p := got[peer][i]
		mine, its, whole = append(mine, h.perSecond), append(its, p.perSecond), append(whole, h.whole)
		c.Rounds = append(c.Rounds, round(h.perSecond/p.perSecond, 3))
	}
	c.Hearth, c.Peer, c.Applied = round(median(mine), 0), round(median(its), 0), round(median(whole), 0)
	c.Ratio = round(median(c.Rounds), 3)
	for _, name := range others {
		var rates []float64
		for _, s := range got[name] {
			rates = append(rates, s.perSecond)
		}
		if c.Others == nil {
			c.Others = map[string]float64{}
		}
		c.Others[name] = round(median(rates), 0)
	}
	return c
}

func median(xs []float64) float64 {
	s := slices.Sorted(slices.Values(xs))
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}

func round(x float64, digits int) float64 {
	scale := 1.0
	for range digits {
		scale *= 10
	}
	return float64(int64(x*scale+0.5)) / scale
}

// fsyncTime is the median time of an fsync after 4 KiB, in microseconds: what every figure here
// depends on.
func fsyncTime(path string) (float64, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	page := make([]byte, 4096)
	var took []float64
	for range 50 {
		start := time.Now()
		if _, err := f.Write(page); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, float64(time.Since(start).Microseconds()))
	}
	return median(took), nil
}
