package backendtest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
)

// Recorder is a [T] that keeps failures instead of reporting them, so that a test can show that
// a broken store fails a case. Safe for concurrent use.
type Recorder struct {
	ctx context.Context

	mu       sync.Mutex
	failures []string
	done     chan struct{}
}

// Record starts f on a goroutine of its own, with a Recorder. Wait tells when f has ended.
func Record(ctx context.Context, f func(t T)) *Recorder {
	r := &Recorder{ctx: ctx, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		defer func() {
			if p := recover(); p != nil {
				r.Errorf("panic: %v", p)
			}
		}()
		f(r)
	}()
	return r
}

// Wait waits until the recorded function has ended and returns what failed.
func (r *Recorder) Wait() []string {
	<-r.done
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.failures...)
}

// Helper implements [T].
func (r *Recorder) Helper() {}

// Context implements [T].
func (r *Recorder) Context() context.Context { return r.ctx }

// Errorf implements [T].
func (r *Recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...)+caller())
}

// Fatalf implements [T]: it ends the recorded function.
func (r *Recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// caller names the line of the case that failed: the first frame outside the checks.
func caller() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		name := f.File[strings.LastIndexByte(f.File, '/')+1:]
		if name != "env.go" && name != "recorder.go" {
			return fmt.Sprintf(" (%s:%d)", name, f.Line)
		}
		if !more {
			return ""
		}
	}
}
