package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/hearthcache/hearth/cmd/hearth/internal/bulk"
)

func TestProgress_OneLineOnATerminalALineNowAndThenElsewhere(t *testing.T) {
	var out bytes.Buffer
	p := &progress{w: &out, terminal: true}
	at := func(s int) bulk.Progress {
		return bulk.Progress{Done: int64(s) * 1_000, Total: 20_000, Copied: int64(s) * 900, Rate: 1000, ETA: 20*time.Second - time.Duration(s)*time.Second, Elapsed: time.Duration(s) * time.Second, Finished: s == 20}
	}
	for s := range 21 {
		p.show(at(s))
	}
	if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), "\r5,000 of about 20,000 keys (25 %), 4,500 copied, 0 failed, 1,000 keys/s, 15s left") {
		t.Errorf("%d lines: %q", n, out.String())
	}
	out.Reset()
	p = &progress{w: &out}
	for s := range 21 {
		p.show(at(s))
	}
	if n := strings.Count(out.String(), "\n"); n != 4 || strings.Contains(out.String(), "\r") {
		t.Errorf("%d lines: %q", n, out.String())
	}
	out.Reset()
	(&progress{w: &out}).show(bulk.Progress{Trouble: "no answer"})
	if out.String() != "no answer; trying again\n" {
		t.Errorf("%q", out.String())
	}
}

func TestThousands_AreSetOff(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}
