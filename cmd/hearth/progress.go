package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hearthcache/hearth/cmd/hearth/internal/bulk"
)

const logEvery = 5 * time.Second // where there is no terminal

// progress writes how far a copy is: one line that changes on a terminal, a line now and then
// elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	logged   time.Duration
	width    int // of the line that stands there
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// troubleTo returns what says on w that a server is asked again. Safe for concurrent use.
func troubleTo(w io.Writer) func(string) {
	var mu sync.Mutex
	return func(text string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(w, text+"; trying again")
	}
}

func (p *progress) show(now bulk.Progress) {
	if now.Trouble != "" {
		p.line(now.Trouble+"; trying again", true)
	}
	switch {
	case p.terminal:
		p.line(text(now), now.Finished)
	case now.Elapsed-p.logged >= logEvery || now.Finished && p.logged > 0:
		p.logged = now.Elapsed
		fmt.Fprintln(p.w, text(now))
	}
}

// line replaces the line on a terminal; final lines stay.
func (p *progress) line(s string, final bool) {
	if !p.terminal {
		fmt.Fprintln(p.w, s)
		return
	}
	fmt.Fprint(p.w, "\r", s, strings.Repeat(" ", max(0, p.width-len(s))))
	p.width = len(s)
	if final {
		fmt.Fprintln(p.w)
		p.width = 0
	}
}

func text(p bulk.Progress) string {
	s := thousands(p.Done)
	if p.Total > 0 {
		s += fmt.Sprintf(" of about %s keys (%d %%)", thousands(p.Total), min(100, p.Done*100/p.Total))
	} else {
		s += " keys"
	}
	s += fmt.Sprintf(", %s copied, %s failed, %s keys/s", thousands(p.Copied), thousands(p.Failed), thousands(int64(p.Rate)))
	if p.ETA > 0 && !p.Finished {
		s += ", " + p.ETA.Round(time.Second).String() + " left"
	}
	return s
}
