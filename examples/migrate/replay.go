package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// replay sends the requests of a workload to a service at a steady rate.
type replay struct {
	svc     *service
	rate    int // requests a second, if the machine can
	workers int
	steps   []step // ascending
	first   int    // request that is measured

	past   float64 // share of the way that lay behind request pastAt, when end was last lowered
	pastAt int

	end     atomic.Int64 // requests to send; may be lowered while it runs
	sent    atomic.Int64
	done    atomic.Int64   // of those sent
	grain   int            // requests per element of loads
	loads   []atomic.Int64 // from the source, by the number of the request
	current atomic.Pointer[string]
}

// step is something that happens on the way.
type step struct {
	share float64 // of the measured requests, after which it happens
	name  string  // what is so from then on
	do    func(ctx context.Context) error
	at    int // the request before which it happened
}

// handful is how many requests a worker takes at a time: timers for each one would cost more
// than the requests.
const handful = 8

func newReplay(svc *service, o options, n int, first string) *replay {
	r := &replay{svc: svc, rate: o.rate, workers: o.workers, grain: grainOf(len(svc.work.reads))}
	r.first = firstPiece(svc.work.warm, r.grain) * r.grain
	r.pastAt = r.first
	r.end.Store(int64(n))
	r.loads = make([]atomic.Int64, len(svc.work.reads)/r.grain+1)
	r.current.Store(&first)
	svc.onLoad = func(request int) { r.loads[request/r.grain].Add(1) }
	return r
}

// grainOf cuts n requests into some hundred pieces, from which windows and the columns of the
// chart are put together.
func grainOf(n int) int { return max(n/600, 1) }

// run sends the requests, calling every (if not nil) now and then.
func (r *replay) run(ctx context.Context, every func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := make(chan int)
	var workers sync.WaitGroup
	for range r.workers {
		workers.Go(func() {
			for from := range next {
				for i := from; i < from+handful && i < int(r.end.Load()); i++ {
					r.svc.request(ctx, i)
					r.done.Add(1)
				}
			}
		})
	}
	err := r.send(ctx, next, every)
	close(next)
	workers.Wait()
	return err
}

// place is the share of the way that lies behind request i, which is one that is measured.
func (r *replay) place(i int) float64 {
	return r.past + (1-r.past)*float64(i-r.pastAt)/float64(max(int(r.end.Load())-r.pastAt, 1))
}

// cut lowers the end after i requests, though not below half of what was left of the whole way of
// n requests. All steps that are to come move closer together; none of them vanishes. Only
// whoever sends may call it.
func (r *replay) cut(i, n, end int) {
	if i > r.first {
		r.past, r.pastAt = r.place(i), i
	}
	least := r.pastAt + int((1-r.past)*float64(n-r.first)/2)
	r.end.Store(min(max(int64(end), int64(least)), r.end.Load()))
}

func (r *replay) send(ctx context.Context, next chan<- int, every func()) error {
	began := time.Now()
	done := 0 // steps
	for i := 0; i < int(r.end.Load()); i += handful {
		for done < len(r.steps) && i >= r.first && r.place(i) >= r.steps[done].share {
			st := &r.steps[done]
			if err := st.do(ctx); err != nil {
				return err
			}
			st.at = i
			r.current.Store(&st.name)
			done++
		}
		due := began.Add(time.Duration(float64(i) / float64(r.rate) * float64(time.Second)))
		if ahead := time.Until(due); ahead > time.Millisecond {
			if err := sleep(ctx, ahead); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case next <- i:
		}
		r.sent.Store(min(int64(i+handful), r.end.Load()))
		if every != nil && i%(128*handful) == 0 {
			every()
		}
	}
	return nil
}
