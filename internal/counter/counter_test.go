package counter

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"
)

func TestStriped_LosesNothing(t *testing.T) {
	for _, n := range []int{1, 2, 8, 9, 20} {
		s := New(n)
		var wg sync.WaitGroup
		for g := range 50 {
			wg.Go(func() {
				deeper(g%20, func() {
					for k := range 1000 {
						s.Inc(k % n)
						s.Add((g+k)%n, 3)
						s.Add(g%n, -1)
					}
				})
			})
		}
		wg.Wait()
		var sum int64
		for i := range s.Len() {
			sum += s.Load(i)
		}
		if want := int64(50 * 1000 * 3); sum != want {
			t.Errorf("%d counters: %d in all, want %d", n, sum, want)
		}
	}
}

func TestStriped_CountersAreApart(t *testing.T) {
	s := New(11)
	for i := range s.Len() {
		s.Add(i, int64(100+i))
	}
	for i := range s.Len() {
		if got := s.Load(i); got != int64(100+i) {
			t.Errorf("counter %d = %d, want %d", i, got, 100+i)
		}
	}
}

func TestNew_StripesAreWholeCacheLines(t *testing.T) {
	for n := range 40 {
		s := New(n)
		if at := uintptr(unsafe.Pointer(&s.cells[0])); at%lineSize != 0 {
			t.Errorf("New(%d) starts %d bytes into a line", n, at%lineSize)
		}
		if s.stride%perLine != 0 || int(s.stride) < n || len(s.cells) != stripes*int(s.stride) {
			t.Errorf("New(%d): stride %d, %d cells", n, s.stride, len(s.cells))
		}
	}
}

func TestLoad_OfNoCounterPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	New(3).Load(3)
}

func TestStripe_SpreadsGoroutines(t *testing.T) {
	var used [stripes]atomic.Bool
	var ready, wg sync.WaitGroup
	ready.Add(200)
	for range 200 {
		wg.Go(func() { // all alive at once, so that no two share a stack
			ready.Done()
			ready.Wait()
			used[stripe()].Store(true)
		})
	}
	wg.Wait()
	n := 0
	for i := range used {
		if used[i].Load() {
			n++
		}
	}
	if n < stripes/4 {
		t.Errorf("200 goroutines use %d of %d stripes", n, stripes)
	}
}

func TestStriped_DoesNotAllocate(t *testing.T) {
	s := New(4)
	if n := testing.AllocsPerRun(1000, func() { s.Inc(1); s.Add(2, 2); s.Load(3) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

//go:noinline
func deeper(n int, f func()) {
	var frame [1024]byte
	frame[n] = 1
	if n > 0 {
		deeper(n-1, f)
		return
	}
	f()
}

func BenchmarkInc(b *testing.B) {
	var one atomic.Int64
	s := New(4)
	for _, row := range []struct {
		name string
		inc  func()
	}{{"atomic", func() { one.Add(1) }}, {"striped", func() { s.Inc(1) }}} {
		b.Run(row.name+"/serial", func(b *testing.B) {
			for b.Loop() {
				row.inc()
			}
		})
		b.Run(row.name+"/parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					row.inc()
				}
			})
		})
	}
}

func ExampleStriped() {
	const (
		hits = iota
		misses
		kinds
	)
	s := New(kinds)
	s.Inc(hits)
	s.Inc(hits)
	s.Inc(misses)
	fmt.Println(s.Load(hits), s.Load(misses))
	// Output: 2 1
}
