package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// view shows a replay while it runs: a few lines that change on a terminal, a line each second
// elsewhere.
type view struct {
	out      io.Writer
	terminal bool
	title    string
	r        *replay
	rate     int

	began       time.Time
	done, loads int64     // at the last look
	history     []float64 // loads a second, newest last
	drawn       int       // lines to go up
}

func newView(out io.Writer, r *replay, title string, rate int) *view {
	return &view{out: out, terminal: isTerminal(out), title: title, r: r, rate: rate}
}

// isTerminal reports whether out is one that moves its cursor when asked to.
func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// begin announces the run.
func (v *view) begin(fills bool) {
	fmt.Fprintf(v.out, "\n%s\n", v.title)
	if fills {
		fmt.Fprintln(v.out, "     filling the old server ...")
	}
}

// watch looks at the replay until stop is called.
func (v *view) watch() (stop func()) {
	every := time.Second
	if v.terminal {
		every = 125 * time.Millisecond
	}
	v.began = time.Now()
	before := v.r.svc.src.loads.Load()
	v.done, v.loads = 0, before
	over := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				v.look()
			case <-over:
				v.done, v.loads = 0, before // the last line is about the whole run
				v.look()
				return
			}
		}
	})
	return func() {
		close(over)
		watcher.Wait()
	}
}

// look shows what has happened since the last look.
func (v *view) look() {
	done, loads := v.r.done.Load(), v.r.svc.src.loads.Load()
	if done == v.done {
		return
	}
	w := window{requests: int(done - v.done), loads: loads - v.loads}
	v.done, v.loads = done, loads
	perSecond := w.perSecond(v.rate)
	hits := max(1-float64(w.loads)/float64(w.requests), 0)
	share := float64(done) / float64(max(v.r.end.Load(), 1))
	name := *v.r.current.Load()
	if done < int64(v.r.svc.work.warm) {
		name += " (warming up)"
	}
	if done == v.r.end.Load() {
		name = "done; on average"
	}
	if !v.terminal {
		fmt.Fprintf(v.out, "%5.1f s  %3.0f %%  %-24s source %7s loads/s   hit ratio %5.1f %%\n",
			time.Since(v.began).Seconds(), 100*share, name, thousands(perSecond), 100*hits)
		return
	}
	const width = 56
	v.history = append(v.history, perSecond)
	v.history = v.history[max(len(v.history)-width, 0):]
	full := int(share * width)
	lines := []string{
		fmt.Sprintf("     %s%s %3.0f %%  %s", strings.Repeat("█", full), strings.Repeat("░", max(width-full, 0)), 100*share, name),
		fmt.Sprintf("     %s%s %s loads/s", sparkline(v.history, float64(v.rate)), strings.Repeat(" ", width-len(v.history)), thousands(perSecond)),
		fmt.Sprintf("     hit ratio %5.1f %%", 100*hits),
	}
	if v.drawn > 0 {
		fmt.Fprintf(v.out, "\x1b[%dA", v.drawn)
	}
	for _, line := range lines {
		fmt.Fprintf(v.out, "\r\x1b[K%s\n", line)
	}
	v.drawn = len(lines)
}
