package bulk

import (
	"context"
	"sync"
	"time"
)

// pace lets keys pass at a rate. Safe for concurrent use.
type pace struct {
	rate float64 // keys per second; <= 0: as fast as they come

	mu   sync.Mutex
	next time.Time // when the next key may pass
}

// wait blocks until n more keys may pass.
func (p *pace) wait(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return ctx.Err()
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	at := p.next
	p.next = at.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	p.mu.Unlock()
	if !at.After(now) {
		return ctx.Err()
	}
	t := time.NewTimer(at.Sub(now))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// meter measures the rate of late: over about the last five seconds.
type meter struct {
	total int64
	from  int64
	at    time.Time
	marks []mark
}

type mark struct {
	n  int64
	at time.Time
}

const meterMarks = 25 // of 200 ms

func (m *meter) rate(n int64, now time.Time) float64 {
	m.marks = append(m.marks, mark{n, now})
	if len(m.marks) > meterMarks {
		m.marks = m.marks[1:]
	}
	first := mark{m.from, m.at}
	if len(m.marks) == meterMarks {
		first = m.marks[0]
	}
	if d := now.Sub(first.at).Seconds(); d > 0 {
		return float64(n-first.n) / d
	}
	return 0
}

// show reports progress.
func (c *copier) show(m *meter, finished bool) {
	if c.Progress == nil {
		return
	}
	now := time.Now()
	p := Progress{
		Done: c.done.Load(), Total: m.total, Copied: c.copied.Load(), Failed: c.failed.Load(),
		Elapsed: now.Sub(c.began), Finished: finished,
	}
	p.Rate = m.rate(p.Done, now)
	if p.Rate > 0 && p.Total > p.Done {
		p.ETA = time.Duration(float64(p.Total-p.Done) / p.Rate * float64(time.Second))
	}
	if t := c.trouble.Swap(nil); t != nil {
		p.Trouble = *t
	}
	c.Progress(p)
}
