package main

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	plainWorkers = 4
	plainBatch   = 500
)

// plain is the loop that the copier is measured against: it lists, reads and writes in pipelines
// and does nothing else. It replaces what it finds, keeps no checkpoints and counts nothing.
func plain(src, dst side) error {
	todo := make(chan []string, plainWorkers)
	var wg sync.WaitGroup
	errs := make(chan error, plainWorkers)
	for range plainWorkers {
		wg.Go(func() {
			if err := plainWorker(src, dst, todo); err != nil {
				errs <- err
				for range todo {
				}
			}
		})
	}
	err := src.list(func(keys []string) {
		for len(keys) > 0 {
			n := min(plainBatch, len(keys))
			todo <- keys[:n]
			keys = keys[n:]
		}
	})
	close(todo)
	wg.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}

func plainWorker(src, dst side, todo <-chan []string) error {
	from, err := src.worker()
	if err != nil {
		return err
	}
	defer from.close()
	to, err := dst.worker()
	if err != nil {
		return err
	}
	defer to.close()
	for keys := range todo {
		batch := make([]entry, len(keys))
		if err := from.read(keys, batch); err != nil {
			return err
		}
		if err := to.write(batch); err != nil {
			return err
		}
	}
	return nil
}

// inParts calls f for parts of 0..n in parallel.
func inParts(n, parts int, f func(a, b int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, parts)
	for i := range parts {
		wg.Go(func() { errs[i] = f(n*i/parts, n*(i+1)/parts) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// The i-th entry: half of the keys end, at moments all over an hour.
func entryOf(i int) entry {
	e := entry{key: fmt.Sprintf("user:%08d:profile", i), flags: uint32(i % 5 * 1000)}
	e.value = fmt.Appendf(make([]byte, 0, 64), "\x00bin\r\n%d\r\nEND\r\n", i)
	for len(e.value) < 64 {
		e.value = append(e.value, byte(i+len(e.value)))
	}
	if i%2 == 0 {
		e.ttl = time.Hour + time.Duration(i%3600)*time.Second
	}
	return e
}

// check looks at every key of dst: its value must be the one that was filled in, and its lifetime
// what is left of it in src. A key that is off is looked at once more, since the machine may have
// slept between the two looks.
func check(src, dst side, n int, flags bool, r *result) error {
	var mu sync.Mutex
	return inParts(n, 4, func(a, b int) error {
		from, err := src.worker()
		if err != nil {
			return err
		}
		defer from.close()
		to, err := dst.worker()
		if err != nil {
			return err
		}
		defer to.close()
		look := func(indices []int) (wrong []int, sum result, err error) {
			keys := make([]string, len(indices))
			for k, i := range indices {
				keys[k] = entryOf(i).key
			}
			old, got := make([]entry, len(keys)), make([]entry, len(keys))
			if err := errors.Join(from.read(keys, old), to.read(keys, got)); err != nil {
				return nil, sum, err
			}
			for k, i := range indices {
				want := entryOf(i)
				want.ttl = old[k].ttl
				var one result
				if one.compare(want, got[k], flags); one.Missing+one.WrongValue+one.WrongFlags+one.TTLOff > 0 {
					wrong = append(wrong, i)
				}
				sum.count(&one)
			}
			return wrong, sum, nil
		}
		for ; a < b; a += plainBatch {
			var indices []int
			for i := a; i < min(a+plainBatch, b); i++ {
				indices = append(indices, i)
			}
			wrong, sum, err := look(indices)
			if err == nil && len(wrong) > 0 {
				_, sum, err = look(wrong)
			}
			if err != nil {
				return err
			}
			mu.Lock()
			r.count(&sum)
			mu.Unlock()
		}
		return nil
	})
}

// compare holds what was found against what is wanted.
func (r *result) compare(want, got entry, flags bool) {
	switch {
	case got.ttl < 0 || want.ttl < 0:
		r.Missing++
	case !bytes.Equal(want.value, got.value):
		r.WrongValue++
	case flags && want.flags != got.flags:
		r.WrongFlags++
	case (want.ttl == 0) != (got.ttl == 0):
		r.TTLOff++
	default:
		drift := (want.ttl - got.ttl).Abs()
		r.MaxDrift = drift.Seconds()
		if drift > 2*time.Second {
			r.TTLOff++
		}
	}
}
